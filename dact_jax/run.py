"""What a config comes to: data, network and settings, before the first iteration."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from dact_jax import inference
from dact_jax.types import BatchSizes, Key, Method, Model, Policy, Task, TrainState


class Schedule(NamedTuple):
    steps: int  # iterations a round
    sizes: BatchSizes
    chunk: int  # iterations a dispatch
    save_every: int  # iterations between two checkpoints of a round
    eval_batch: int
    carry_weights: bool  # a round goes on from the weights of the one before
    carry_optimizer: bool  # and from its momentum and schedule


class Run(NamedTuple):
    task: Task
    method: Method
    model: Model
    optimizer: optax.GradientTransformation
    policy: Policy
    acquisition: str  # its name, for the record
    schedule: Schedule
    augment: Callable[[jax.Array, Key], jax.Array]  # uint8[B, H, W, C] -> float32
    forward: inference.Forward  # in evaluation mode, jitted once for all its uses
    key: Key
    train: TrainState  # what round 0 begins with
