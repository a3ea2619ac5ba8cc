"""Accuracy of a run against labels, source samples or iterations, as figures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from matplotlib import axes as axis, figure, ticker

from dact_jax.reports import intervals
from dact_jax.reports.pictures import figure_text
from dact_jax.types import Row

# Published results: name -> (target labels, accuracy in [0, 1]), labels ascending.
Reference = Mapping[str, Sequence[tuple[int, float]]]

_MAX_TICKS = 12  # one tick per label count; more of them would overlap


class Baseline(NamedTuple):
    """An accuracy without any target label, drawn as a horizontal line."""

    name: str  # for the legend
    accuracy: float  # in [0, 1]


class _Series(NamedTuple):
    """One line of a figure."""

    legend: str
    field: str  # of the rows: accuracy in [0, 1], or None
    images: str  # of the rows: number of images that it was measured on
    style: str  # matplotlib's


_LINES = (
    _Series("test", "test_accuracy", "test_images", "o-"),
    _Series("validation", "val_accuracy", "labels_val", "s--"),
)
_ROUNDS = (
    _Series("classifier: test", "test_accuracy", "test_images", "o"),
    _Series("classifier: validation", "val_accuracy", "labels_val", "s"),
)
_TRIALS = (
    _Series(
        "loss predictor, trained on the\nchosen source: validation",
        "accuracy_source",
        "labels_val",
        "^-",
    ),
    _Series(
        "loss predictor, trained on the\ntarget labels: validation",
        "accuracy_target",
        "labels_val",
        "v:",
    ),
)


def by_labels(
    rounds: Sequence[Row], published: Reference, baseline: Baseline | None = None
) -> figure.Figure | None:
    """Accuracy in % against the number of target labels bought, one marker per round.

    A vertical bar is the 95 % interval of an accuracy.

    Args:
      rounds: rows with labels_target, test_accuracy and val_accuracy, and perhaps
        test_images and labels_val.
      published: drawn as dotted lines.
      baseline: drawn as a gray line.

    Returns:
      None if no accuracy is known.
    """
    fig, axes = _empty("target labels bought")
    labels = [row["labels_target"] for row in rounds]
    percents = _plot(axes, labels, rounds)
    for name, points in published.items():
        y = [100 * accuracy for _, accuracy in points]
        x = [count for count, _ in points]
        # The blank is there because Matplotlib omits labels that begin with "_".
        label = f" {figure_text.plain(name)} (published)"
        axes.plot(x, y, "^:", label=label, color=f"C{len(axes.lines)}", clip_on=False)
        labels, percents = labels + x, percents + y
    axes.xaxis.set_major_locator(_ticks(labels))
    return _frame(fig, axes, labels, percents, baseline)


def by_source(
    rounds: Sequence[Row], decisions: Sequence[Row] = ()
) -> figure.Figure | None:
    """Accuracy in % against the number of source samples.

    One marker per round. With decisions of D_AcT, two lines of the copies of the loss
    predictor that were compared, one trained further on the chosen source samples and
    one on the target labels bought by then.

    Args:
      rounds: rows with source_samples, test_accuracy and val_accuracy, and perhaps
        test_images and labels_val.
      decisions: rows with source_samples, accuracy_source and accuracy_target, and
        perhaps labels_val.

    Returns:
      None if no accuracy is known.
    """
    fig, axes = _empty("source samples chosen" if decisions else "source samples used")
    round_sizes = [row["source_samples"] for row in rounds]
    percents = _plot(axes, round_sizes, rounds, _LINES if not decisions else _ROUNDS)
    trial_sizes = [row["source_samples"] for row in decisions]
    percents += _plot(axes, trial_sizes, decisions, _TRIALS)
    axes.xaxis.set_major_locator(_ticks(round_sizes + trial_sizes))
    return _frame(fig, axes, round_sizes + trial_sizes, percents)


def by_iteration(
    evaluations: Sequence[Row], baseline: Baseline | None = None
) -> figure.Figure | None:
    """Accuracy in % against the iterations of one round, one marker per evaluation.

    Args:
      evaluations: rows with step, test_accuracy and val_accuracy, and perhaps
        test_images and labels_val.
      baseline: drawn as a gray line.

    Returns:
      None if no accuracy is known.
    """
    fig, axes = _empty("iterations")
    steps = [row["step"] for row in evaluations]
    return _frame(fig, axes, steps, _plot(axes, steps, evaluations), baseline)


def _empty(x_label: str) -> tuple[figure.Figure, axis.Axes]:
    fig = figure.Figure(figsize=(7, 4.5), layout="constrained")
    axes = fig.add_subplot()
    axes.set_xlabel(x_label, fontsize=12)
    axes.set_ylabel("accuracy (%)", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.3)
    return fig, axes


def _plot(
    axes: axis.Axes,
    x: Sequence[int],
    rows: Sequence[Row],
    lines: Sequence[_Series] = _LINES,
) -> list[float]:
    """Draws the accuracies that are not None, with their intervals where rows have
    counts; returns all accuracies and ends of intervals in %.
    """
    percents: list[float] = []
    for series in lines:
        points = [
            (place, row[series.field], row.get(series.images))
            for place, row in zip(x, rows, strict=True)
            if row[series.field] is not None
        ]
        if not points:
            continue
        places = [place for place, *_ in points]
        y = [100 * accuracy for _, accuracy, _ in points]
        # Markers at 0 and 100 % are whole, though the axis ends there.
        (line,) = axes.plot(
            places, y, series.style, label=series.legend, clip_on=False, zorder=3
        )
        bars = [
            (place, *(100 * end for end in intervals.wilson(accuracy, count)))
            for place, accuracy, count in points
            if count
        ]
        if bars:
            at, low, high = zip(*bars, strict=True)
            width = 5 if series.style.startswith(("o", "^")) else 2
            axes.vlines(at, low, high, line.get_color(), lw=width, alpha=0.35)
            percents += [*low, *high]
        percents += y
    return percents


def _frame(
    fig: figure.Figure,
    axes: axis.Axes,
    x: Sequence[int],
    percents: Sequence[float],
    baseline: Baseline | None = None,
) -> figure.Figure | None:
    """Adds the baseline, limits around all points and a legend; None without points."""
    if not percents:
        return None
    if baseline is not None:
        y = 100 * baseline.accuracy
        percents = [*percents, y]
        axes.axhline(y, color="0.4", linestyle="-.", lw=1.2, label=baseline.name)
    axes.set_xlim(*_limits(x, least=1))
    low, high = _limits(percents, least=3)
    axes.set_ylim(max(0, low), min(100, high))
    # Outside: it would hide bars inside.
    columns = 2 if any("\n" in str(line.get_label()) for line in axes.lines) else 4
    fig.legend(loc="outside upper center", ncols=columns, fontsize=10)
    return fig


def _limits(values: Sequence[float], *, least: float) -> tuple[float, float]:
    """The range of the values with a margin of 6 %, or of `least` if that is more."""
    margin = max(0.06 * (max(values) - min(values)), least)
    return min(values) - margin, max(values) + margin


def _ticks(counts: Iterable[int]) -> ticker.Locator:
    distinct = sorted(set(counts))
    if len(distinct) <= _MAX_TICKS:
        return ticker.FixedLocator(distinct)
    return ticker.MaxNLocator(integer=True)
