"""Pairs of methods: their differences seed by seed, and whether these may be chance."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from dact_jax.reports.comparison import comparable, statistics, tables
from dact_jax.reports.comparison.runs import Method
from dact_jax.reports.comparison.statistics import Paired
from dact_jax.reports.sections.content import Table

_USUAL = 0.05  # p below which a difference is usually called significant


class Pair(NamedTuple):
    one: str
    other: str
    paired: Paired
    corrected: float | None  # p of the t test, for the number of pairs (Holm)


def ranked(methods: Sequence[Method], labels: int) -> list[Method]:
    """The methods by their mean accuracy with so many labels, the best first."""

    def mean(method: Method) -> float:
        return statistics.mean(comparable.at(run, labels) for run in method.runs)

    return sorted(methods, key=lambda method: -mean(method))


def of(methods: Sequence[Method], labels: int) -> list[Pair]:
    """All pairs of methods that have a seed in common, the better method first."""
    values = {
        method.name: {run.seed: comparable.at(run, labels) for run in method.runs}
        for method in methods
    }
    tested = [
        (one.name, other.name, paired)
        for one, other in itertools.combinations(ranked(methods, labels), 2)
        if (paired := statistics.paired(values[one.name], values[other.name]))
    ]
    corrected = statistics.adjusted([paired.t for *_, paired in tested])
    return [Pair(*pair, p) for pair, p in zip(tested, corrected, strict=True)]


def winner(methods: Sequence[Method], labels: int) -> str:
    """The method that is better than the second, hardly by chance; "" for none."""
    if len(methods) < 2:
        return ""
    best, second = ranked(methods, labels)[:2]
    means = [
        tables.shown_mean(
            statistics.summary([comparable.at(run, labels) for run in method.runs])
        )
        for method in (best, second)
    ]
    found = find(of(methods, labels), best.name, second.name)
    clear = found is not None and means[0] > means[1] and not may_be_chance(found)
    return best.name if clear else ""


def find(pairs: Sequence[Pair], one: str, other: str) -> Pair | None:
    """The pair of two methods; None if they have no seed in common."""
    return next((p for p in pairs if (p.one, p.other) == (one, other)), None)


def may_be_chance(pair: Pair) -> bool:
    """Whether a t test, corrected for the number of pairs, leaves it open."""
    return pair.corrected is None or pair.corrected >= _USUAL


def verdict(pair: Pair) -> str:
    """By how much the first is better, and whether that may be chance."""
    mean, count = pair.paired.mean, len(pair.paired.differences)
    points = f"{abs(mean):.1f} points {'better' if mean >= 0 else 'worse'}"
    if count == 1:
        return f"{points} on the one seed that both have: too few to rule out chance"
    text = f"{points} on average, on {pair.paired.above} of {count} seeds"
    if pair.corrected is None:
        return f"{text}; whether that is chance was not measured"
    word = "may be" if may_be_chance(pair) else "is hardly"
    return f"{text}, which {word} chance (t test, Holm: p = {pair.corrected:.2g})"


def table(pairs: Sequence[Pair]) -> Table | None:
    """The differences; one seed alone has no p."""
    if not pairs:
        return None
    head = ("difference", "points", "by seed", "better on")
    return Table(
        (*head, "p, sign test", "p, t test", "p, t test, Holm"), [*map(_row, pairs)]
    )


def note(pairs: Sequence[Pair], labels: int) -> str:
    """What the table of differences means."""
    most = max((len(pair.paired.differences) for pair in pairs), default=0)
    text = (
        f"At {labels} target labels, in points of %, seed by seed; ± is the standard "
        "deviation of the differences over seeds. Runs with the same seed have the "
        "same test images and the same first labels."
    )
    if most < 2:
        return f"{text} One seed has no p: repeat the runs with other seeds."
    return (
        f"{text} p is two-sided: how likely so large a difference is if the methods "
        "are equally good; one seed has none. The sign test counts seeds and assumes "
        f"nothing else; with {most} seeds its p cannot be below "
        f"{statistics.least_sign(most):.2g}. The t test assumes normal differences, "
        "which so few seeds cannot show. Holm's correction allows for the number of "
        "pairs: the smallest p is multiplied by it, the next by one less, and so on; "
        "no p may come out below a smaller one, so some are equal."
    )


def _row(pair: Pair) -> tuple[str, ...]:
    differences = pair.paired.differences.values()
    tested = (pair.paired.sign, pair.paired.t, pair.corrected)
    return (
        f"{pair.one} minus {pair.other}",
        tables.shown(statistics.summary([*differences])),
        ", ".join(f"{difference:+.1f}" for difference in differences),
        f"{pair.paired.above} of {len(differences)}",
        *(_p(p if len(differences) > 1 else None) for p in tested),
    )


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
