"""What a person is told: the next step, and where the labels came from."""

import pathlib

from dact_jax.queries.query import Item, Query
from dact_jax.reports import asking, markdown
from dact_jax.rounds.answers import PAGE, PYTHON, Answer
from dact_jax.rounds.workdir import Pick

ITEMS = tuple(Item(f"t/{i}.png", f"{i}.png", "", "", None, None, "") for i in range(5))
QUERY = Query("0a1b2c3d", 3, ("cat", "dog"), ITEMS)


def said(missing, total=5):
    asked = QUERY._replace(items=ITEMS[:total])
    ids = [item.id for item in ITEMS[:missing]]
    return asking.next_step(asked, ids, pathlib.Path("my runs/a"))


def test_the_next_step_is_one_sentence_with_commands():
    assert said(5) == (
        "Round 3: 5 images wait for their labels in my runs/a/queries/round_03; answer "
        "in the browser (python -m dact_jax.label --workdir='my runs/a') or fill in my "
        "runs/a/queries/round_03/labels.csv, then run this command again."
    )
    assert said(1, 1).startswith("Round 3: 1 image waits for its label in ")
    assert "4 of 5 labels in my runs/a/queries/round_03 are still missing" in said(4)
    assert "(t/0.png, t/1.png, t/2.png, ...); " in said(4)
    assert "1 of 5 labels in my runs/a/queries/round_03 is still missing" in said(1)
    assert said(1).endswith("or add --accept_partial to go on without them.")


def test_corrections_are_one_line():
    row = {"event": "correct", "round": 4, "labels": {"a": "dog", "b": ""}}
    assert asking.corrections(row) == (
        "2 answers were corrected (a: dog, b: skipped); counts from round 4 on"
    )


def pick(number):
    return Pick(0, number, "target", f"t/{number}.png", 0.0, "initial", "")


def answer(number, label, origin, suggested="", seconds=None):
    skip = not label
    return Answer(f"t/{number}.png", label, skip, "", origin, suggested, seconds)


def test_the_ledger_counts_labels_by_where_they_came_from():
    given = [
        answer(0, "cat", PAGE, "cat", 2.0),
        answer(1, "cat", PAGE, "dog", 9.0),
        answer(2, "dog", "queries/round_00/labels.csv", "dog"),
        answer(3, "", PAGE, "dog", 1.0),
        answer(4, "cat", PYTHON),
        answer(0, "dog", PAGE, "cat", 4.0),  # corrected
        answer(8, "dog", PYTHON, "dog"),  # for an image that nobody asked for
    ]
    picks = [pick(number) for number in (0, 1, 2, 4, 5)]
    section = asking.ledger([*picks, pick(6)._replace(side="source")], given)
    text = markdown.section(section)
    assert text.startswith("## Where the labels came from\n\n| from | target labels |")
    assert "| the labeling page | 2 |\n| files | 1 |\n| a Python program | 1 |" in text
    assert "| the data | 1 |" in text
    assert "gave: 4, 3 of them for an image with a suggestion. Suggestions " in text
    assert "Suggestions accepted: 1 of 3 (33 %)." in text
    assert "Time of a label on the page: 6.5 s (median of 2)." in text
    assert (
        "Images skipped: 1. Answers corrected: 1. Answers not used so far: 1." in text
    )


def test_the_ledger_of_a_run_without_a_person_is_empty():
    assert asking.ledger([pick(0)], []) is None
    assert "|" not in markdown.section(asking.ledger([], [answer(0, "", PAGE)]))
