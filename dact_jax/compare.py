"""`python -m dact_jax.compare RUN RUN ... --output=x.html`: methods over seeds."""

import os

# XLA's own log, such as its alarm about slow compilation, is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before jax is imported

import functools
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from dact_jax import cli, errors, paths, signals, storage
from dact_jax.reports import waiting
from dact_jax.reports.comparison import comparison, runs, tables

_ENDINGS = (".html", ".htm")


def run(
    folders: Sequence[pathlib.Path],
    output: pathlib.Path,
    *,
    metric: str = "test",
    overwrite: bool = False,
) -> comparison.Compared:
    """Compares the methods of some runs, writes a page and prints its table.

    Args:
      folders: of the runs; runs that differ in the seed alone are one method.
      output: the page to write, .html.
      metric: one of `runs.METRICS`.
      overwrite: whether to replace an existing output.

    Raises:
      InputError: a folder or the output is wrong, or two runs cannot be compared.
    """
    paths.check_output(output, "--output", _ENDINGS, overwrite=overwrite)
    with waiting.during("reading the runs"):
        compared = comparison.compare(folders, metric)
        text = comparison.text(compared, output)
    storage.write_atomic(output, text)
    print(tables.as_markdown(compared.methods, compared.budget))
    print(f"\n{comparison.sentence(compared)}")
    for note in (*comparison.baselines(compared), *compared.budget.notes):
        print(note)
    print(f"Written: {output}", flush=True)
    return compared


def _define_flags() -> flags.FlagValues:
    """New flags for each call, which keep no value of an earlier one."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    text("output", "", "Page to write, .html.")
    flags.DEFINE_enum(
        "metric", "test", list(runs.METRICS), "What is compared.", flag_values=values
    )
    switch("overwrite", False, "Replace an existing --output.")
    switch("help", False, "Show this.")
    return values


def main(argv: Sequence[str]) -> None:
    """Runs the command; a user's error ends it with one sentence and exit code 2."""
    cli.quiet_libraries()
    cli.print_anything()
    values = _define_flags()
    folders: list[str] = []
    try:
        if not cli.parse(values, argv, str(__doc__), others=folders):
            return
        if not folders or not values.output:
            raise errors.InputError(
                "give the folders of runs and --output=, such as runs/a_seed0 "
                "runs/b_seed0 --output=compare.html."
            )
        with signals.handled(lambda: "stopped; no page is written."):
            run(
                [pathlib.Path(paths.expanded(folder, "run")) for folder in folders],
                pathlib.Path(paths.expanded(values.output, "--output")),
                metric=values.metric,
                overwrite=values.overwrite,
            )
    except errors.StoppedError:
        raise
    except Exception as error:
        cli.exit_with(error)


if __name__ == "__main__":
    main(sys.argv)
