"""Which rows a table has already, and whether its files may be written.

The files in experiments/results are published: they change with --commit alone, and
never by runs whose flags differ from the table's. A row that is in a file stays as it
is, with its seconds.
"""

import pathlib
from collections.abc import Collection, Hashable, Sequence
from typing import Any

from absl.flags import FlagValues

from dact_jax import errors
from dact_jax.types import Row
from experiments import runs

_SETTINGS = ("steps", "side", "source", "target")  # flags that change what is measured


def settings(flags: FlagValues) -> dict[str, Any]:
    """The flags that make other runs than those of the table, by name."""
    return {
        name: flags[name].value
        for name in _SETTINGS
        if name in flags and flags[name].value != flags[name].default
    }


def rows(path: pathlib.Path, flags: FlagValues) -> list[Row]:
    """The rows of a file, all of which must be of runs with these flags.

    Raises:
      InputError: the file is damaged, or rows of other runs are in it.
    """
    found = runs.read(path)
    here = settings(flags)
    for row in found:
        there = row.get("settings", {})
        if there != here:
            raise errors.InputError(
                f"{path} has rows made with {_shown(there)}, and not with "
                f"{_shown(here)}: name other files, such as --results=runs/{path.stem}."
            )
    return found


def check_writable(
    results: pathlib.Path, flags: FlagValues, *, flag: str = "results"
) -> None:
    """Checks that a table may be written to its files.

    Args:
      results: the files, or one of them.
      flags: --commit and those that `settings` looks at.
      flag: the name of the one that says where the files are.

    Raises:
      InputError: they are the published files, and there is no --commit, or the runs
        are not those of the table.
    """
    if results.resolve().parent != runs.RESULTS.resolve():
        return
    if changed := settings(flags):
        raise errors.InputError(
            f"{results} holds published rows, which are made without "
            f"{_shown(changed)}: name other files, such as "
            f"--{flag}=runs/{results.name}."
        )
    if not flags.commit:
        raise errors.InputError(
            f"{results} holds published rows: name other files, such as "
            f"--{flag}=runs/{results.name}, or add --commit to change them."
        )


def plan(
    results: pathlib.Path,
    flags: FlagValues,
    wanted: Sequence[Hashable],
    present: Collection[Hashable],
) -> list[Any]:
    """The runs of a table that its file lacks; if there are none, it is said.

    Args:
      results: files of the table, without suffix.
      wanted: the runs of the table, each as its columns that identify a row.
      present: those that have a row.

    Raises:
      InputError: as `check_writable`, if a run is missing.
    """
    missing = [run for run in wanted if run not in present]
    if missing:
        check_writable(results, flags)
    else:
        print(
            f"Nothing to do: {results}.json has the rows of all {len(wanted)} runs. To "
            f"run them again, name other files, such as --results=runs/again."
        )
    return missing


def check_files(*paths: object) -> None:
    """Checks that files of data exist, before the first run.

    Args:
      paths: what `data.source` may be; only paths of .npz files are looked at.

    Raises:
      InputError: one does not.
    """
    for path in map(str, paths):
        if path.endswith(".npz") and not pathlib.Path(path).is_file():
            raise errors.InputError(
                f"there is no file {path}: --help says what it must hold, and which "
                "flag names its folder."
            )


def _shown(values: dict[str, Any]) -> str:
    return (
        " ".join(f"--{name}={value}" for name, value in values.items())
        or "the default flags"
    )
