"""What a run cost, and what it decided: labels bought and read, work done."""

from collections.abc import Iterable, Sequence

from dact_jax.reports import markdown
from dact_jax.types import Row

_WORK = ("training", "scoring", "selecting")
_TEST = "Labels of the test images, as such, measure the accuracy and no more."
_BRANCHES = {
    "source": "the source samples join U",
    "target": "buy target labels",
    "spent": "buy target labels, but none is left to buy",
}


def costs(rows: Sequence[Row], *, keep: str = "last") -> str:
    """The section on labels and work.

    Args:
      rows: of metrics.jsonl, with one or more finished rounds; "select" rows and
        `source_pool` are not in those of older runs.
      keep: what says which network of a round goes on, "last" or "best_val".
    """
    rounds = _of(rows, "round")
    last = rounds[-1]
    bought = max(row.get("labels_target", 0) for row in rows)
    lines = [
        ("target labels bought or given, to train on", bought),
        ("target labels for validation", last["labels_val"]),
        ("**target labels in all**", bought + last["labels_val"]),
        ("source samples trained on, last round", _trained_on(last)),
        ("source labels read, to score or to train", _source_labels(rows)),
    ]
    if "test_images" in last:
        lines.append(("labelled target images that test", last["test_images"]))
    # Runs from before there was a source_pool did not tell the work of selection apart.
    work = _WORK if "source_pool" in last else _WORK[:1]
    lines += [(f"seconds of {name}", f"{_seconds(rows, name):.1f}") for name in work]
    parts = [
        "## Labels and work",
        markdown.table(("what", "number"), lines),
        " ".join(filter(None, (_validation(rows, keep), _TEST))),
        _reading(rows),
        _work(rows),
    ]
    return "\n\n".join(part for part in parts if part)


def decisions(rows: Sequence[Row]) -> str:
    """The section on Algorithm 2's decisions; empty where it took none.

    Args:
      rows: of metrics.jsonl.
    """
    chosen, union = [], "-"
    for row in _of(rows, "select"):
        union = row.get("union", union)
        if "accuracy_source" in row:
            chosen.append((row, union))
    if not chosen:
        return ""
    counts = ("|U|", "N", "|T_l|")
    head = ("iteration", "before round", *counts, "acc_s %", "acc_t %", "so")
    body = [
        (
            row.get("iteration", count),
            row["round"],
            union,
            row.get("source_samples", "-"),
            row.get("labels_target", "-"),
            markdown.percent(row["accuracy_source"]),
            markdown.percent(row.get("accuracy_target")),
            _BRANCHES.get(row.get("branch", ""), row.get("branch", "-")),
        )
        for count, (row, union) in enumerate(chosen, start=1)
    ]
    return (
        f"## Decisions of Algorithm 2\n\n{markdown.table(head, body)}\n\n"
        "U is what the scoring network was trained on, N the source samples chosen by "
        "then, T_l the target labels bought before this decision. acc_s and acc_t are "
        "the validation accuracies of copies of the scoring network, one trained on N "
        "next and one on T_l; only acc_s > acc_t favours the source."
    )


def _trained_on(last: Row) -> str:
    pool = last.get("source_pool")
    return f"{last['source_samples']}" + ("" if pool is None else f" of {pool}")


def _source_labels(rows: Sequence[Row]) -> int:
    """Source samples whose label was looked at, for whatever purpose."""
    trained = [row["source_samples"] for row in _of(rows, "round")]
    return max(*trained, _scored(rows), _pretrained_on(rows))


def _scored(rows: Sequence[Row]) -> int:
    """Source samples whose label a policy looked at."""
    found = _of(rows, "select")
    return max((row.get("source_labels_read", 0) for row in found), default=0)


def _pretrained_on(rows: Sequence[Row]) -> int:
    """Source samples that pre-training had: all of them; 0 where there was none."""
    sizes = ("source_pool", "source_samples")
    found = _of(rows, "pretrain")
    return max((row.get(size, 0) for row in found for size in sizes), default=0)


def _validation(rows: Sequence[Row], keep: str) -> str:
    if not _of(rows, "round")[-1]["labels_val"]:
        return ""
    uses = []
    if any("accuracy_source" in row for row in _of(rows, "select")):
        uses.append("decide between source and target in Algorithm 2 (acc_s > acc_t)")
    if keep == "best_val":
        uses.append("choose the network of a round that goes on")
    if not uses:
        return "The validation labels decide nothing: their accuracy is only reported."
    return f"The validation labels {' and '.join(uses)}: they are part of the budget."


def _reading(rows: Sequence[Row]) -> str:
    """Whose labels were read though nothing trains on them in the last round."""
    trained = _of(rows, "round")[-1]["source_samples"]
    sentences = []
    if _scored(rows) > trained:
        sentences.append(
            "To rank the source by a loss (or class by class), D_AcT looked at labels "
            "of samples that it then left out, as it does where it was published: it "
            "trains the classifier on fewer source samples, but saves none of their "
            "labels, and choosing takes time of its own."
        )
    if _pretrained_on(rows) > trained:
        sentences.append(
            "Pre-training read the label of every source sample, whatever was chosen "
            "afterwards."
        )
    return " ".join(sentences)


def _work(rows: Sequence[Row]) -> str:
    parts = [
        f"{_sum(_of(rows, event), field):.1f} s {where}"
        for event, field, where in (
            ("pretrain", "seconds", "before round 0, on the source alone"),
            ("round", "seconds", "in the rounds, with the evaluations in it"),
            ("select", "seconds_training", "on networks that only select"),
        )
        if _of(rows, event) and (event == "round" or _sum(_of(rows, event), field))
    ]
    text = f"Training: {'; '.join(parts)}."
    if not _of(rows, "select"):
        return text
    return (
        f"{text} Scoring is a network's sweep over a pool, or "
        "over the validation images for a choice; selecting is the rest of a choice."
    )


def _seconds(rows: Sequence[Row], name: str) -> float:
    spent = _sum(_of(rows, "select"), f"seconds_{name}")
    return spent + (
        _sum(_of(rows, "round", "pretrain"), "seconds") if name == "training" else 0.0
    )


def _sum(rows: Iterable[Row], field: str) -> float:
    return sum(row.get(field, 0.0) for row in rows)


def _of(rows: Sequence[Row], *events: str) -> list[Row]:
    return [row for row in rows if row["event"] in events]
