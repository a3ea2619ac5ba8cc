"""Figures saved as PNG files."""

import pathlib
import warnings

from matplotlib import figure

from dact_jax import storage


def save(drawing: figure.Figure, path: pathlib.Path, *, dpi: int) -> None:
    """Replaces `path` by the figure; an interruption leaves the old file intact."""
    with storage.atomic(path) as draft, warnings.catch_warnings():
        # Boxes stand for characters that the font lacks; users cannot act on a warning.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        drawing.savefig(draft, format="png", dpi=dpi)
