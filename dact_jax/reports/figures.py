"""Pictures of what a network sees and of what was picked: arrays in, figures out."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import axes as axis, colors as color_names, figure, gridspec, lines

_LEGEND = 20  # more classes than that are told apart by their number alone
_NAMED = 126  # and more than that have no names below their bars
_NOBODY = "0.45"  # the colour of a sample without class
_LETTERS = 18  # of a name, before it is cut


class Cloud(NamedTuple):
    """Samples on planes."""

    planes: Mapping[str, np.ndarray]  # how they were laid out -> float32[n, 2]
    label: np.ndarray  # int32[n], class or negative
    picked: np.ndarray  # bool[n]


class Shares(NamedTuple):
    """How often each class occurs."""

    title: str
    picked: np.ndarray  # int[K], samples
    pool: np.ndarray  # int[K], samples whose class is known


class Seen(NamedTuple):
    """One image on its way through the network."""

    side: str  # what it is a sample of
    name: str  # of its class
    image: np.ndarray  # float32[h, w, C], in [0, 1]
    maps: Sequence[np.ndarray]  # stage l: float32[h_l, w_l, C_l]


def embedding(
    cloud: Cloud, class_names: Sequence[str], title: str, picked: str
) -> figure.Figure:
    """Samples as the numbers of their classes, all of them and the picked ones.

    Args:
      cloud: n samples; without picked ones there is one column.
      class_names: K.
      title: of the figure.
      picked: title of the picked column.
    """
    columns = 1 + bool(cloud.picked.any())
    size = 6.2 * columns + 1.8, 5.6 * len(cloud.planes) + 0.8
    fig = figure.Figure(figsize=size, layout="constrained")
    grid = fig.subplots(len(cloud.planes), columns, squeeze=False)
    colors = _colors(len(class_names))
    large = 80 if cloud.picked.sum() <= 200 else 45
    for row, (name, points) in zip(grid, cloud.planes.items(), strict=True):
        everything = np.ones(len(points), bool)
        _numbers(row[0], points, cloud.label, everything, colors, size=26)
        row[0].set_title(f"{name}: all", fontsize=13)
        for axes in row[1:]:
            x, y = points[~cloud.picked].T
            axes.scatter(x, y, s=9, color="0.8", linewidths=0)
            _numbers(
                axes, points, cloud.label, cloud.picked, colors, size=large, bold=True
            )
            axes.set_title(f"{name}: {_plain(picked)}", fontsize=13)
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.margins(0.03)
    fig.suptitle(_plain(textwrap.fill(title, 60 * columns)), fontsize=15)
    _legend(fig, class_names, colors, unknown=bool((cloud.label < 0).any()))
    return fig


def class_shares(panels: Sequence[Shares], class_names: Sequence[str]) -> figure.Figure:
    """Bars of each class: its share of the picks beside its share of the pool.

    Many classes stand on several lines, and more than 126 as numbers.

    Args:
      panels: one below the other.
      class_names: K.
    """
    count = len(class_names)
    named = count <= _NAMED
    names = [_tick(k, name, count) for k, name in enumerate(class_names)]
    num_lines = math.ceil(count / (42 if named else 120))
    parts = np.array_split(np.arange(count), num_lines)
    upright = named and (count > 12 or max(map(len, names)) > 40 / count)
    height = 2.2 + (0.08 * max(map(len, names)) if upright else 0.2)
    width = float(np.clip(0.3 * len(parts[0]) + 1.5, 7, 13))
    size = width, height * len(panels) * num_lines
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
        rows[0].set_title(_plain(panel.title), fontsize=12, loc="left")
        rows[0].legend(
            fontsize=10,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
        )
    return fig


def feature_maps(rows: Sequence[Seen]) -> figure.Figure:
    """Each image, and the answers of each stage: their mean and the three strongest.

    Args:
      rows: of one network, so with as many stages, of the same sizes.
    """
    fig, grid = _canvas(len(rows), len(rows[0].maps))
    for i, seen in enumerate(rows):
        axes = fig.add_subplot(grid[3 * i : 3 * i + 2, :2])
        _show(axes, seen.image, _short(seen.name), cmap="gray", vmin=0, vmax=1)
        axes.set_ylabel(_plain(seen.side), fontsize=11)
        for stage, maps in enumerate(seen.maps):
            strongest = np.argsort(-maps.mean((0, 1)), kind="stable")[:3]
            shown = [("mean", maps.mean(-1))]
            shown += [(f"channel {c}", maps[..., c]) for c in strongest]
            for j, (name, values) in enumerate(shown):
                place = grid[3 * i + j // 2, 3 + 3 * stage + j % 2]
                low = min(np.min(values), 0)  # a map of one pixel has a strength too
                axes = fig.add_subplot(place)
                _show(axes, values, name, cmap="viridis", vmin=low)
    for stage, maps in enumerate(rows[0].maps):
        _head(fig, grid, stage, maps.shape)
    return fig


def _canvas(images: int, stages: int) -> tuple[figure.Figure, gridspec.GridSpec]:
    """An image spans two rows and columns, each stage two by two; then come gaps."""
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


def _head(
    fig: figure.Figure, grid: gridspec.GridSpec, stage: int, shape: tuple[int, ...]
) -> None:
    """Names a stage above its columns."""
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


def _bars(axes: axis.Axes, panel: Shares, part: np.ndarray) -> None:
    """The bars of some classes, to the scale of all."""
    top = 0.0
    for shift, what, number, color in (
        (-0.2, "picked", panel.picked, "C1"),
        (0.2, "pool", panel.pool, "0.65"),
    ):
        if total := number.sum():
            share = 100 * number / total
            label = f"{what} ({total})"
            axes.bar(part + shift, share[part], 0.4, label=label, color=color)
            top = max(top, np.max(share))
    axes.set_ylim(0, 1.08 * top or 1)


def _tick(number: int, name: str, count: int) -> str:
    """What stands below a class's bars: its number too, if no legend tells it."""
    if count > _NAMED:
        return str(number)
    return f"{number} {_short(name)}" if count > _LEGEND else _short(name)


def _numbers(
    axes: axis.Axes,
    points: np.ndarray,
    label: np.ndarray,
    shown: np.ndarray,
    colors: np.ndarray,
    *,
    size: float,
    bold: bool = False,
) -> None:
    """Class numbers at points; dots where there is no class.

    A number is a marker, not a text: thousands of texts take minutes to draw.
    """
    style: dict[str, Any] = {"alpha": 1 if bold else 0.75, "linewidths": 0}
    x, y = points[shown & (label < 0)].T
    axes.scatter(x, y, s=size / 3, color=_NOBODY, **style)
    for k, color in enumerate(colors):
        x, y = points[shown & (label == k)].T
        if len(x):
            # A marker is fitted into a square: two digits would be half as high.
            area = size * len(str(k)) ** 1.5
            number = rf"$\mathbf{{{k}}}$" if bold else f"${k}$"
            axes.scatter(x, y, s=area, color=color, marker=number, **style)


def _legend(
    fig: figure.Figure, class_names: Sequence[str], colors: np.ndarray, *, unknown: bool
) -> None:
    """Numbers with their names, where the classes are few."""
    if len(class_names) > _LEGEND:
        return
    # Matplotlib leaves out a label that begins with an underscore: hence the blank.
    entries = [
        (rf"$\mathbf{{{k}}}$", colors[k], 8 * len(str(k)) ** 0.75, f" {_short(name)}")
        for k, name in enumerate(class_names)
    ]
    if unknown:
        entries.append(("o", _NOBODY, 5, " nobody knows"))
    handles = [
        lines.Line2D([], [], linestyle="", marker=marker, color=color, markersize=size)
        for marker, color, size, _ in entries
    ]
    names = [name for *_, name in entries]
    fig.legend(handles, names, title="class", loc="outside right center", fontsize=11)


def _colors(count: int) -> np.ndarray:
    """float[K, 3], dark enough for thin numbers on white."""
    if count <= 10:
        found = matplotlib.colormaps["tab10"](np.arange(count))[:, :3]
        found[7:8] = 0.1  # its grey is that of samples without class
        return found
    # Neighbours in number are often neighbours in name: a golden step parts them.
    k = np.arange(count)
    hue, value = k * 0.618034 % 1, np.where(k % 2, 0.5, 0.8)
    return color_names.hsv_to_rgb(np.stack([hue, np.full(count, 0.9), value], -1))


def _short(name: str) -> str:
    return _plain(name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…")


def _plain(text: str) -> str:
    """Text in which no dollar begins a formula."""
    return text.replace("$", r"\$")
