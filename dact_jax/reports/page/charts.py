"""Line charts as the numbers that an SVG template draws."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dact_jax.reports import intervals

WIDTH, HEIGHT = 440, 290  # of the drawing; it is scaled to the width of the page
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 44  # margins
_TICKS = 6  # about so many on the axis of accuracies
_MOST_X_TICKS = 8
_Scale = Callable[[float], float]  # a value to its place in the drawing
_STEPS = (1, 2, 5, 10, 20, 25, 50)


class Line(NamedTuple):
    """Points with or without intervals; one point or `flat` without x: a level."""

    name: str  # for the legend
    x: Sequence[float]  # ascending
    y: Sequence[float]  # in %
    low: Sequence[float] | None = None  # ends of an interval around each y
    high: Sequence[float] | None = None
    band: bool = False  # whether intervals are a band; else a bar at each point
    flat: bool = False  # the first y as a horizontal line
    dotted: bool = False
    joined: bool = True  # whether a line goes through the points


class Point(NamedTuple):
    x: float
    y: float
    title: str  # what a pointer sees
    low: float | None = None  # ends of a bar
    high: float | None = None


class Drawn(NamedTuple):
    """A line in the units of the drawing."""

    name: str
    path: str  # of SVG; "" for points alone
    points: list[Point]
    band: str  # points of a polygon; "" for none
    dotted: bool
    flat: bool


class Tick(NamedTuple):
    place: float
    text: str


class Chart(NamedTuple):
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Drawn]
    about: str  # what the chart shows, for those who cannot see it


def with_intervals(
    name: str, x: Sequence[float], shares: Sequence[float], counts: Sequence[int]
) -> Line:
    """A line of shares in [0, 1] with their 95 % intervals (Wilson's).

    Args:
      counts: what each share is one of; 0: it has no interval.
    """
    ends = [
        intervals.wilson(share, count) if count else (share, share)
        for share, count in zip(shares, counts, strict=True)
    ]
    return Line(
        name,
        x,
        [100 * share for share in shares],
        [100 * low for low, _ in ends],
        [100 * high for _, high in ends],
    )


def draw(
    lines: Sequence[Line], *, x_label: str, y_label: str = "accuracy (%)"
) -> Chart | None:
    """A chart of the lines that have points; None without any."""
    lines = [line for line in lines if len(line.y)]
    if not lines:
        return None
    xs = [x for line in lines if not line.flat for x in line.x] or [0.0]
    ys = [y for line in lines for y in (*line.y, *(line.low or ()), *(line.high or ()))]
    left, right = _limits(xs, least=1.0)
    low, high = _limits(ys, least=3.0)
    low, high = max(0.0, low), min(100.0, high)

    def across(x: float) -> float:
        inside = WIDTH - _LEFT - _RIGHT
        return round(_LEFT + inside * (x - left) / (right - left), 1)

    def down(y: float) -> float:
        inside = HEIGHT - _TOP - _BOTTOM
        return round(HEIGHT - _BOTTOM - inside * (y - low) / (high - low), 1)

    drawn = [_drawn(line, across, down) for line in lines]
    return Chart(
        x_label=x_label,
        y_label=y_label,
        x_ticks=[Tick(across(x), f"{x:g}") for x in _x_ticks(xs)],
        y_ticks=[Tick(down(y), f"{y:g}") for y in _y_ticks(low, high)],
        lines=drawn,
        about="; ".join(map(_about, lines)),
    )


def _drawn(line: Line, across: _Scale, down: _Scale) -> Drawn:
    if line.flat:
        ends = WIDTH - _RIGHT
        level = f"M{_LEFT} {down(line.y[0])}H{ends}"
        return Drawn(line.name, level, [], "", line.dotted, True)
    x, y = list(map(across, line.x)), list(map(down, line.y))
    points = [Point(a, b, _title(line, i)) for i, (a, b) in enumerate(_pairs(x, y))]
    band = ""
    if line.low and line.high:
        low, high = list(map(down, line.low)), list(map(down, line.high))
        if line.band:
            around = [*_pairs(x, high), *reversed(_pairs(x, low))]
            band = " ".join(f"{a},{b}" for a, b in around)
        else:
            points = [
                point._replace(low=a, high=b)
                for point, a, b in zip(points, low, high, strict=True)
            ]
    path = "M" + "L".join(f"{a} {b}" for a, b in _pairs(x, y)) if line.joined else ""
    return Drawn(line.name, path, points, band, line.dotted, False)


def _pairs(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(x, y, strict=True))


def _title(line: Line, i: int) -> str:
    text = f"{line.name}: {line.y[i]:.1f} % at {line.x[i]:g}"
    if line.low and line.high:
        text += f" ({line.low[i]:.1f} to {line.high[i]:.1f})"
    return text


def _about(line: Line) -> str:
    if line.flat or len(line.y) == 1:
        return f"{line.name}: {line.y[0]:.1f} %"
    return (
        f"{line.name}: from {line.y[0]:.1f} % at {line.x[0]:g} to {line.y[-1]:.1f} % "
        f"at {line.x[-1]:g}"
    )


def _limits(values: Sequence[float], *, least: float) -> tuple[float, float]:
    """The range of the values with a margin of 6 %, or of `least` if that is more."""
    margin = max(0.06 * (max(values) - min(values)), least)
    return min(values) - margin, max(values) + margin


def _x_ticks(values: Sequence[float]) -> list[float]:
    """The values themselves, or every n-th if they are many; never two that touch."""
    distinct = sorted(set(values))
    stride = math.ceil(len(distinct) / _MOST_X_TICKS)
    ticks = distinct[::-stride][::-1]
    apart = (ticks[-1] - ticks[0]) / 14
    kept: list[float] = []
    for tick in reversed(ticks):
        if not kept or kept[-1] - tick >= apart:
            kept.append(tick)
    return kept[::-1]


def _y_ticks(low: float, high: float) -> list[int]:
    span = high - low
    step = next((s for s in _STEPS if span / s <= _TICKS), _STEPS[-1])
    return list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))
