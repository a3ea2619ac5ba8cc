"""`python -m tests.fuzz --cases=100000`: damaged files for every reader.

Prints each kind of fault with the number of its cases and a file that shows it, and
ends with exit code 1 if there is one.
"""

import argparse
import collections
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.fuzz import campaign, seeds, workers

_REPORT = 1000  # cases between two lines of progress


def keep(fault, folder):
    """Saves the file of a fault, with what stands beside it."""
    name = fault.place.replace("/", "_").replace(" ", "_").replace(":", "_")[:80]
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "fault.txt").write_text(
        f"{fault.place}\n--only={fault.case.number}\nreader {fault.case.reader}\n"
        f"{fault.detail}\n",
        errors="backslashreplace",
    )
    return seeds.write(fault.case.seed, fault.case.content, place)


def _counts(options):
    """The cases to run: all, or those of one reader."""
    for count in range(options.cases):
        number = f"{options.seed}/{count}"
        if not options.reader or campaign.make(number).reader == options.reader:
            yield count


def _campaign(options, folder):
    found = collections.Counter()
    started, done, shown = time.monotonic(), 0, 0
    for count, fault in workers.run(options.seed, _counts(options)):
        done += count
        if fault is not None:
            found[fault.place] += 1
            if found[fault.place] == 1:
                path = keep(fault, folder)
                print(
                    f"{fault.place}: --only={fault.case.number}, {path!a}", flush=True
                )
        if done >= shown + _REPORT:
            shown = done
            seconds = time.monotonic() - started
            print(
                f"{done} cases, {sum(found.values())} faults, {seconds:.0f} s",
                flush=True,
            )
    seconds = time.monotonic() - started
    for place, count in found.most_common():
        print(f"{count:6} {place}")
    total, kept = sum(found.values()), f", files in {folder}" if found else ""
    print(
        f"{done} cases in {seconds:.0f} s: {total} faults in {len(found)} places{kept}"
    )
    return bool(found)


def main(argv):
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", help="only cases of this one of tests.fuzz.readers")
    parser.add_argument("--only", help="a case, such as 0/17")
    parser.add_argument(
        "--output", type=pathlib.Path, help="folder of files with faults"
    )
    options = parser.parse_args(argv[1:])
    folder = options.output or pathlib.Path(tempfile.mkdtemp(prefix="fuzz_faults_"))
    if options.only is None:
        return _campaign(options, folder)
    from tests.fuzz import readers

    (fault,) = campaign.run([(0, options.only)], readers.READERS)
    case = campaign.make(options.only)
    print(f"{case.seed.name}, reader {case.reader}, {len(case.content)} bytes")
    if fault:
        print(f"{fault.place}\n{fault.detail}\n{keep(fault, folder)!a}")
    return bool(fault)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
