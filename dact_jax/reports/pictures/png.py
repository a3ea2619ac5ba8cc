"""Figures as PNG files."""

import io
import pathlib
import warnings

from matplotlib import figure

from dact_jax import storage


def save(drawing: figure.Figure, path: pathlib.Path, *, dpi: int) -> None:
    """Replaces `path` by the figure; an interruption leaves the old file intact."""
    storage.write_atomic(path, encode(drawing, dpi=dpi))


def encode(drawing: figure.Figure, *, dpi: int) -> bytes:
    """The figure as the content of a PNG file."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Boxes stand for characters that the font lacks; users cannot act on a warning.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        drawing.savefig(content, format="png", dpi=dpi)
    return content.getvalue()
