"""report.html of a run: gathered from its record, its data and its final network."""

import functools
import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from dact_jax import storage
from dact_jax.reports import asking, report
from dact_jax.reports.page import (
    charts,
    frequencies,
    glossary,
    headline,
    matrix,
    neighbors,
    picks,
    settings,
)
from dact_jax.reports.page.charts import Chart, Line
from dact_jax.reports.page.details import Details
from dact_jax.reports.page.neighbors import Neighbors
from dact_jax.reports.page.templates import render
from dact_jax.reports.record import Record
from dact_jax.reports.sections import content, ledger
from dact_jax.reports.sections.content import Section
from dact_jax.run_types import Run

FILE = "report.html"
_INTERVAL = (
    "A vertical bar is the 95 % interval (Wilson's) that the number of images leaves "
    "for an accuracy; it does not hold the spread over seeds."
)
_COMPLETE = 'data-complete="yes"'
_CURVE = "Accuracy against labels"


def write(
    record: Record, run: Run, details: Details | None = None, *, with_pictures: bool
) -> pathlib.Path:
    """Writes report.html into the folder of the record.

    Args:
      run: data and policy of the run.
      details: of its final network, once it is finished.
      with_pictures: whether the page shows images.
    """
    shown = _shown(record, run, details, with_pictures)
    path = record.folder / FILE
    contents = list(_contents(shown))
    script = "map.js" if details and details.scatter else ""
    draw = functools.partial(
        render, "report.html", script=script, contents=contents, **shown
    )
    text = draw(words=glossary.of(draw(words=()), record.folder))
    storage.write_atomic(path, text)
    return path


def is_complete(folder: pathlib.Path) -> bool:
    """Whether the page of a folder shows what its final network makes of the images.

    A run that is killed before its pictures are drawn leaves a page without it.
    """
    return _COMPLETE in storage.read_text(folder / FILE)[:200]


def _shown(
    record: Record, run: Run, details: Details | None, with_pictures: bool
) -> dict[str, Any]:
    """What the template shows."""
    others = neighbors.find(record.folder)
    rounds = picks.by_round(record, run, with_pictures=with_pictures)
    agreement = picks.agreement(rounds)
    costs = ledger.costs(record.rows, keep=record.keep)
    origins = asking.ledger(record.picks, record.answers)
    curve = _curve(record, others)
    once = (costs.heading, origins.heading if origins else "", "Picks")
    return {
        "title": record.title,
        "complete": "yes" if details else "no",
        "headline": headline.sentence(record, run),
        "notes": headline.notes(record, run, agreement, others),
        "tiles": headline.tiles(record, run, others),
        "curve": curve,
        "curve_heading": _CURVE if curve else "How often suggestions were right",
        "curve_note": _curve_note(others),
        "agreement": picks.agreement_chart(rounds),
        "costs": costs,
        "origins": origins,
        "labels": _labels(record),
        "picks": rounds,
        "picks_about": picks.about(record, run),
        "with_pictures": any(one.picture for each in rounds for one in each.shown),
        "details": details,
        "frequencies": details
        and frequencies.part(
            details.frequencies, details.distances, run.task.class_names
        ),
        "matrix": matrix.of(record.confusion),
        "sections": [s for s in report.sections(record) if s.heading not in once],
        "settings": settings.read(record.folder),
        "repeat": _repeat(record),
    }


def _contents(shown: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(anchor, heading) of the parts of a page."""
    if shown["curve"] or shown["agreement"]:
        yield "curve", shown["curve_heading"]
    if shown["picks"]:
        yield "picks", "What was picked"
    yield from _of_details(shown)
    yield "ledger", shown["costs"].heading
    for section in shown["sections"]:
        yield section.heading.lower().replace(" ", "_"), section.heading
    yield "settings", "Settings"
    if shown["repeat"]:
        yield "repeat", shown["repeat"].heading
    yield "words", "Words"


def _of_details(shown: dict[str, Any]) -> Iterator[tuple[str, str]]:
    details = shown["details"]
    if details and details.scatter:
        yield "map", "Embedding map"
    if details and details.tested:
        yield "mistakes", "Worst mistakes"
    if details and details.unsure:
        yield "unsure", "Least certain images"
    if shown["frequencies"]:
        yield "frequencies", "Class frequencies"
    if shown["matrix"]:
        yield "confusion", "Confusion matrix"


def _curve(record: Record, others: Neighbors) -> Chart | None:
    """Accuracies against labels, or against iterations where labels are the same."""
    rounds, rows = record.rounds, record.rows
    evaluations = [row for row in rows if row["event"] == "eval"]
    if len(rounds) == 1 and evaluations:
        counts = {name: rounds[-1].get(name) for name in ("test_images", "labels_val")}
        points = [*({**row, **counts} for row in evaluations), *rounds]
        return charts.draw(_accuracies(points, "step"), x_label="iterations")
    lines = [*_accuracies(rounds, "labels_target"), *neighbors.lines(others)]
    for name, published in record.published.items():
        x, y = zip(*((labels, 100 * share) for labels, share in published), strict=True)
        lines.append(Line(f"{name} (published)", x, y, dotted=True))
    pretrained = [row for row in rows if row["event"] == "pretrain"]
    if pretrained and pretrained[-1]["test_accuracy"] is not None:
        level = [100 * pretrained[-1]["test_accuracy"]]
        lines.append(Line("source only, before round 0", [], level, flat=True))
    return charts.draw(lines, x_label="target labels")


def _accuracies(rows: Sequence[Any], x: str) -> list[Line]:
    """Test and validation accuracy, with their intervals."""
    lines = []
    for name, field, images in (
        ("test", "test_accuracy", "test_images"),
        ("validation", "val_accuracy", "labels_val"),
    ):
        known = [row for row in rows if row[field] is not None]
        if known:
            shares = [row[field] for row in known]
            counts = [row.get(images) or 0 for row in known]
            place = [row[x] for row in known]
            lines.append(charts.with_intervals(name, place, shares, counts))
    return lines


def _labels(record: Record) -> Section | None:
    """Where the labels are, in sentences."""
    if not record.labels:
        return None
    return content.section("Where the labels are", " ".join(record.labels))


def _repeat(record: Record) -> Section | None:
    """The command of the run, or the one that goes on in its folder."""
    folder = shlex.quote(str(record.folder))
    other = f"python -m dact_jax.main --workdir={folder}"
    return report.repeat(record._replace(command=record.command or other))


def _curve_note(others: Neighbors) -> str:
    if not others.folders:
        return _INTERVAL
    return (
        f"{_INTERVAL} The other lines are of runs in the same parent folder, on the "
        f"same data with the same seed: {', '.join(others.folders)}."
    )
