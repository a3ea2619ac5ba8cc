"""The figure of what each stage of the network responds to, drawn from arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import axes as axis, figure, gridspec

from dact_jax.reports.pictures import figure_text


class ImageMaps(NamedTuple):
    """One image and its feature maps."""

    side: str  # shown beside the image: its domain, and whether it was picked
    class_name: str
    image: np.ndarray  # float32[h, w, C], in [0, 1]
    maps: Sequence[np.ndarray]  # stage l: float32[h_l, w_l, C_l]


def draw(rows: Sequence[ImageMaps]) -> figure.Figure:
    """Each image with, for each stage, the mean map and the three strongest channels.

    Args:
      rows: images with the same number of stages, of the same sizes.
    """
    fig, grid = _canvas(len(rows), len(rows[0].maps))
    for i, row in enumerate(rows):
        axes = fig.add_subplot(grid[3 * i : 3 * i + 2, :2])
        title = figure_text.short(row.class_name)
        _show(axes, row.image, title, cmap="gray", vmin=0, vmax=1)
        axes.set_ylabel(figure_text.plain(row.side), fontsize=11)
        for stage, maps in enumerate(row.maps):
            strongest = np.argsort(-maps.mean((0, 1)), kind="stable")[:3]
            panels = [("mean", maps.mean(-1))]
            panels += [(f"channel {c}", maps[..., c]) for c in strongest]
            for j, (name, values) in enumerate(panels):
                cell = grid[3 * i + j // 2, 3 + 3 * stage + j % 2]
                _show_map(fig.add_subplot(cell), values, name)
    for stage, maps in enumerate(rows[0].maps):
        _stage_title(fig, grid, stage, maps.shape)
    return fig


def _canvas(images: int, stages: int) -> tuple[figure.Figure, gridspec.GridSpec]:
    """A grid: 2 x 2 cells for an image and for each of its stages, then a gap."""
    widths = [1, 1] + [0.2, 1, 1] * stages
    heights = [1, 1, 0.1] * images
    size = 1.25 * sum(widths) + 0.4, 1.4 * sum(heights) + 0.5
    fig = figure.Figure(figsize=size)
    grid = fig.add_gridspec(
        len(heights),
        len(widths),
        width_ratios=widths,
        height_ratios=heights,
        left=0.4 / size[0],
        right=0.99,
        bottom=0,
        top=1 - 0.6 / size[1],
        wspace=0.06,
        hspace=0.25,
    )
    return fig, grid


def _stage_title(
    fig: figure.Figure, grid: gridspec.GridSpec, stage: int, shape: tuple[int, ...]
) -> None:
    left, right = (grid[0, 3 + 3 * stage + j].get_position(fig) for j in (0, 1))
    height, width, channels = shape
    fig.text(
        (left.x0 + right.x1) / 2,
        1 - 0.05 / fig.get_figheight(),
        f"stage {stage + 1}\n{channels} channels of {height} x {width}",
        fontsize=10,
        ha="center",
        va="top",
    )


def _show(axes: axis.Axes, values: np.ndarray, title: str, **options: Any) -> None:
    if values.ndim == 3 and values.shape[-1] != 3:
        values = values.mean(-1)
    axes.imshow(values, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, pad=3)


def _show_map(axes: axis.Axes, values: np.ndarray, title: str) -> None:
    low = min(np.min(values), 0)  # 0 is in the scale: one positive pixel is bright
    _show(axes, values, title, cmap="viridis", vmin=low)
    if values.size == 1:
        value = values.item()
        color = "black" if value > low else "white"
        axes.text(0, 0, f"{value:.3g}", color=color, ha="center", va="center")
