"""Gives published rows without a fingerprint that of the code which recorded them.

Makes: the column `code` in rows of experiments/results that lack it.
Data:  the git history of this repository.
Time:  1 min on one CPU core.

    python -m experiments.stamp --commit

Such rows are older than the column. Their fingerprint is that of the code at the commit
that added the row, which may be later than the code that made it: whether a row comes
out of today's code, only experiments.verify can say.
"""

import functools
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence

from absl.flags import FlagValues

from dact_jax import errors
from dact_jax.types import Row
from experiments import commands, fingerprints, machine, published_rows, runs, tables

_FOLDERS = ("dact_jax", "experiments", "configs")


def commits(path: pathlib.Path) -> list[str]:
    """The commit that last changed each line of a file."""
    lines = _git("blame", "-s", "-l", "--root", "--", str(path)).decode().splitlines()
    return [line.split(" ")[0] for line in lines]


def stamped(name: str, rows: Sequence[Row], trees: Mapping[str, pathlib.Path]) -> list:
    """The rows of a table, each with a fingerprint.

    Args:
      rows: with the column `commit_of_row`, which is removed.
      trees: commit -> its tree.
    """
    found = []
    for row in rows:
        row = dict(row)
        commit = row.pop("commit_of_row")
        if not row.get("code"):
            tree = trees[commit]
            row["code"] = fingerprints.of(_there(tables.modules(name, row), tree), tree)
        found.append(row)
    return found


def _there(modules: Sequence[str], tree: pathlib.Path) -> list[str]:
    """The modules as a tree has them: all of dact_jax where one of them is missing.

    An older tree may have other files, of which nothing says what a run needs.
    """
    if all(fingerprints.exists(module, tree) for module in modules):
        return [*modules]
    files = sorted((tree / "dact_jax").rglob("*.py"))
    parts = [path.relative_to(tree).with_suffix("").parts for path in files]
    return [*modules, *(".".join(p for p in part if p != "__init__") for part in parts)]


def _tree(commit: str, folder: pathlib.Path) -> pathlib.Path:
    """The code of a commit, in a folder of its own."""
    there = _git("ls-tree", "--name-only", commit).decode().split()
    names = [name for name in _FOLDERS if name in there]
    archive = io.BytesIO(_git("archive", commit, *names))
    with tarfile.open(fileobj=archive) as tar:
        tar.extractall(folder / commit, filter="data")
    return folder / commit


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(machine.ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise errors.InputError(
            f"the history is needed, and git failed ({errors.clause(error)})."
        ) from None


@commands.command(
    __doc__,
    commands.text("tables", "", "Files, separated by semicolons; empty: all."),
    runs.COMMIT,
)
def main(flags: FlagValues) -> None:
    """Says how many rows lack a fingerprint; with --commit they get it."""
    known = [path.stem for path in sorted(runs.RESULTS.glob("*.json"))]
    for name in commands.selected(flags.tables, known, "tables"):
        rows = published_rows.read(name)
        lacking = sum(not row.get("code") for row in rows)
        print(f"{name}.json: {lacking} of {len(rows)} rows lack a fingerprint.")
        if not (lacking and flags.commit):
            continue
        of_line = commits(runs.RESULTS / f"{name}.json")
        pairs = zip(rows, of_line, strict=False)  # one object has many lines
        rows = [{**row, "commit_of_row": commit} for row, commit in pairs]
        with tempfile.TemporaryDirectory() as folder:
            tree = functools.partial(_tree, folder=pathlib.Path(folder))
            trees = {commit: tree(commit) for commit in {*of_line}}
            published_rows.write(name, stamped(name, rows, trees))


if __name__ == "__main__":
    main(sys.argv)
