"""Figures of embeddings and of picked classes, drawn from arrays."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import axes as axis, colors as color_names, figure, lines

from dact_jax.reports.pictures import figure_text

_MAX_LEGEND = 20  # with more classes there is no legend, only class numbers
_MAX_NAMES = 126  # with more classes the bars have numbers instead of names
# Side of a panel in points, 1/72 inch: numbers of the area s are sqrt(s) high.
_SIDE = 390
_UNKNOWN = "0.45"  # color of a sample of unknown class


class Cloud(NamedTuple):
    """n samples projected to planes."""

    planes: Mapping[str, np.ndarray]  # name of the projection -> float32[n, 2]
    label: np.ndarray  # int32[n]; negative: unknown class
    picked: np.ndarray  # bool[n]


class ClassCounts(NamedTuple):
    """How often each class occurs among the picks and in the pool."""

    title: str
    picked: np.ndarray  # int[K], number of samples
    pool: np.ndarray  # int[K], number of samples of known class


def embedding(
    cloud: Cloud, class_names: Sequence[str], title: str, picked: str
) -> figure.Figure:
    """Samples drawn as class numbers: all on the left, the picked ones on the right.

    Args:
      cloud: without picked samples there is no right column.
      picked: title of the right column.
    """
    columns = 1 + bool(cloud.picked.any())
    size = 6.2 * columns + 1.8, 5.6 * len(cloud.planes) + 0.8
    fig = figure.Figure(figsize=size, layout="constrained")
    grid = fig.subplots(len(cloud.planes), columns, squeeze=False)
    colors = _colors(len(class_names))
    picked_size = 80 if cloud.picked.sum() <= 200 else 50
    for row, (name, points) in zip(grid, cloud.planes.items(), strict=True):
        everything = np.ones(len(points), bool)
        _numbers(row[0], points, cloud.label, everything, colors, size=26)
        row[0].set_title(f"{name}: all", fontsize=13)
        for axes in row[1:]:
            x, y = points[~cloud.picked].T
            axes.scatter(x, y, s=9, color="0.8", linewidths=0, alpha=0.5)
            drawn = points, cloud.label, cloud.picked, colors
            _numbers(axes, *drawn, size=picked_size, bold=True)
            axes.set_title(f"{name}: {figure_text.plain(picked)}", fontsize=13)
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.margins(0.03)
    fig.suptitle(figure_text.plain(textwrap.fill(title, 60 * columns)), fontsize=15)
    _legend(fig, class_names, colors, unknown=bool((cloud.label < 0).any()))
    return fig


def class_shares(
    panels: Sequence[ClassCounts], class_names: Sequence[str]
) -> figure.Figure:
    """Bars for each class: its share of the picks beside its share of the pool.

    Many classes are split over several lines; more than 126 have numbers, not names.

    Args:
      panels: drawn one below the other.
    """
    count = len(class_names)
    named = count <= _MAX_NAMES
    names = [_tick(k, name, count) for k, name in enumerate(class_names)]
    num_lines = math.ceil(count / (42 if named else 120))
    parts = np.array_split(np.arange(count), num_lines)
    upright = named and (count > 12 or max(map(len, names)) > 40 / count)
    height = 2.2 + (0.08 * max(map(len, names)) if upright else 0.2)
    width = float(np.clip(0.3 * len(parts[0]) + 1.5, 7, 13))
    size = width, height * len(panels) * num_lines + 0.25
    fig = figure.Figure(figsize=size, layout="constrained")
    grid = fig.subplots(len(panels) * num_lines, 1, squeeze=False)
    for panel, rows in zip(panels, np.split(grid[:, 0], len(panels)), strict=True):
        for axes, part in zip(rows, parts, strict=True):
            _bars(axes, panel, part)
            axes.set_xlim(part[0] - 0.7, part[-1] + 0.7)
            ticks = part if named else part[::10]
            axes.set_xticks(ticks, [names[k] for k in ticks], fontsize=10)
            axes.tick_params(axis="x", rotation=90 if upright else 0)
            axes.set_ylabel("share (%)", fontsize=11)
        rows[0].set_title(figure_text.plain(panel.title), fontsize=12, loc="left")
        rows[0].legend(
            fontsize=10,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            borderaxespad=0,
            ncols=2,
            frameon=False,
        )
    grid[-1, 0].set_xlabel("class", fontsize=11)
    return fig


def _bars(axes: axis.Axes, panel: ClassCounts, part: np.ndarray) -> None:
    """The bars of the classes in `part`, with the y scale of all classes."""
    top = 0.0
    for shift, name, counts, color in (
        (-0.2, "picked", panel.picked, "C1"),
        (0.2, "pool", panel.pool, "0.65"),
    ):
        if total := counts.sum():
            share = 100 * counts / total
            label = f"{name} ({total})"
            axes.bar(part + shift, share[part], 0.4, label=label, color=color)
            top = max(top, np.max(share))
    axes.set_ylim(0, 1.08 * top or 1)


def _tick(number: int, name: str, count: int) -> str:
    """Name of a class below its bars; its number too, if no legend explains it."""
    if count > _MAX_NAMES:
        return str(number)
    short = figure_text.short(name)
    return f"{number} {short}" if count > _MAX_LEGEND else short


def _numbers(
    axes: axis.Axes,
    points: np.ndarray,
    label: np.ndarray,
    visible: np.ndarray,
    colors: np.ndarray,
    *,
    size: float,
    bold: bool = False,
) -> None:
    """Draws class numbers at the visible points, and dots for unknown classes.

    Points whose numbers would cover another one are dots too. A number is a marker,
    not a text: thousands of texts would take minutes to draw.
    """
    style: dict[str, Any] = {"alpha": 1 if bold else 0.75, "linewidths": 0}
    x, y = points[visible & (label < 0)].T
    axes.scatter(x, y, s=size / 3, color=_UNKNOWN, **style)
    numbered = visible & (label >= 0)
    numbered &= _spread(points, numbered, round(_SIDE / size**0.5))
    covered = visible & (label >= 0) & ~numbered
    x, y = points[covered].T
    hues = colors[label[covered]]
    axes.scatter(x, y, s=size / 8, c=hues, alpha=0.5, linewidths=0, zorder=0.9)
    for k, color in enumerate(colors):
        x, y = points[numbered & (label == k)].T
        if len(x):
            # Markers are scaled to fit a square: two digits would be half as high.
            area = size * len(str(k)) ** 1.5
            number = rf"$\mathbf{{{k}}}$" if bold else f"${k}$"
            axes.scatter(x, y, s=area, color=color, marker=number, **style)


def _spread(points: np.ndarray, wanted: np.ndarray, cells: int) -> np.ndarray:
    """bool[n], the first wanted point in each cell of a grid over all points.

    Args:
      points: float32[n, 2].
      wanted: bool[n].
      cells: number of cells along each side.
    """
    low, high = points.min(0), points.max(0)
    place = (points - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    column, row = np.minimum(place * cells, cells - 1).astype(np.int64).T
    rows = np.flatnonzero(wanted)
    _, first = np.unique((row * cells + column)[rows], return_index=True)
    chosen = np.zeros(len(points), bool)
    chosen[rows[first]] = True
    return chosen


def _legend(
    fig: figure.Figure, class_names: Sequence[str], colors: np.ndarray, *, unknown: bool
) -> None:
    """Class numbers with their names, if there are at most 20."""
    if len(class_names) > _MAX_LEGEND:
        return
    # The blank is there because Matplotlib omits labels that begin with "_".
    texts = [f" {figure_text.short(name)}" for name in class_names]
    entries = [
        (rf"$\mathbf{{{k}}}$", colors[k], 8 * len(str(k)) ** 0.75, text)
        for k, text in enumerate(texts)
    ]
    if unknown:
        entries.append(("o", _UNKNOWN, 5, " unknown"))
    handles = [
        lines.Line2D([], [], linestyle="", marker=marker, color=color, markersize=size)
        for marker, color, size, _ in entries
    ]
    names = [name for *_, name in entries]
    fig.legend(handles, names, title="class", loc="outside right center", fontsize=11)


def _colors(count: int) -> np.ndarray:
    """float[K, 3] in RGB, dark enough for thin numbers on white."""
    if count <= 10:
        colors = matplotlib.colormaps["tab10"](np.arange(count))[:, :3]
        colors[7:8] = 0.1  # tab10 has a gray here, like samples of unknown class
        return colors
    # Steps of the golden ratio give consecutive classes, whose names are often alike,
    # very different hues.
    k = np.arange(count)
    hue, value = k * 0.618034 % 1, np.where(k % 2, 0.5, 0.8)
    return color_names.hsv_to_rgb(np.stack([hue, np.full(count, 0.9), value], -1))
