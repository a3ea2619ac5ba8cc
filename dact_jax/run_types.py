"""What a config comes to: data, network and settings, before the first iteration."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import optax

from dact_jax import types
from dact_jax.types import (
    Array,
    BatchSizes,
    Key,
    Method,
    Model,
    Policy,
    Row,
    Task,
    TrainState,
)

Keep = Literal["last", "best_val"]


class Schedule(NamedTuple):
    steps: int  # iterations a round
    first_steps: int  # of round 0
    progress_steps: int  # iterations in which a method's progress goes 0 -> 1; 0: all
    sizes: BatchSizes
    chunk: int  # iterations a dispatch
    save_every: int  # iterations between two checkpoints of a round
    carry_weights: bool  # a round goes on from the weights of the one before
    carry_optimizer: bool  # and from its momentum and schedule


class Evaluation(NamedTuple):
    batch: int
    every: int  # iterations; 0: at the end of a round only
    keep: Keep  # whose weights go on after a round, to selection too
    domain: int  # the batch-norm row that the target is evaluated with
    score: types.Forward  # of test and validation images


class Pretraining(NamedTuple):
    run: "Run"  # on the source alone, one round
    folder: str  # where it is kept; empty: in the run's own
    identity: Mapping[str, Any]  # what it depends on


class LossPredictorStage(NamedTuple):
    run: "Run"  # of (P_t, P_l): source and target pool are one domain, its source
    # float32[N, K] logits, int32[N] labels -> float32[N], each one's own loss
    actual_loss: Callable[[Array, Array], jax.Array]


class Run(NamedTuple):
    task: Task
    method: Method
    model: Model
    optimizer: Callable[[int], optax.GradientTransformation]  # of a round's iterations
    policy: Policy
    acquisition: str  # its name, for the record
    source_acquisition: str  # and of the one that chooses source samples
    schedule: Schedule
    evaluation: Evaluation
    augment: Callable[[jax.Array, Key], jax.Array]  # uint8[B, H, W, C] -> float32
    prepare: types.Prepare  # stored images to network input, in evaluation
    forward: types.Forward  # in evaluation mode, jitted once for all its uses
    key: Key
    train: TrainState  # what round 0 begins with
    pretraining: Pretraining | None = None  # before round 0
    loss_predictor: LossPredictorStage | None = (
        None  # of a policy that chooses source samples
    )


def lengths(run: Run) -> list[int]:
    """Iterations of each round."""
    schedule = run.schedule
    rest = [schedule.steps] * (run.policy.num_rounds - 1)
    return [schedule.first_steps, *rest]


def _quiet(row: Row) -> None:
    del row


class Show(NamedTuple):
    step: Callable[[int, int, Mapping[str, float]], None]  # round, iterations, losses
    round: Callable[[Row], None]  # a row of a finished round
    select: Callable[[Row], None] = _quiet  # a row of what a policy did
