"""Report sections: what a run cost, what it decided, which files it did not use."""

from collections.abc import Iterable, Sequence

from dact_jax import errors
from dact_jax.data import left_out
from dact_jax.reports.sections import content
from dact_jax.reports.sections.content import Section, Table
from dact_jax.types import Row

_TEST = (
    "The labels of the test images, in their role as test labels, only measure the "
    "accuracy."
)
_BRANCHES = {
    "source": "add the source samples to U",
    "target": "buy target labels",
    "spent": "buy target labels, but the label budget is spent",
}


def costs(rows: Sequence[Row], *, keep: str = "last") -> Section:
    """The section on labels and computing time.

    Args:
      rows: rows of metrics.jsonl with at least one finished round; older runs have no
        "select" rows and no `source_pool`.
      keep: network of a round that training continues from, "last" or "best_val".
    """
    rounds = _of(rows, "round")
    last = rounds[-1]
    bought = max(row.get("labels_target", 0) for row in rows)
    lines = [
        ("target labels for training, bought or given", bought),
        ("target labels for validation", last["labels_val"]),
        ("target labels in total", bought + last["labels_val"]),
        ("source samples trained on, last round", _trained_on(last)),
        ("source labels read, to score or to train", _source_labels(rows)),
    ]
    if "test_images" in last:
        lines.append(("target test images with a label", last["test_images"]))
    # Older runs, which have no source_pool, did not record the time of queries either.
    seconds = {"training time (s)": _training_seconds(rows)}
    if "source_pool" in last:
        queries = _of(rows, "select")
        seconds["scoring time (s)"] = _sum(queries, "seconds_scoring")
        seconds["selection time (s)"] = _sum(queries, "seconds_selecting")
    lines += [(name, f"{value:.1f}") for name, value in seconds.items()]
    test = _TEST if last.get("test_images", 1) else ""
    return content.section(
        "Labels and computing time",
        Table(("quantity", "value"), lines, bold=2),
        " ".join(filter(None, (_validation(rows, keep), test))),
        _unused_labels(rows),
        _times(rows),
    )


def decisions(rows: Sequence[Row]) -> Section | None:
    """The section on the decisions of Algorithm 2, or None if there were none.

    Args:
      rows: rows of metrics.jsonl.
    """
    decided, union = [], "-"
    for row in _of(rows, "select"):
        union = row.get("union", union)
        if "accuracy_source" in row:
            decided.append((row, union))
    if not decided:
        return None
    counts = ("|U|", "N", "|T_l|")
    head = ("iteration", "before round", *counts, "acc_s %", "acc_t %", "decision")
    body = [
        (
            row.get("iteration", count),
            row["round"],
            union,
            row.get("source_samples", "-"),
            row.get("labels_target", "-"),
            content.percent(row["accuracy_source"]),
            content.percent(row.get("accuracy_target")),
            _BRANCHES.get(row.get("branch", ""), row.get("branch", "-")),
        )
        for count, (row, union) in enumerate(decided, start=1)
    ]
    return content.section(
        "Decisions of Algorithm 2",
        Table(head, body),
        "The loss predictor was trained on U; N are the source samples chosen so far, "
        "T_l the target labels bought before the decision. acc_s and acc_t are the "
        "validation accuracies of two copies of the loss predictor, one trained "
        "further on N and one on T_l. Only acc_s > acc_t favors the source.",
    )


def unused_files(rows: Sequence[left_out.Row]) -> Section | None:
    """The section on files of the data that were left out; None if there are none."""
    if not rows:
        return None
    body = [[errors.printable(cell) for cell in row] for row in rows[: left_out.SHOWN]]
    first = f" The first {left_out.SHOWN}:" if len(rows) > left_out.SHOWN else ""
    return content.section(
        "Files left out",
        f"Of the data, {left_out.count(rows)} did not take part; {left_out.FILE} lists "
        f"all.{first}",
        Table(("domain", "file or folder", "reason"), body),
    )


def _trained_on(last: Row) -> str:
    pool = last.get("source_pool")
    return f"{last['source_samples']}" + ("" if pool is None else f" of {pool}")


def _source_labels(rows: Sequence[Row]) -> int:
    """Number of source samples whose label was read for any purpose."""
    trained = [row["source_samples"] for row in _of(rows, "round")]
    return max(*trained, _scored(rows), _pretrained_on(rows))


def _scored(rows: Sequence[Row]) -> int:
    """Number of source samples whose label a policy read."""
    queries = _of(rows, "select")
    return max((row.get("source_labels_read", 0) for row in queries), default=0)


def _pretrained_on(rows: Sequence[Row]) -> int:
    """Number of source samples in pre-training: the whole pool, or 0 without it."""
    sizes = ("source_pool", "source_samples")
    stages = _of(rows, "pretrain")
    return max((row.get(size, 0) for row in stages for size in sizes), default=0)


def _validation(rows: Sequence[Row], keep: str) -> str:
    if not _of(rows, "round")[-1]["labels_val"]:
        return ""
    uses = []
    if any("accuracy_source" in row for row in _of(rows, "select")):
        uses.append("decide between source and target in Algorithm 2 (acc_s > acc_t)")
    if keep == "best_val":
        uses.append("choose the network that each round keeps")
    if not uses:
        return (
            "The validation labels decide nothing: the validation accuracy is only "
            "reported."
        )
    return (
        f"The validation labels {' and '.join(uses)}: they are part of the label "
        "budget."
    )


def _unused_labels(rows: Sequence[Row]) -> str:
    """Why labels were read of samples that the last round does not train on."""
    trained = _of(rows, "round")[-1]["source_samples"]
    sentences = []
    if _scored(rows) > trained:
        sentences.append(
            "To rank source samples by a loss (or within each class), D_AcT read the "
            "labels of samples that it did not choose, as in the paper: the classifier "
            "trains on fewer source samples, but no source label is saved, and "
            "choosing takes additional time."
        )
    if _pretrained_on(rows) > trained:
        sentences.append(
            "Pre-training read the label of every source sample, whichever samples "
            "were chosen later."
        )
    return " ".join(sentences)


def _times(rows: Sequence[Row]) -> str:
    parts = [
        f"{_sum(_of(rows, event), field):.1f} s {purpose}"
        for event, field, purpose in (
            ("pretrain", "seconds", "before round 0, on the source alone"),
            ("round", "seconds", "in the rounds, including evaluations"),
            ("select", "seconds_training", "for networks that serve selection only"),
        )
        if _of(rows, event) and (event == "round" or _sum(_of(rows, event), field))
    ]
    text = f"Training time: {'; '.join(parts)}."
    if not _of(rows, "select"):
        return text
    return (
        f"{text} Scoring time is that of sweeps (one forward pass over a pool, or over "
        "the validation images for a decision). Selection time is the rest of each "
        "query."
    )


def _training_seconds(rows: Sequence[Row]) -> float:
    return _sum(_of(rows, "select"), "seconds_training") + _sum(
        _of(rows, "round", "pretrain"), "seconds"
    )


def _sum(rows: Iterable[Row], field: str) -> float:
    return sum(row.get(field, 0.0) for row in rows)


def _of(rows: Sequence[Row], *events: str) -> list[Row]:
    return [row for row in rows if row["event"] in events]
