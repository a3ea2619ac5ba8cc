"""The fields `train.*`, `pretrain.*` and `loss_predictor.*`."""

from collections.abc import Mapping
from typing import get_args

from dact_jax import kinds
from dact_jax.configuration.fields import Field
from dact_jax.training import schedules

_BATCH = kinds.whole(1, 10**6)
_OPTIMIZER = kinds.choice("sgd", "adam")
_SCHEDULE = kinds.choice(*get_args(schedules.Kind))
_PRECISION = kinds.choice("auto", "float32", "bfloat16")
_MULTIPLIER = "factor on the learning rate of the {}; 0: frozen, but not its moments"

# Learning rate at iteration i of n:
#   "inverse"   learning_rate * (1 + gamma * i) ** -power
#   "annealed"  learning_rate * (1 + alpha * i / n) ** -power
#   "step"      learning_rate * factor ** j in part j = 0, 1, ... of `decays` parts
#   "constant"  learning_rate
TRAIN = {
    "steps": Field(300, kinds.whole(1), "iterations in a round"),
    "first_steps": Field(
        0, kinds.whole(), "iterations in round 0; 0: as many as in the others"
    ),
    "progress_steps": Field(
        0, kinds.whole(), "iterations that schedules span; 0: those of the round"
    ),
    "batch_source": Field(32, _BATCH, "labelled source images in a batch"),
    "batch_target": Field(
        32, _BATCH, "labelled target images in a batch; equal to batch_source"
    ),
    "batch_unlabeled": Field(64, _BATCH, "unlabelled target images in a batch"),
    "optimizer": Field("sgd", _OPTIMIZER, "sgd or adam, with L2 in the gradient"),
    "learning_rate": Field(0.01, kinds.real(), "at the start of a round"),
    "schedule": Field(
        "inverse", _SCHEDULE, "of the learning rate: inverse, annealed, step, constant"
    ),
    "gamma": Field(1e-4, kinds.real(), "of the schedule inverse"),
    "power": Field(0.75, kinds.real(0, 100), "of the schedules inverse and annealed"),
    "alpha": Field(10.0, kinds.real(), "of the schedule annealed"),
    "decays": Field(3, kinds.whole(1), "parts of a round in the schedule step"),
    "factor": Field(0.5, kinds.real(0, 1), "on the learning rate after each part"),
    "momentum": Field(0.9, kinds.real(below=1), "of SGD; beta1 of Adam"),
    "nesterov": Field(True, kinds.flag(), "of SGD"),
    "weight_decay": Field(5e-4, kinds.real(), "L2"),
    "decay_others": Field(
        True, kinds.flag(), "whether weight decay applies to others (discriminators)"
    ),
    **{
        f"multipliers.{group}": Field(1.0, kinds.real(), _MULTIPLIER.format(what))
        for group, what in {
            "encoder": "encoder",
            "bottleneck": "bottleneck",
            "classifier": "classifier",
            "others": "rest, such as discriminators",
        }.items()
    },
    "bias_multiplier": Field(
        1.0, kinds.real(), "a further factor for biases (Caffe: 2)"
    ),
    "carry_weights": Field(
        True, kinds.flag(), "a round starts from the weights of the one before"
    ),
    "carry_optimizer": Field(
        False, kinds.flag(), "and from its momentum and learning rate"
    ),
    "chunk": Field(
        25, kinds.whole(1), "iterations that one row of metrics.jsonl is of"
    ),
    "save_every": Field(
        100, kinds.whole(1), "iterations between checkpoints; a multiple of chunk"
    ),
    "save_minutes": Field(
        5.0, kinds.real(), "at most so many minutes between checkpoints; 0: no limit"
    ),
    "eval_batch": Field(256, _BATCH, "images in a batch of evaluation"),
    "precision": Field(
        "auto", _PRECISION, "of products and activations; auto: by the devices"
    ),
}


def _stage(steps: Field, batch: int) -> Mapping[str, Field]:
    """Training on labels alone; settings that are not here are those of `train`."""
    like_train = ("learning_rate", "momentum", "weight_decay", "optimizer", "schedule")
    return {
        "steps": steps,
        "batch": Field(batch, _BATCH, "images in a batch"),
        **{name: TRAIN[name] for name in like_train},
    }


PRETRAIN = {
    **_stage(Field(0, kinds.whole(), "iterations before round 0, on the source"), 64),
    "folder": Field(
        "", kinds.path(), "of its checkpoint, for other runs; empty: the run's own"
    ),
}
LOSS_PREDICTOR = _stage(
    Field(500, kinds.whole(1), "iterations, each time that it is trained (D_AcT)"), 32
)
