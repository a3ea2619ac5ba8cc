"""Figures of a run: its accuracy against what it cost."""

from collections.abc import Iterable, Mapping, Sequence

from matplotlib import axes as axis, figure, ticker

from dact_jax.types import Row

# Published numbers: whose -> (target labels, accuracy in [0, 1]), in rising order.
Reference = Mapping[str, Sequence[tuple[int, float]]]

_MOST_TICKS = 12  # more label counts than that and their ticks would touch
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
    """Accuracy in % against the number of target labels bought, a marker a round.

    Args:
      rounds: rows with labels_target, test_accuracy and val_accuracy.
      published: as the type says.
    """
    fig, axes = _empty("target labels bought")
    labels = [row["labels_target"] for row in rounds]
    shown = _plot(axes, labels, rounds)
    for name, points in published.items():
        y = [100 * accuracy for _, accuracy in points]
        x = [count for count, _ in points]
        axes.plot(x, y, "^:", label=f"{name} (published)", color=f"C{len(axes.lines)}")
        labels, shown = labels + x, shown + y
    _frame(axes, labels, shown)
    axes.xaxis.set_major_locator(_ticks(labels))
    return fig


def by_source(rounds: Sequence[Row], decisions: Sequence[Row] = ()) -> figure.Figure:
    """Accuracy in % against the number of source samples in use.

    A marker a round, and lines of the trial networks of D_AcT: of those trained further
    on the source samples, and of those on the target labels that there were then.

    Args:
      rounds: rows with source_samples, test_accuracy and val_accuracy.
      decisions: rows with source_samples, accuracy_source and accuracy_target.
    """
    fig, axes = _empty("source samples chosen" if decisions else "source samples used")
    sizes = [row["source_samples"] for row in rounds]
    shown = _plot(axes, sizes, rounds, _LINES if not decisions else _MARKERS)
    tried = [row["source_samples"] for row in decisions]
    shown += _plot(axes, tried, decisions, _TRIALS)
    _frame(axes, sizes + tried, shown)
    axes.xaxis.set_major_locator(_ticks(sizes + tried))
    return fig


def by_iteration(evaluations: Sequence[Row]) -> figure.Figure:
    """Accuracy in % against the iterations of one round, a marker an evaluation.

    Args:
      evaluations: rows with step, test_accuracy and val_accuracy.
    """
    fig, axes = _empty("iterations")
    steps = [row["step"] for row in evaluations]
    _frame(axes, steps, _plot(axes, steps, evaluations))
    return fig


def _empty(quantity: str) -> tuple[figure.Figure, axis.Axes]:
    fig = figure.Figure(figsize=(7, 4.5), layout="constrained")
    axes = fig.add_subplot()
    axes.set_xlabel(quantity, fontsize=12)
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
    """The accuracies that are known, drawn; all of them in %."""
    shown: list[float] = []
    for name, field, style in lines:
        known = [
            (at, 100 * row[field])
            for at, row in zip(x, rows, strict=True)
            if row[field] is not None
        ]
        if known:
            axes.plot(*zip(*known, strict=True), style, label=name)
        shown += [y for _, y in known]
    return shown


def _frame(axes: axis.Axes, x: Sequence[int], shown: Sequence[float]) -> None:
    """Limits around all points, and a legend if there are any."""
    axes.set_xlim(*_limits(x, least=1))
    if shown:
        low, high = _limits(shown, least=5)
        axes.set_ylim(max(0, low), min(101, high))
        axes.legend(fontsize=11)


def _limits(values: Sequence[float], *, least: float) -> tuple[float, float]:
    margin = max(0.06 * (max(values) - min(values)), least)
    return min(values) - margin, max(values) + margin


def _ticks(labels: Iterable[int]) -> ticker.Locator:
    distinct = sorted(set(labels))
    if len(distinct) <= _MOST_TICKS:
        return ticker.FixedLocator(distinct)
    return ticker.MaxNLocator(integer=True)
