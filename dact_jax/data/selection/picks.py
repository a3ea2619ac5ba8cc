"""The picks of a selection, as a file."""

import csv
import hashlib
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from dact_jax import cells, errors, paths, storage
from dact_jax.types import Picked

_SUFFIXES = (".csv", ".npy")  # of the file of picks


def check_budget(budget: int, labelled: np.ndarray, pool: pathlib.Path) -> None:
    """Raises an InputError if fewer than `budget` rows are not labelled, bool[N]."""
    available = labelled.size - labelled.sum()
    if budget > available:
        raise errors.InputError(
            f"--budget={budget} is more than the {available} rows of {pool} that are "
            f"not labelled already, of {labelled.size}."
        )


def check_output(
    output: pathlib.Path, inputs: Sequence[pathlib.Path], *, overwrite: bool
) -> None:
    """Raises an InputError if a file cannot be written, or must not be replaced.

    Args:
      output: the file to write.
      inputs: files that are read, which must not be replaced.
      overwrite: whether `output` may exist.
    """
    if output.resolve() in [path.resolve() for path in inputs]:
        raise errors.InputError(
            f"--output={output} is also an input: name another file."
        )
    paths.check_output(output, "--output", _SUFFIXES, overwrite=overwrite)


def write(path: pathlib.Path, picked: Picked, names: np.ndarray | None) -> None:
    """Writes picks to a file atomically.

    Args:
      path: ends in .csv for a table of order (from 0), row, score and, where rows have
        names, path; in .npy for int32[budget], the rows in pick order.
      names: str[N], of the pool's rows, or None.
    """
    if path.suffix.lower() == ".npy":
        content = io.BytesIO()
        np.save(content, picked.row)
        storage.write_atomic(path, content.getvalue(), shared=True)
    else:
        storage.write_atomic(path, _table(picked, names), shared=True)


def count_copies(features: np.ndarray, picked: np.ndarray, labelled: np.ndarray) -> int:
    """How many picks equal an earlier pick or a labelled row in every number.

    Args:
      features: [N, F].
      picked: int[budget], rows in pick order.
      labelled: bool[N].
    """
    seen = {_digest(features[row]) for row in np.flatnonzero(labelled)}
    copies = 0
    for row in picked:
        digest = _digest(features[row])
        copies += digest in seen
        seen.add(digest)
    return copies


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()


def _table(picked: Picked, names: np.ndarray | None) -> str:
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator="\n")
    # The csv module leaves a name with a bare \r unquoted, and cannot read it then.
    quoted = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    plain.writerow(["order", "row", "score", *([] if names is None else ["path"])])
    for order, (row, score) in enumerate(zip(picked.row, picked.score, strict=True)):
        shown = score if np.isfinite(score) else ""  # of a first pick: no distance
        name = [] if names is None else [cells.neutralize(str(names[row]))]
        table = quoted if name and "\r" in name[0] else plain
        table.writerow([order, row, shown, *name])
    return text.getvalue()
