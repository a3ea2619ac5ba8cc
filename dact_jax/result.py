"""What `dact_jax.run` returns: what a run's folder records."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dact_jax.processes import group
from dact_jax.queries.query import Query
from dact_jax.rounds import workdir
from dact_jax.rounds.workdir import Pick

REPORT = "report.md"


class Result(NamedTuple):
    """A run that is finished, or waits for labels, as its folder records it."""

    rows: list[dict[str, Any]]  # of metrics.jsonl
    accuracies: list[float | None]  # test accuracy in [0, 1] after each round
    picks: list[Pick]  # of picks.csv
    workdir: pathlib.Path
    report: pathlib.Path  # report.md
    pictures: list[str]  # names of the pictures that were drawn now
    finished_before: bool  # nothing was left to do
    query: Query | None = None  # what a person has to label now; None: it is finished
    missing: tuple[str, ...] = ()  # ids of the images of it that have no label yet

    def __repr__(self) -> str:
        test = ["-" if a is None else f"{a:.3f}" for a in self.accuracies]
        waits = f", {len(self.missing)} labels missing" if self.query else ""
        return (
            f"Result(accuracies=[{', '.join(test)}], {len(self.rows)} rows, "
            f"{len(self.picks)} picks{waits}, workdir={str(self.workdir)!r})"
        )


def from_first(read: Callable[[], Result]) -> Result:
    """What process 0 reads of its folder, which the others need not see, in all."""
    found: list[Result] = []

    def fields() -> dict[str, Any]:
        found.append(read())
        return {
            **found[0]._asdict(),
            "workdir": str(found[0].workdir),
            "report": str(found[0].report),
            "query": None,
        }

    sent = group.from_first(fields)
    if found:
        return found[0]
    return Result(
        **{
            **sent,
            "picks": [Pick(*pick) for pick in sent["picks"]],
            "workdir": pathlib.Path(sent["workdir"]),
            "report": pathlib.Path(sent["report"]),
            "missing": tuple(sent["missing"]),
        }
    )


def read(folder: pathlib.Path, pictures: Sequence[str] = ()) -> Result:
    """What the folder of a run records.

    Args:
      pictures: names of those that were drawn now.
    """
    rows = workdir.read(folder)
    return Result(
        rows=rows,
        accuracies=[row["test_accuracy"] for row in rows if row["event"] == "round"],
        picks=workdir.read_picks(folder),
        workdir=folder,
        report=folder / REPORT,
        pictures=list(pictures),
        finished_before=False,
    )
