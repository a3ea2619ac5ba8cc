"""The confusion matrix of a run, as cells of a table or as one image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax.reports.confusion import Confusion
from dact_jax.reports.page import pictures
from dact_jax.reports.sections import content
from dact_jax.reports.sections.content import Table

_MOST_CELLS = 20  # classes from which on the matrix is an image
_PAIRS = 15  # most often confused pairs that are listed
_SHADES = 10


class Matrix(NamedTuple):
    names: Sequence[str]
    tested: int  # images
    # Name of a true class with (images, shade) for each predicted one; () for many.
    rows: Sequence[tuple[str, Sequence[tuple[int, int]]]]
    image: str  # "data:..."; "" for few classes
    pairs: Table | None


def of(confusion: Confusion | None) -> Matrix | None:
    """The matrix of what was counted; None without counts."""
    if confusion is None:
        return None
    names, counts = confusion
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    share = counts / total
    few = len(names) <= _MOST_CELLS
    shades = np.ceil(_SHADES * share).astype(int)
    rows = [
        (name, list(zip(of_class.tolist(), shade.tolist(), strict=True)))
        for name, of_class, shade in zip(names, counts, shades, strict=True)
    ]
    return Matrix(
        names=names,
        tested=int(counts.sum()),
        rows=rows if few else (),
        image="" if few else pictures.heat(share),
        pairs=None if few else _pairs(names, counts, share),
    )


def _pairs(names: Sequence[str], counts: np.ndarray, share: np.ndarray) -> Table | None:
    """The pairs of classes with the most wrong predictions."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    pairs = [tuple(map(int, divmod(place, len(names)))) for place in order.tolist()]
    body = [
        (names[a], names[b], int(wrong[a, b]), content.percent(share[a, b]))
        for a, b in pairs
        if wrong[a, b]
    ]
    head = ("true class", "taken for", "images", "% of the true class")
    return Table(head, body) if body else None
