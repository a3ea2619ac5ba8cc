"""What a person hears of the labels that they give: what to do next, and the ledger."""

import collections
import pathlib
import shlex
import statistics
from collections.abc import Collection, Mapping, Sequence

from dact_jax import errors
from dact_jax.queries import query
from dact_jax.queries.query import Query
from dact_jax.reports.sections import content
from dact_jax.reports.sections.content import Section, Table
from dact_jax.rounds import answers
from dact_jax.rounds.answers import Answer
from dact_jax.rounds.workdir import Pick
from dact_jax.types import Row

_ORIGINS = {answers.PAGE: "the labeling page", answers.PYTHON: "a Python program"}
_SHOWN = 3  # images that are named


def next_step(wanted: Query, missing: Sequence[str], folder: pathlib.Path) -> str:
    """What a person does next: one sentence, which ends with commands.

    Args:
      missing: ids of the images that have no label yet.
      folder: of the run.
    """
    place, total = query.place(folder, wanted.round), len(wanted.items)
    page = f"python -m dact_jax.label --workdir={shlex.quote(str(folder))}"
    how = (
        f"answer in the browser ({page}) or fill in {place / 'labels.csv'}, then run "
        "this command again"
    )
    if len(missing) == total:
        images = "1 image waits for its label" if total == 1 else f"{total} images wait"
        images += "" if total == 1 else " for their labels"
        return f"Round {wanted.round}: {images} in {place}; {how}."
    some = ", ".join(map(errors.printable, missing[:_SHOWN]))
    more = ", ..." if len(missing) > _SHOWN else ""
    verb = "is" if len(missing) == 1 else "are"
    return (
        f"Round {wanted.round}: {len(missing)} of {total} labels in {place} {verb} "
        f"still missing ({some}{more}); {how}, or add --accept_partial to go on "
        "without them."
    )


def corrections(row: Row) -> str:
    """One line on labels that were corrected.

    Args:
      row: of metrics.jsonl, with the event "correct".
    """
    labels = row["labels"]
    shown = ", ".join(
        f"{errors.printable(id)}: {errors.printable(label) or 'skipped'}"
        for id, label in [*labels.items()][:_SHOWN]
    )
    more = ", ..." if len(labels) > _SHOWN else ""
    verb = "answer was" if len(labels) == 1 else "answers were"
    return (
        f"{len(labels)} {verb} corrected ({shown}{more}); counts from round "
        f"{row['round']} on"
    )


def ledger(picks: Sequence[Pick], given: Sequence[Answer]) -> Section | None:
    """The section on where the labels came from; None if no person gave any.

    Args:
      picks: of picks.csv.
      given: of labels.csv, all lines.
    """
    latest = answers.latest(given)
    if not latest:
        return None
    bought = _bought(picks)
    used = _used(bought, latest)
    counts = ways(picks, given)
    from_data = len(bought.keys() - latest.keys())
    table = [*counts.items(), *([("the data", from_data)] if from_data else [])]
    skipped = sum(answer.skip for answer in latest.values())
    corrected = _corrected(given)
    unused = sum(id not in bought and not one.skip for id, one in latest.items())
    sentences = [
        _suggestions(used.values()),
        _time(used.values()),
        f"Images skipped: {skipped}. Answers corrected: {corrected}.",
        f"Answers not used so far: {unused}." if unused else "",
        f"{answers.FILE} lists every answer.",
    ]
    return content.section(
        "Where the labels came from",
        Table(("from", "target labels"), table) if table else "",
        " ".join(filter(None, sentences)),
    )


def ways(picks: Sequence[Pick], given: Sequence[Answer]) -> dict[str, int]:
    """How many of the bought labels a person gave through what, such as "files"."""
    used = _used(_bought(picks), answers.latest(given))
    return collections.Counter(map(_origin, used.values()))


def _bought(picks: Sequence[Pick]) -> dict[str, None]:
    return dict.fromkeys(pick.id for pick in picks if pick.side == "target")


def _used(bought: Collection[str], latest: Mapping[str, Answer]) -> dict[str, Answer]:
    """The answers that are labels of bought images."""
    return {id: latest[id] for id in bought if id in latest and not latest[id].skip}


def _origin(answer: Answer) -> str:
    return _ORIGINS.get(answer.origin, "files")


def _corrected(given: Sequence[Answer]) -> int:
    """Number of images whose answer was changed."""
    said: dict[str, set[tuple[str, bool]]] = collections.defaultdict(set)
    for answer in given:
        said[answer.id].add((answer.label, answer.skip))
    return sum(len(labels) > 1 for labels in said.values())


def _suggestions(used: Collection[Answer]) -> str:
    made = [answer for answer in used if answer.suggested]
    accepted = sum(answer.label == answer.suggested for answer in made)
    share = f" ({100 * accepted / len(made):.0f} %)" if made else ""
    return (
        f"Labels that a person gave: {len(used)}, {len(made)} of them for an image "
        f"with a suggestion. Suggestions accepted: {accepted} of {len(made)}{share}."
    )


def _time(used: Collection[Answer]) -> str:
    seconds = [answer.seconds for answer in used if answer.seconds is not None]
    if not seconds:
        return ""
    return (
        f"Time of a label on the page: {statistics.median(seconds):.1f} s (median of "
        f"{len(seconds)})."
    )
