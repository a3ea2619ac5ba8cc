"""The figure of the images that were picked, in the order of picking."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import figure

from dact_jax.reports.pictures import figure_text

COLUMNS = 12  # images in a line, at most
_NAME = 12  # letters of a class name below an image


class Group(NamedTuple):
    """Images that were picked at the same time."""

    title: str
    images: np.ndarray  # uint8[n, H, W, C], n >= 1
    class_names: Sequence[str]  # n names


def draw(groups: Sequence[Group]) -> figure.Figure:
    """The images of each group in lines, with their classes below them."""
    columns = min(COLUMNS, max(len(group.images) for group in groups))
    lines = [math.ceil(len(group.images) / columns) for group in groups]
    size = 1.05 * max(columns, 4), sum(0.45 + 1.3 * count for count in lines)
    fig = figure.Figure(figsize=size, layout="constrained")
    parts = np.atleast_1d(
        np.asarray(
            fig.subfigures(
                len(groups), 1, height_ratios=[0.45 + 1.3 * count for count in lines]
            )
        )
    )
    for part, group, count in zip(parts, groups, lines, strict=True):
        title = figure_text.plain(group.title)
        part.suptitle(title, fontsize=11, x=0.01, ha="left")
        grid = part.subplots(count, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, image, name in zip(
            grid, group.images, group.class_names, strict=False
        ):
            shown = image if image.shape[-1] == 3 else image[..., 0]
            axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(figure_text.short(name, most=_NAME), fontsize=8, y=-0.28)
    return fig
