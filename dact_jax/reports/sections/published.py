"""Published accuracies beside those of a run."""

from collections.abc import Sequence

from dact_jax import errors
from dact_jax.reports.curves import Reference
from dact_jax.reports.sections import content
from dact_jax.reports.sections.content import Section, Table
from dact_jax.types import Row


def check(published: Reference) -> None:
    """Checks that published accuracies are fractions.

    Raises:
      InputError: an accuracy is outside [0, 1], for example in %.
    """
    for name, points in published.items():
        for _, accuracy in points:
            if not 0 <= accuracy <= 1:
                raise errors.InputError(
                    f"reference {name!r} has the accuracy {accuracy}, but accuracies "
                    f"must be fractions between 0 and 1, such as {accuracy / 100:g}."
                )


def section(rounds: Sequence[Row], published: Reference) -> Section | None:
    """A table with this run's test accuracy at the same label counts, or None.

    Args:
      rounds: rows with labels_target and test_accuracy.
      published: accuracies in [0, 1].
    """
    if not published:
        return None
    measured = {
        row["labels_target"]: content.percent(row["test_accuracy"]) for row in rounds
    }
    body = [
        (name, labels, content.percent(accuracy), measured.get(labels, "-"))
        for name, points in published.items()
        for labels, accuracy in points
    ]
    head = ("published", "target labels", "test %", "this run: test %")
    return content.section("Comparison with published results", Table(head, body))
