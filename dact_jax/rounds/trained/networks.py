"""Which network of a run is used: its last one, or the best by validation."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

import jax
import numpy as np

from dact_jax import errors
from dact_jax.rounds import checkpoint, workdir
from dact_jax.run_types import Keep
from dact_jax.types import Row, Variables

NETWORKS: tuple[Keep, ...] = get_args(Keep)
Measured = Callable[[], Mapping[int, Row]]  # the rows of finished rounds
PRETRAINED = -1  # the round of a network that is trained on the source alone so far


class Plan(NamedTuple):
    """What a run's config says of its rounds."""

    keep: Keep  # the network that a round ends with
    num_rounds: int
    steps: int  # iterations of a round
    first_steps: int  # of round 0
    carry_weights: bool  # a round starts from the network of the one before
    pretrained: bool  # round 0 starts from a network trained on the source


class Origin(NamedTuple):
    """Where a network comes from."""

    network: str  # "last" or "best_val"
    round: int  # that trained it, or PRETRAINED
    step: int  # iterations of that round that it has had
    finished: bool  # whether all iterations of that round were done

    def __str__(self) -> str:
        if self.round == PRETRAINED:
            return "the network pre-trained on the source"
        which = {
            "last": "the last network",
            "best_val": "the best network by validation",
        }
        rest = "" if self.finished else ", which is not finished"
        return (
            f"{which[self.network]} of round {self.round} (iteration {self.step}){rest}"
        )


def find(
    folder: pathlib.Path, template: Variables, plan: Plan, network: str = ""
) -> tuple[Variables, Origin]:
    """The newest network of a kind that the checkpoints of a run hold.

    A network that is not trained yet, as at the start of a round that does not carry
    on the weights of the one before, is passed over for an older one.

    Args:
      folder: of the run.
      template: shapes of the network's variables.
      network: "last", "best_val", or "": the one that the run goes on with.

    Returns:
      The variables as NumPy arrays, and where they come from.

    Raises:
      InputError: no checkpoint can be read, or none holds such a network.
    """
    if network:
        errors.check_choice("network", network, NETWORKS)
    wanted = network or plan.keep
    if not checkpoint.exists(folder / workdir.CHECKPOINTS):
        raise errors.InputError(_none(folder, plan, "last", {}))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
    entries: dict[str, Any] = {
        "round": 0,
        "turn": False,
        "train": {"step": 0, "variables": zeros._asdict()},
    }
    if plan.keep == "best_val":
        entries["track"] = {"val": -1.0, "step": 0, "kept": zeros._asdict()}
    measured = functools.cache(lambda: _measured(folder))
    found = checkpoint.search(
        folder / workdir.CHECKPOINTS,
        entries,
        lambda saved: _of(saved, plan, wanted, measured),
        newer=("turn",),
    )
    if found is None:
        raise errors.InputError(_none(folder, plan, wanted, measured()))
    variables, origin = found
    return Variables(**variables), origin


def _of(
    saved: Mapping[str, Any], plan: Plan, wanted: str, measured: Measured
) -> tuple[Mapping[str, Any], Origin] | None:
    """The wanted network of one checkpoint; None if it does not hold it."""
    number, step = int(saved["round"]), int(saved["train"]["step"])
    last = saved["train"]["variables"]
    between = bool(saved["turn"]) or (step == 0 and plan.carry_weights)
    if number and (between or number >= plan.num_rounds):
        found = _finished(number - 1, plan, wanted, measured)
        return found and (last, found)
    if saved["turn"] or step == 0:
        if plan.pretrained and number == 0 and wanted == "last":
            return last, Origin("last", PRETRAINED, 0, finished=True)
        return None
    if wanted == "last":
        steps = plan.steps if number else plan.first_steps
        return last, Origin("last", number, step, finished=step == steps)
    if plan.keep == "last":
        return None
    kept, track = saved["track"]["kept"], saved["track"]
    if float(track["val"]) >= 0:
        return kept, Origin("best_val", number, int(track["step"]), finished=False)
    # Nothing was evaluated in this round yet: it keeps what it started from.
    found = None
    if number and plan.carry_weights:
        found = _finished(number - 1, plan, wanted, measured)
    return found and (kept, found)


def _finished(
    number: int, plan: Plan, wanted: str, measured: Measured
) -> Origin | None:
    """What a finished round ended with; None if that is not the wanted network."""
    steps = plan.steps if number else plan.first_steps
    if wanted == plan.keep == "last":
        return Origin("last", number, steps, finished=True)
    best = measured().get(number, {}).get("best_val_step")
    if wanted == plan.keep:
        return Origin(wanted, number, steps if best is None else best, finished=True)
    # The two are one where the last evaluation was the best.
    return Origin(wanted, number, steps, finished=True) if best == steps else None


def _measured(folder: pathlib.Path) -> dict[int, Row]:
    """The rows of finished rounds, by their number."""
    rows = workdir.read(folder)
    return {row["round"]: row for row in rows if row["event"] == "round"}


def _none(
    folder: pathlib.Path, plan: Plan, wanted: str, measured: Mapping[int, Row]
) -> str:
    """Why no checkpoint holds the wanted network, and what to do."""
    go_on = f"run it on, by python -m dact_jax.main --workdir={folder}"
    if not measured and wanted == "last":
        return (
            f"the network of {folder} is not trained yet: {go_on}; it may ask for "
            "labels first."
        )
    if not measured:
        return f"no network of {folder} is evaluated yet: {go_on}, or use network=last."
    if wanted == "last" and plan.keep == "last":
        return (
            f"a new round of {folder} begins from untrained weights "
            f"(train.carry_weights=False), and no checkpoint holds others: {go_on}."
        )
    if wanted == "last":
        return (
            f"the checkpoints of {folder} do not hold the last network any more, only "
            "the best by validation (eval.keep=best_val): use network=best_val, or "
            f"{go_on}."
        )
    if not any(row["labels_val"] for row in measured.values()):
        return (
            f"the run in {folder} has no labeled validation images, so no network of "
            "it is the best by validation: use network=last."
        )
    return (
        f"the checkpoints of {folder} do not hold the best network by validation: only "
        "a run with eval.keep=best_val keeps it; use network=last."
    )
