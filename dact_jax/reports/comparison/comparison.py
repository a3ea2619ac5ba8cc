"""compare.html: what several methods come to over several seeds."""

import itertools
import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dact_jax.reports.comparison import comparable, runs, statistics, tables
from dact_jax.reports.comparison.comparable import Budget
from dact_jax.reports.comparison.runs import Method
from dact_jax.reports.comparison.statistics import Paired
from dact_jax.reports.page import charts
from dact_jax.reports.page.charts import Chart, Line
from dact_jax.reports.page.templates import render
from dact_jax.reports.sections.content import Table

_USUAL = 0.05  # p below which a difference is usually called significant
_MOST_FIELDS = 60  # settings that differ between methods, as far as they are shown


class Pair(NamedTuple):
    one: str
    other: str
    paired: Paired
    corrected: float | None  # p of the t test, for the number of pairs (Holm)


class Compared(NamedTuple):
    """Methods that can be compared, and how they do."""

    methods: Sequence[Method]
    budget: Budget
    metric: str  # one of `runs.METRICS`
    pairs: Sequence[Pair]  # the better method first


def compare(folders: Sequence[pathlib.Path], metric: str) -> Compared:
    """Reads runs and compares their methods.

    Raises:
      InputError: a folder is not a run's, or two runs cannot be compared.
    """
    methods = runs.methods(runs.read(folders, metric))
    budget = comparable.check(methods)
    last = {
        method.name: {run.seed: comparable.at(run, budget.last) for run in method.runs}
        for method in methods
    }
    means = {
        name: statistics.summary([*values.values()]).mean
        for name, values in last.items()
    }
    ranked = sorted(methods, key=lambda method: -means[method.name])
    tested = [
        (one.name, other.name, paired)
        for one, other in itertools.combinations(ranked, 2)
        if (paired := statistics.paired(last[one.name], last[other.name])) is not None
    ]
    corrected = statistics.adjusted([paired.t for *_, paired in tested])
    pairs = [Pair(*pair, p) for pair, p in zip(tested, corrected, strict=True)]
    return Compared(ranked, budget, metric, pairs)


def sentence(compared: Compared) -> str:
    """What the comparison comes to, in one sentence."""
    methods, budget = compared.methods, compared.budget
    best = methods[0]
    _, about = runs.METRICS[compared.metric]
    means = {
        method.name: tables.shown(of_method[-1])
        for method, of_method in zip(
            methods, tables.summaries(methods, budget), strict=True
        )
    }
    seeds = len(best.runs)
    over = "with one seed" if seeds == 1 else f"over {seeds} seeds"
    labels = f"{budget.last} target labels" if budget.last else "no target label"
    if count := best.runs[0].rounds[-1]["labels_val"]:
        labels += f" (and {count} for validation)"
    if len(methods) == 1:
        return f"With {labels}, {over}, {best.name} has {means[best.name]} % {about}."
    second = methods[1]
    said = (
        f"With {labels}, {over}, {best.name} has the best {about}, "
        f"{means[best.name]} %, before {second.name} with {means[second.name]} %"
    )
    pairs = {(pair.one, pair.other): pair for pair in compared.pairs}
    pair = pairs.get((best.name, second.name))
    if pair is None:
        return f"{said}; they have no seed in common, so chance was not measured."
    won = f"{pair.paired.above} of {len(pair.paired.differences)} seeds"
    return f"{said}; it is better on {won}, {_chance(pair)}."


def text(compared: Compared, output: pathlib.Path) -> str:
    """The page."""
    methods, budget = compared.methods, compared.budget
    _, about = runs.METRICS[compared.metric]
    record = methods[0].runs[0].record
    data = record.config.get("data", {})
    source, target = (
        pathlib.Path(str(data.get(side, side))).stem for side in ("source", "target")
    )
    caption = (
        f"{about} (%) from {source} to {target}, by number of target labels: mean and "
        "standard deviation over seeds"
    )
    folders = [run.folder for method in methods for run in method.runs]
    command = ["python -m dact_jax.compare", *(shlex.quote(str(f)) for f in folders)]
    command += [f"--metric={compared.metric}", f"--output={shlex.quote(str(output))}"]
    return render(
        "compare.html",
        title=f"{len(methods)} methods from {source} to {target}",
        complete="yes",
        headline=sentence(compared),
        notes=[*_notes(compared), *budget.notes],
        curve=_chart(compared),
        curve_note=_CURVE,
        table=tables.table(methods, budget),
        pairs=_pairs(compared.pairs),
        pairs_note=_pairs_note(compared),
        markdown=tables.as_markdown(methods, budget),
        latex=tables.as_latex(methods, budget, caption),
        runs=_runs(compared),
        settings=_settings(methods),
        command=" ".join(command),
    )


_CURVE = (
    "Lines are means over seeds; a band is one standard deviation to either side. "
    "Methods without target labels are levels."
)


def _chance(pair: Pair) -> str:
    """Whether the difference may be chance."""
    points = f"by {pair.paired.mean:.1f} points on average"
    if pair.corrected is None:
        return f"{points}, too few to tell it from chance"
    verdict = "may be" if pair.corrected >= _USUAL else "is hardly"
    return f"{points}, which {verdict} chance (t test: p = {pair.corrected:.2g})"


def _notes(compared: Compared) -> Iterator[str]:
    seeds = [tuple(run.seed for run in method.runs) for method in compared.methods]
    if len(set(seeds)) > 1:
        yield (
            "The methods do not have the same seeds; differences are of the seeds that "
            "both of a pair have."
        )
    tested = {
        run.rounds[-1].get("test_images") for m in compared.methods for run in m.runs
    }
    if len(tested) > 1:
        yield (
            "The runs do not test on equally many images: where all of the target "
            "tests, images whose label was bought are left out."
        )


def _chart(compared: Compared) -> Chart | None:
    lines = []
    for method, of_method in zip(
        compared.methods,
        tables.summaries(compared.methods, compared.budget),
        strict=True,
    ):
        means = [one.mean for one in of_method]
        if all(map(comparable.is_level, method.runs)) and compared.budget.last:
            lines.append(Line(method.name, [], means[-1:], flat=True, dotted=True))
            continue
        spread = [one.std or 0.0 for one in of_method]
        low = [mean - std for mean, std in zip(means, spread, strict=True)]
        high = [mean + std for mean, std in zip(means, spread, strict=True)]
        x = compared.budget.labels
        lines.append(Line(method.name, x, means, low, high, band=True))
    return charts.draw(lines, x_label="target labels")


def _pairs(pairs: Sequence[Pair]) -> Table | None:
    if not pairs:
        return None
    body = [
        (
            f"{pair.one} minus {pair.other}",
            tables.shown(statistics.summary([*pair.paired.differences.values()])),
            ", ".join(f"{d:+.1f}" for d in pair.paired.differences.values()),
            f"{pair.paired.above} of {len(pair.paired.differences)}",
            _p(pair.paired.sign),
            _p(pair.paired.t),
            _p(pair.corrected),
        )
        for pair in pairs
    ]
    head = ("difference", "points", "by seed", "better on")
    return Table((*head, "p, sign test", "p, t test", "p, t test, Holm"), body)


def _pairs_note(compared: Compared) -> str:
    most = max((len(pair.paired.differences) for pair in compared.pairs), default=0)
    return (
        f"At {compared.budget.last} target labels, in points of %, seed by seed: runs "
        "with the same seed have the same test images and the same first labels. p is "
        "two-sided: how likely so large a difference is if the methods are equally "
        "good. The sign test counts seeds and assumes nothing else; with "
        f"{most} seed{'s' * (most != 1)} its p cannot be below "
        f"{statistics.least_sign(most):.2g}. The t test assumes normal differences, "
        "which so few seeds cannot show. Holm's correction allows for the number of "
        "pairs."
    )


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _runs(compared: Compared) -> Table:
    body = [
        (
            method.name,
            run.seed,
            max(run.accuracy),
            f"{comparable.at(run, compared.budget.last):.2f}",
            f"{sum(row['seconds'] for row in run.rounds):.0f}",
            str(run.folder),
        )
        for method in compared.methods
        for run in method.runs
    ]
    at = f"% at {compared.budget.last} labels"
    return Table(
        ("method", "seed", "target labels", at, "seconds of training", "folder"), body
    )


def _settings(methods: Sequence[Method]) -> Table | None:
    """The settings that differ, a column for each method."""
    fields = [field for field in runs.differing(methods) if field != "name"]
    if not fields or len(methods) == 1:
        return None
    body = [
        (field, *(_value(method.settings.get(field)) for method in methods))
        for field in fields[:_MOST_FIELDS]
    ]
    return Table(("field", *(method.name for method in methods)), body)


def _value(value: Any) -> str:
    return "-" if value in (None, "") else str(value)
