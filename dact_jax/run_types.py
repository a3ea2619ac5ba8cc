"""What a config is turned into, and the state of a run. No logic."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax

from dact_jax import types
from dact_jax.types import (
    Array,
    BatchSizes,
    Key,
    Method,
    Model,
    Picked,
    Policy,
    Pools,
    PyTree,
    Row,
    Task,
    TrainState,
)

Keep = Literal["last", "best_val"]


class Schedule(NamedTuple):
    steps: int  # iterations in a round
    first_steps: int  # iterations in round 0
    progress_steps: int  # iterations over which progress goes from 0 to 1; 0: the round
    sizes: BatchSizes
    chunk: int  # iterations that one row of metrics is of
    save_every: int  # iterations between two checkpoints of a round
    save_minutes: float  # at most so long between them; 0: no limit
    carry_weights: bool  # a round starts from the weights of the previous one
    carry_optimizer: bool  # and from its optimizer state


class Evaluation(NamedTuple):
    batch: int  # images in one forward pass
    every: int  # iterations; 0: at the end of a round only
    keep: Keep  # the network of a round that is used afterwards
    domain: int  # the batch-norm row that target images are normalized with
    score: types.Forward  # for test and validation images


class Pretraining(NamedTuple):
    """A run on the source alone, before round 0."""

    run: "Run"
    folder: str  # where it is kept; "": inside the run's folder
    identity: Mapping[str, Any]  # the part of the config that it depends on


class LossPredictorStage(NamedTuple):
    """The loss predictor (P_t, P_l) of D_AcT as a run of its own.

    Its source pool is the union of the source and the target pool, as one domain.
    """

    run: "Run"
    # logits float32[N, K], labels int32[N] -> float32[N], the loss of each sample
    actual_loss: Callable[[Array, Array], jax.Array]


class Person(NamedTuple):
    """What a person is told who labels the images of the target's pool."""

    campaign: str  # `query.campaign`
    file_names: tuple[str, ...]  # N_t, below the folder of the target
    files: tuple[str, ...]  # N_t, absolute paths; "" where there is no file
    image_root: str  # prefix of file names for other tools
    num_hidden: int  # labels of the pool that the data hold, and that are not read


class Run(NamedTuple):
    task: Task
    method: Method
    model: Model
    optimizer: Callable[[int], optax.GradientTransformation]  # iterations in the round
    policy: Policy
    acquisition: str  # name, for picks.csv
    source_acquisition: str  # name, for picks.csv
    schedule: Schedule
    evaluation: Evaluation
    augment: Callable[[jax.Array, Key], jax.Array]  # uint8[B, H, W, C] -> float32
    prepare: types.Prepare  # stored images to network input, without randomness
    forward: types.Forward  # in evaluation mode, jitted once for all sweeps
    key: Key
    train: TrainState  # the state that round 0 begins with
    given: np.ndarray  # bool[N_t], target images whose labels are given at the start
    pretraining: Pretraining | None = None
    loss_predictor: LossPredictorStage | None = None  # if the policy chooses source
    person: Person | None = None  # who is asked for labels; None: the dataset has them
    # By domain, fields of the evidence besides embedding and outputs that acquisitions
    # read: "input" or "bought".
    reads: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


class Track(NamedTuple):  # the evaluations of a round so far; -1 where nothing is known
    val: float  # the best validation accuracy
    test_at_val: float  # the test accuracy of the same network
    step: int  # its iteration; the last of equals, as MME's code
    best_test: float  # the best test accuracy: recorded, never used to choose
    kept: PyTree  # Variables of the best validation; () if eval.keep="last"


class Experiment(NamedTuple):  # the state of a run between two steps, in a checkpoint
    round: int  # current training round, or the next one during a policy turn
    pools: Pools
    # int32[N_t], target labels bought so far, else UNLABELED, or SKIPPED by a person
    label: np.ndarray
    memory: PyTree
    train: TrainState
    seconds: float  # training time of this round so far
    track: Track
    turn: bool = False  # the policy's turn, not training
    written: tuple[int, int] = (0, 0)  # bytes of metrics.jsonl and picks.csv
    losses: np.ndarray = np.zeros((1, 1))  # of a begun chunk (training.loop.pack)


def lengths(run: Run) -> list[int]:
    """Iterations in each round."""
    schedule = run.schedule
    return [schedule.first_steps] + [schedule.steps] * (run.policy.num_rounds - 1)


def _ignore(*args: object) -> None:
    del args


class Show(NamedTuple):
    """Shows the progress of a run; by default it shows nothing."""

    # (round, iterations done in it, losses by name), after every chunk
    step: Callable[[int, int, Mapping[str, float]], None] = _ignore
    round: Callable[[Row], None] = _ignore  # the row of a finished round
    select: Callable[[Row], None] = _ignore  # the row of a policy's step
    # The same, after every call of the device that does not end a chunk.
    partial: Callable[[int, int, Mapping[str, float]], None] = _ignore
    activity: Callable[[str], None] = _ignore  # what is done now, such as "evaluating"
    evaluation: Callable[[Row], None] = _ignore  # the row of one during a round
    # (the first round that trains on them, picks by side, target labels int32[N_t])
    picks: Callable[[int, Mapping[str, Picked], np.ndarray], None] = _ignore


def _never() -> bool:
    return False


class Stop(NamedTuple):
    """Whether someone asked the run to stop; by default nobody does."""

    asked: Callable[[], bool] = _never
    # Open while the run looks at `asked` often, saves and raises StoppedError if it is.
    saving: Callable[[], contextlib.AbstractContextManager[None]] = (
        contextlib.nullcontext
    )


NEVER = Stop()
