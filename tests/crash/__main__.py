"""Kills a small run at random moments and fails every operation on its folder.

    python -m tests.crash --kills=500 --operations

It prints what it did and exits with 1 if a run ended otherwise than an undisturbed one,
or if a command ended in anything but one sentence.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    options = _options(argv[1:])
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # flushes cost nothing
    with tempfile.TemporaryDirectory(prefix="dact_jax_crash_", dir=memory) as place:
        _prepare(pathlib.Path(place))
        found = []
        if options.kills:
            found += _kill(pathlib.Path(place), options)
        if options.operations:
            found += _operations(pathlib.Path(place), options)
    for fault in found:
        print(f"\nFAULT: {fault}")
    print(f"{len(found)} faults (tracebacks, wrong exit codes, differences).")
    return bool(found)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.crash",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=0, help="processes to kill")
    parser.add_argument("--seed", type=int, default=0, help="of moments and operations")
    parser.add_argument(
        "--presets",
        type=_names,
        default="s_act,d_act,human",
        help="of the runs that are killed; human: s_act, whose labels a person gives",
    )
    parser.add_argument(
        "--operations",
        type=_names,
        nargs="?",
        const="s_act,human",
        default="",
        metavar="PRESETS",
        help="fail every operation on the folder of a run of each preset (by default "
        "s_act,human), by a kill, by a full disk (ENOSPC) and by an input/output error "
        "(EIO)",
    )
    parser.add_argument(
        "--distinct",
        action="store_true",
        help="of operations that differ in numbers alone, fail only one, and of each "
        "preset only those that the presets before it lack",
    )
    parser.add_argument(
        "--kinds",
        type=_names,
        default="kill,ENOSPC,EIO",
        help="of the failures of --operations",
    )
    return parser.parse_args(arguments)


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _prepare(place: pathlib.Path) -> None:
    """Compiles fast and once, before anything imports JAX."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def _kill(place: pathlib.Path, options: argparse.Namespace) -> list[str]:
    from tests.crash import kills

    started = time.monotonic()
    tally = kills.kill_often(place, options.presets, options.kills, options.seed, _say)
    _say(
        f"{tally.kills} processes killed (seed {options.seed}), {tally.stops} stopped "
        f"by SIGTERM, {tally.full} ended by a full disk; {tally.runs} runs compared; "
        f"{len(tally.faults)} faults; {time.monotonic() - started:.0f} s."
    )
    return tally.faults


def _operations(place: pathlib.Path, options: argparse.Namespace) -> list[str]:
    from tests.crash import operations

    found = []
    with operations.shared():
        for kind in options.kinds:
            known: frozenset[str] = frozenset()
            for preset in options.operations:
                started = time.monotonic()
                done = operations.fail_each(
                    place,
                    preset,
                    kind,
                    distinct=options.distinct,
                    known=known,
                    say=_say,
                )
                which = "at each new kind" if known else "at each kind"
                which = which if options.distinct else "at each"
                _say(
                    f"{kind}: {done.failures} failures, {which} of the "
                    f"{done.operations} operations of a run of {preset}; "
                    f"{len(done.faults)} faults; {time.monotonic() - started:.0f} s."
                )
                found += done.faults
                if options.distinct:
                    known |= done.forms
    return found


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
