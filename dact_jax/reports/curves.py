"""Accuracy of a run against labels, source samples or iterations, as figures."""

from collections.abc import Iterable, Mapping, Sequence

from matplotlib import axes as axis, figure, ticker

from dact_jax.types import Row

# Published results: name -> (target labels, accuracy in [0, 1]), labels ascending.
Reference = Mapping[str, Sequence[tuple[int, float]]]

_MAX_TICKS = 12  # one tick per label count; more of them would overlap
# (legend, field of the row, matplotlib's style)
_LINES = (("test", "test_accuracy", "o-"), ("validation", "val_accuracy", "s--"))
_MARKERS = (
    ("round: test", "test_accuracy", "o"),
    ("round: validation", "val_accuracy", "s"),
)
_TRIALS = (
    ("trial on N: validation", "accuracy_source", "^-"),
    ("trial on $T_l$: validation", "accuracy_target", "v:"),
)


def by_labels(rounds: Sequence[Row], published: Reference) -> figure.Figure:
    """Accuracy in % against the number of target labels bought, one marker per round.

    Args:
      rounds: rows with labels_target, test_accuracy and val_accuracy.
      published: drawn as dotted lines.
    """
    fig, axes = _empty("target labels bought")
    labels = [row["labels_target"] for row in rounds]
    percents = _plot(axes, labels, rounds)
    for name, points in published.items():
        y = [100 * accuracy for _, accuracy in points]
        x = [count for count, _ in points]
        axes.plot(x, y, "^:", label=f"{name} (published)", color=f"C{len(axes.lines)}")
        labels, percents = labels + x, percents + y
    _frame(axes, labels, percents)
    axes.xaxis.set_major_locator(_ticks(labels))
    return fig


def by_source(rounds: Sequence[Row], decisions: Sequence[Row] = ()) -> figure.Figure:
    """Accuracy in % against the number of source samples.

    One marker per round. With decisions of D_AcT, two lines of trial networks, one
    trained further on the chosen source samples and one on the target labels bought
    by then.

    Args:
      rounds: rows with source_samples, test_accuracy and val_accuracy.
      decisions: rows with source_samples, accuracy_source and accuracy_target.
    """
    fig, axes = _empty("source samples chosen" if decisions else "source samples used")
    round_sizes = [row["source_samples"] for row in rounds]
    percents = _plot(axes, round_sizes, rounds, _LINES if not decisions else _MARKERS)
    trial_sizes = [row["source_samples"] for row in decisions]
    percents += _plot(axes, trial_sizes, decisions, _TRIALS)
    _frame(axes, round_sizes + trial_sizes, percents)
    axes.xaxis.set_major_locator(_ticks(round_sizes + trial_sizes))
    return fig


def by_iteration(evaluations: Sequence[Row]) -> figure.Figure:
    """Accuracy in % against the iterations of one round, one marker per evaluation.

    Args:
      evaluations: rows with step, test_accuracy and val_accuracy.
    """
    fig, axes = _empty("iterations")
    steps = [row["step"] for row in evaluations]
    _frame(axes, steps, _plot(axes, steps, evaluations))
    return fig


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
    lines: Sequence[tuple[str, str, str]] = _LINES,
) -> list[float]:
    """Draws the accuracies that are not None; returns all of them in %."""
    percents: list[float] = []
    for name, field, style in lines:
        points = [
            (position, 100 * row[field])
            for position, row in zip(x, rows, strict=True)
            if row[field] is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name)
        percents += [y for _, y in points]
    return percents


def _frame(axes: axis.Axes, x: Sequence[int], percents: Sequence[float]) -> None:
    """Sets limits around all points and adds a legend if there are any points."""
    axes.set_xlim(*_limits(x, least=1))
    if percents:
        low, high = _limits(percents, least=5)
        axes.set_ylim(max(0, low), min(101, high))
        axes.legend(fontsize=11)


def _limits(values: Sequence[float], *, least: float) -> tuple[float, float]:
    """The range of the values with a margin of 6 %, or of `least` if that is more."""
    margin = max(0.06 * (max(values) - min(values)), least)
    return min(values) - margin, max(values) + margin


def _ticks(counts: Iterable[int]) -> ticker.Locator:
    distinct = sorted(set(counts))
    if len(distinct) <= _MAX_TICKS:
        return ticker.FixedLocator(distinct)
    return ticker.MaxNLocator(integer=True)
