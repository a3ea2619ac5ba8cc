"""The target images that were picked, round by round, with what became of each."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dact_jax import plugins
from dact_jax.queries.query import Item, Query
from dact_jax.reports.page import charts, pictures
from dact_jax.reports.page.charts import Chart
from dact_jax.reports.page.pictures import Picture
from dact_jax.reports.record import Record
from dact_jax.rounds import answers
from dact_jax.rounds.workdir import Pick
from dact_jax.run_types import Run

_SHOWN = 240  # picks of all rounds together
_MOST_BYTES = 1_300_000  # of their thumbnails
_BOUGHT = (
    "The images of the target whose labels were bought, in the order of picking, with "
    "the label that the data set gave."
)
_GIVEN = (
    "The images of the target that a person was asked about, in the order of picking, "
    "with the label that was given. Below it is what the network of that time "
    "suggested, whether it was right, and how sure it was."
)


class Shown(NamedTuple):
    """One picked image."""

    id: str
    order: int
    score: float | None  # None where nothing was ranked
    label: str  # "" if it was skipped, or its label is not known
    skipped: bool
    suggested: str  # "" without a suggestion
    confidence: float | None
    right: bool | None  # whether the suggestion was the label; None without one
    picture: Picture | None


class OfRound(NamedTuple):
    round: int
    acquisition: str
    total: int  # picks
    suggested: int  # of them that had a suggestion and have a label
    right: int  # of those, suggestions that were the label
    shown: Sequence[Shown]


class Agreement(NamedTuple):
    """How often suggestions were right."""

    right: int
    total: int


def by_round(record: Record, run: Run, *, with_pictures: bool) -> list[OfRound]:
    """The picks of the target, each round's in the order of picking."""
    picked = [pick for pick in record.picks if pick.side == "target"]
    groups = [
        (number, list(group))
        for number, group in itertools.groupby(picked, lambda pick: pick.round)
    ]
    if not groups:
        return []
    describe = _describer(record, run)
    most = max(1, _SHOWN // len(groups))
    first = [group[:most] for _, group in groups]
    images = iter(_pictures(run, first) if with_pictures else [])
    rounds = []
    for (number, group), few in zip(groups, first, strict=True):
        everything = [describe(pick) for pick in group]
        known = [one.right for one in everything if one.right is not None]
        shown = [
            one._replace(picture=next(images, None)) for one in everything[: len(few)]
        ]
        names = dict.fromkeys(pick.acquisition for pick in group)
        rounds.append(
            OfRound(
                round=number,
                acquisition=" and ".join(names),
                total=len(group),
                suggested=len(known),
                right=sum(known),
                shown=shown,
            )
        )
    return rounds


def about(record: Record, run: Run) -> list[str]:
    """What is shown, how each acquisition chooses, and what its scores are."""
    found = [_BOUGHT if run.person is None else _GIVEN]
    for name in _acquisitions(record):
        text = f"How {name} chooses: {plugins.about('acquisitions', name)}"
        if score := plugins.score(name):
            text += f" A score is {score}."
        else:
            text += " It does not pick in the order of a score, so none is shown."
        found.append(text)
    return found


def _acquisitions(record: Record) -> list[str]:
    """Those that picked images of the target, as far as they are there now."""
    names = dict.fromkeys(p.acquisition for p in record.picks if p.side == "target")
    known = plugins.names("acquisitions")
    return [name for name in names if name in known]


def agreement(rounds: Sequence[OfRound]) -> Agreement:
    """Over all rounds."""
    return Agreement(
        sum(one.right for one in rounds), sum(one.suggested for one in rounds)
    )


def agreement_chart(rounds: Sequence[OfRound]) -> Chart | None:
    """The share of right suggestions by round; None without two rounds of them."""
    known = [one for one in rounds if one.suggested]
    if len(known) < 2:
        return None
    line = charts.with_intervals(
        "suggestions that were right",
        [one.round for one in known],
        [one.right / one.suggested for one in known],
        [one.suggested for one in known],
    )
    return charts.draw(
        [line._replace(joined=False)],
        x_label="suggestions for round",
        y_label="right (%)",
    )


def _describer(record: Record, run: Run) -> Callable[[Pick], Shown]:
    target, names = run.task.target, run.task.class_names
    row = {name: number for number, name in enumerate(target.id.tolist())}
    given = answers.latest(record.answers)
    items = _items(record.queries)
    ranked = {name for name in _acquisitions(record) if plugins.score(name)}

    def label_of(id: str) -> str:
        if id in given:
            return given[id].label
        known = int(target.train.label[row[id]]) if id in row else -1
        return names[known] if known >= 0 else ""

    def describe(pick: Pick) -> Shown:
        item, answer = items.get(pick.id), given.get(pick.id)
        suggested = item.suggested if item else answer.suggested if answer else ""
        label = label_of(pick.id)
        is_ranked = pick.acquisition in ranked and math.isfinite(pick.score)
        return Shown(
            id=pick.id,
            order=pick.order,
            score=pick.score if is_ranked else None,
            label=label,
            skipped=answer is not None and answer.skip,
            suggested=suggested,
            confidence=item.confidence if item else None,
            right=suggested == label if suggested and label else None,
            picture=None,
        )

    return describe


def _items(queries: Sequence[Query]) -> Mapping[str, Item]:
    """What was asked of each image; the last question counts."""
    return {item.id: item for asked in queries for item in asked.items}


def _pictures(run: Run, groups: Sequence[Sequence[Pick]]) -> list[Picture | None]:
    target = run.task.target
    pool = pictures.source(target.train.image, target.files)
    if pool is None:
        return []
    row = {name: number for number, name in enumerate(target.id.tolist())}
    rows = [row[pick.id] for group in groups for pick in group]
    return pictures.thumbnails(pool, rows, most_bytes=_MOST_BYTES)
