"""The figure of which classes are taken for which, drawn from counts."""

from collections.abc import Sequence

import numpy as np
from matplotlib import figure

from dact_jax.reports.pictures import figure_text

_MAX_NUMBERS = 15  # with more classes the cells have no numbers
_MAX_NAMES = 70  # with more classes the axes have no names


def draw(count: np.ndarray, class_names: Sequence[str]) -> figure.Figure:
    """The shares of each true class, in %; a class without images is an empty row.

    Args:
      count: int[K, K], images of class (row) that are predicted as (column).
    """
    num = len(class_names)
    total = count.sum(1, keepdims=True)
    percent = 100 * count / np.maximum(total, 1)
    side = float(np.clip(0.45 * num, 3.5, 11))
    fig = figure.Figure(figsize=(side + 2.6, side + 1.6), layout="constrained")
    axes = fig.add_subplot()
    shown = np.ma.masked_where(np.broadcast_to(total == 0, percent.shape), percent)
    picture = axes.imshow(shown, cmap="Blues", vmin=0, vmax=100)
    bar = fig.colorbar(picture, ax=axes, shrink=0.7)
    bar.set_label("share of the true class (%)", fontsize=10)
    axes.set_xlabel("predicted class", fontsize=11)
    axes.set_ylabel("true class (test images)", fontsize=11)
    if num <= _MAX_NAMES:
        size = 10 if num <= 30 else 6
        names = [figure_text.short(name) for name in class_names]
        rows = [
            f"{name} ({images})"
            for name, images in zip(names, total[:, 0], strict=True)
        ]
        angle = 90 if max(map(len, names)) > 3 else 0
        axes.set_xticks(range(num), names, rotation=angle, fontsize=size)
        axes.set_yticks(range(num), rows, fontsize=size)
    if num <= _MAX_NUMBERS:
        for i, k in np.argwhere(count):
            color = "white" if percent[i, k] > 55 else "black"
            text = f"{percent[i, k]:.0f}"
            axes.text(k, i, text, ha="center", va="center", color=color, fontsize=9)
    return fig
