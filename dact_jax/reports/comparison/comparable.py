"""Which runs may be compared, and at which numbers of labels."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.reports import alike
from dact_jax.reports.comparison.runs import Method, Run


class Budget(NamedTuple):
    """Where methods meet."""

    labels: Sequence[int]  # target labels that all runs had; 0 alone if none buys any
    notes: Sequence[str]  # what is left out of the comparison

    @property
    def last(self) -> int:
        """The labels at which methods are compared."""
        return self.labels[-1]


def check(methods: Sequence[Method]) -> Budget:
    """The numbers of labels at which all runs that buy labels can be compared.

    Methods that use no target label take part as levels.

    Raises:
      InputError: two runs are on other data, classes or splits, have other numbers of
        validation labels, or no number of labels in common; it names them.
    """
    every = [run for method in methods for run in method.runs]
    first = every[0]
    for run in every[1:]:
        if reason := alike.difference(first.record, run.record):
            raise errors.InputError(
                f"{first.folder} and {run.folder} cannot be compared: {reason}."
            )
        counts = first.rounds[-1]["labels_val"], run.rounds[-1]["labels_val"]
        if counts[0] != counts[1]:
            raise errors.InputError(
                f"{first.folder} and {run.folder} have different budgets: "
                f"{counts[0]} and {counts[1]} labels for validation."
            )
    buying = [run for run in every if not is_level(run)]
    if not buying:
        return Budget([0], [])
    shared = functools.reduce(
        lambda known, run: known & run.accuracy.keys(), buying, {*buying[0].accuracy}
    )
    if not shared:
        raise _apart(buying)
    labels = sorted(shared)
    notes = [
        f"{run.folder} goes on to {max(run.accuracy)} labels; it is compared at "
        f"{labels[-1]}, the most that all runs have."
        for run in buying
        if max(run.accuracy) != labels[-1]
    ]
    return Budget(labels, notes)


def is_level(run: Run) -> bool:
    """Whether a run uses no target label."""
    return max(run.accuracy) == 0


def at(run: Run, labels: int) -> float:
    """The accuracy of a run in %: a level has the same at any number of labels."""
    return run.accuracy[0] if is_level(run) else run.accuracy[labels]


def _apart(runs: Sequence[Run]) -> errors.InputError:
    """No number of labels is shared by all runs: two that show it."""
    for one in runs:
        for other in runs:
            if not one.accuracy.keys() & other.accuracy.keys():
                return errors.InputError(
                    f"{one.folder} and {other.folder} have different budgets: they "
                    f"have an accuracy at {_listed(one)} and at {_listed(other)} "
                    "target labels, at no number in common."
                )
    return errors.InputError(
        f"the budgets of {runs[0].folder} and {len(runs) - 1} other runs differ: no "
        "number of target labels is common to all of them."
    )


def _listed(run: Run) -> str:
    return ", ".join(map(str, sorted(run.accuracy)))
