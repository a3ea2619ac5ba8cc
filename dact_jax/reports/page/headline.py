"""What a run has achieved, for how many labels: the first sentences of its page."""

from collections.abc import Sequence

from dact_jax.reports import asking, intervals
from dact_jax.reports.page.neighbors import Neighbors
from dact_jax.reports.page.picks import Agreement
from dact_jax.reports.record import Record
from dact_jax.rounds import answers
from dact_jax.run_types import Run
from dact_jax.types import Row

_COUNTS = 8  # numbers of labels that are listed
_ADVICE = (
    "To know the accuracy, draw some images of the target at random and give their "
    "labels with the data, as a test set: data.test_fraction says how many of the "
    "labeled images test (docs/configs.md, Where each label goes)."
)


def sentence(record: Record, run: Run) -> str:
    """One sentence."""
    last = record.rounds[-1]
    labels = _labels(record, run, last)
    target, source = run.task.target.name, run.task.source.name
    if last["test_accuracy"] is not None:
        images = _images(last.get("test_images"), "test image")
        right = _percent(last["test_accuracy"])
        return (
            f"With {labels}, a classifier trained on {source} and adapted to {target} "
            f"is right on {right} of {images} of {target}{_before(record)}."
        )
    if last["val_accuracy"] is not None:
        images = _images(last["labels_val"], "validation image")
        right = _percent(last["val_accuracy"])
        return (
            f"With {labels}, a classifier trained on {source} and adapted to {target} "
            f"is right on {right} of {images} of {target}; there are no labeled test "
            "images."
        )
    adapted = f"With {labels}, a classifier trained on {source} was adapted to {target}"
    unknown = "no labeled test image says how accurate it is"
    return f"{adapted}; {unknown}."


def notes(
    record: Record, run: Run, agreement: Agreement, others: Neighbors
) -> list[str]:
    """What a reader must know with it, such as that the run is not finished."""
    total, done = run.policy.num_rounds, len(record.rounds)
    found = []
    if waiting := missing(record):
        images = "1 image" if waiting == 1 else f"{waiting} images"
        found.append(
            f"The run is not finished: round {done} waits for the labels of {images}."
        )
    elif done < total:
        found.append(f"The run is not finished: {done} of {total} rounds are done.")
    last = record.rounds[-1]
    if last["test_accuracy"] is None and agreement.total:
        found.append(_suggestions(record, agreement))
    if last["test_accuracy"] is None:
        found.append(_ADVICE)
    if last["test_accuracy"] is not None and (count := last.get("test_images")):
        low, high = intervals.wilson(last["test_accuracy"], count)
        found.append(
            f"By the number of test images alone, the accuracy lies between "
            f"{100 * low:.1f} and {100 * high:.1f} % (95 % interval, Wilson's); runs "
            "with other seeds differ besides."
        )
    if beside := _beside(record, others):
        found.insert(0, beside)
    return [_course(record), *found]


def _suggestions(record: Record, agreement: Agreement) -> str:
    """How often suggestions were right, and why that is not how accurate the run is."""
    share = agreement.right / agreement.total
    low, high = intervals.wilson(share, agreement.total)
    labeled = sum(asking.ways(record.picks, record.answers).values())
    return (
        f"A class was suggested for {agreement.total} of the {labeled} images that a "
        f"person labeled; {agreement.right} of these suggestions were right "
        f"({100 * share:.0f} %; 95 % interval, Wilson's: {100 * low:.0f} to "
        f"{100 * high:.0f} %). This is no accuracy: the images that were asked about "
        "are not typical ones, and each was judged by the network of its round."
    )


def missing(record: Record) -> int:
    """How many images of the newest query have no answer yet."""
    if not record.queries or record.queries[-1].round < len(record.rounds):
        return 0
    given = answers.latest(record.answers)
    return sum(item.id not in given for item in record.queries[-1].items)


def tiles(record: Record, run: Run, neighbors: Neighbors) -> list[tuple[str, str]]:
    """(quantity, value) of the few numbers that matter most."""
    last = record.rounds[-1]
    found = []
    if last["test_accuracy"] is not None:
        found.append(("test accuracy", _percent(last["test_accuracy"])))
    if last["val_accuracy"] is not None:
        found.append(("validation accuracy", _percent(last["val_accuracy"])))
    if neighbors.random:
        twin = _percent(neighbors.random[-1]["test_accuracy"])
        found.append(("bought at random", twin))
    alone = _alone(record, neighbors)
    if alone is not None:
        found.append(("source only", _percent(alone)))
    found.append(("target labels", f"{last['labels_target']}"))
    if last["labels_val"]:
        found.append(("labels for validation", f"{last['labels_val']}"))
    pool = len(run.task.target.train.label)
    found += [
        ("target images in the pool", f"{pool}"),
        ("classes", f"{len(run.task.class_names)}"),
        ("rounds", f"{len(record.rounds)} of {run.policy.num_rounds}"),
    ]
    return found


def _course(record: Record) -> str:
    """How the labels came about: by round, and chosen by what."""
    counts = [row["labels_target"] for row in record.rounds]
    shown = (
        [*counts[:_COUNTS], "...", counts[-1]] if len(counts) > _COUNTS + 1 else counts
    )
    by = dict.fromkeys(
        pick.acquisition
        for pick in record.picks
        if pick.side == "target" and pick.acquisition != "initial"
    )
    text = f"Target labels that it was trained on, round by round: {_listed(shown)}."
    if by:
        first = any(pick.acquisition == "initial" for pick in record.picks)
        text += f" The images to label were chosen by {' and '.join(by)}"
        text += ", except for the first." if first else "."
    return text


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _beside(record: Record, others: Neighbors) -> str:
    """What the source alone and random labels reach, where that is known."""
    last, alone = record.rounds[-1], _alone(record, others)
    if last["test_accuracy"] is None:
        return ""
    parts = []
    if alone is not None:
        parts.append(f"the source alone reaches {_percent(alone)}")
    twin = {row["labels_target"]: row["test_accuracy"] for row in others.random or ()}
    if (random := twin.get(last["labels_target"])) is not None:
        gain = 100 * (last["test_accuracy"] - random)
        parts.append(
            f"as many labels bought at random reach {_percent(random)} "
            f"({gain:+.1f} points for this run)"
        )
    text = " and ".join(parts)
    return f"On the same test images, {text}." if text else ""


def _alone(record: Record, neighbors: Neighbors) -> float | None:
    """Test accuracy without any target label, in [0, 1], where it was measured."""
    stages = [row for row in record.rows if row["event"] == "pretrain"]
    rows: Sequence[Row] = neighbors.source_only or stages or ()
    return rows[-1]["test_accuracy"] if rows else None


def _labels(record: Record, run: Run, last: Row) -> str:
    count = last["labels_target"]
    text = "no target label" if not count else f"{count} target labels"
    if count == 1:
        text = "1 target label"
    if record.answers:
        text += f" that a person gave{_ways(record, count)}"
    elif count and run.person is None:
        text += " bought"
    if last["labels_val"]:
        text += f" (and {last['labels_val']} more for validation)"
    return text


def _ways(record: Record, labels: int) -> str:
    """Through what; with how many each, if answers are all that was trained on."""
    counts = asking.ways(record.picks, record.answers)
    if not counts:
        return ""
    if len(counts) > 1 and sum(counts.values()) == labels:
        return f" ({', '.join(f'{way}: {count}' for way, count in counts.items())})"
    return f" ({', '.join(counts)})"


def _before(record: Record) -> str:
    first, last = record.rounds[0], record.rounds[-1]
    if first is last or first["test_accuracy"] is None:
        return ""
    gained = last["test_accuracy"] - first["test_accuracy"]
    word = "up from" if gained > 0 else "down from" if gained < 0 else "as it was:"
    count = first["labels_target"]
    return (
        f", {word} {_percent(first['test_accuracy'])} with the first "
        f"{'label' if count == 1 else f'{count} labels'}"
        if count
        else f", {word} {_percent(first['test_accuracy'])} without target labels"
    )


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.1f} %"


def _images(count: int | None, noun: str) -> str:
    if count is None:
        return f"the {noun}s"
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
