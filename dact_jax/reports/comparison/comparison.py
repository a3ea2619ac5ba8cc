"""compare.html: what several methods come to over several seeds."""

import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dact_jax.reports.comparison import comparable, described, pairs, runs, tables
from dact_jax.reports.comparison.comparable import Budget
from dact_jax.reports.comparison.pairs import Pair
from dact_jax.reports.comparison.runs import Method
from dact_jax.reports.page import charts
from dact_jax.reports.page.charts import Chart, Line
from dact_jax.reports.page.templates import render
from dact_jax.reports.sections.content import Table

_MOST_FIELDS = 60  # settings that differ between methods, as far as they are shown


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
    ranked = pairs.ranked(methods, budget.last)
    return Compared(ranked, budget, metric, pairs.of(methods, budget.last))


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
    pair = pairs.find(compared.pairs, best.name, second.name)
    if pair is None:
        return f"{said}; they have no seed in common, so chance was not measured."
    return f"{said}: {pairs.verdict(pair)}."


def baselines(compared: Compared) -> list[str]:
    """Whether the best method beats random selection and the source alone."""
    return [*described.baselines(compared.methods, compared.pairs)]


def text(compared: Compared, output: pathlib.Path) -> str:
    """The page."""
    methods, budget = compared.methods, compared.budget
    _, about = runs.METRICS[compared.metric]
    source, target = described.domains(methods)
    caption = (
        f"{about} (%) from {source} to {target}, by number of target labels: mean and "
        "standard deviation over seeds; bold: better than the second method, hardly by "
        "chance (paired t test, Holm)"
    )
    folders = [run.folder for method in methods for run in method.runs]
    command = ["python -m dact_jax.compare", *(shlex.quote(str(f)) for f in folders)]
    command += [f"--metric={compared.metric}", f"--output={shlex.quote(str(output))}"]
    return render(
        "compare.html",
        title=f"{len(methods)} methods from {source} to {target}",
        complete="yes",
        headline=sentence(compared),
        notes=[
            described.data(methods, compared.metric),
            *baselines(compared),
            *_notes(compared),
            *budget.notes,
        ],
        methods=described.table(methods),
        plug_ins=described.plug_ins(methods),
        curve=_chart(compared),
        curve_note=_CURVE,
        table=tables.table(methods, budget),
        pairs=pairs.table(compared.pairs),
        pairs_note=pairs.note(compared.pairs, budget.last),
        markdown=tables.as_markdown(methods, budget),
        latex=tables.as_latex(
            methods,
            budget,
            caption,
            bold=[pairs.winner(methods, labels) for labels in budget.labels],
        ),
        runs=_runs(compared),
        settings=_settings(methods),
        command=" ".join(command),
        again=described.again(methods),
    )


_CURVE = (
    "Lines are means over seeds; a band is one standard deviation to either side. "
    "Methods without target labels are levels."
)


def _notes(compared: Compared) -> Iterator[str]:
    yield from described.seeds(compared.methods)
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
        if tables.is_level(method, compared.budget):
            lines.append(Line(method.name, [], means[-1:], flat=True, dotted=True))
            continue
        spread = [one.std or 0.0 for one in of_method]
        low = [mean - std for mean, std in zip(means, spread, strict=True)]
        high = [mean + std for mean, std in zip(means, spread, strict=True)]
        x = compared.budget.labels
        lines.append(Line(method.name, x, means, low, high, band=True))
    return charts.draw(lines, x_label="target labels")


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
