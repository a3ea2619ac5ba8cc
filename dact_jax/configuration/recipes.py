"""Recipes: how each published method is trained, as fields that its presets set.

`DIGITS` is for small networks trained from scratch, `PHOTOS` for ResNets with ImageNet
weights, `EMBEDDINGS` for small networks on vectors. Fields that a recipe does not set
keep their values in the config file, which are those of MME. Numbers of iterations
depend on the task; the config files set them.
"""

from collections.abc import Mapping
from typing import Any

Recipe = Mapping[str, Any]  # dotted field -> value

_FRESH_LAYERS = {  # ten times the learning rate of the pretrained encoder
    "train.multipliers.encoder": 1.0,
    "train.multipliers.bottleneck": 10.0,
    "train.multipliers.classifier": 10.0,
    "train.multipliers.others": 10.0,
}
_SLOW_ENCODER = {  # the same ratio; train.learning_rate is that of the new layers
    "train.multipliers.encoder": 0.1,
    "train.multipliers.bottleneck": 1.0,
    "train.multipliers.classifier": 1.0,
    "train.multipliers.others": 1.0,
}


def _batches(size: int) -> Recipe:
    names = ("train.batch_source", "train.batch_target", "train.batch_unlabeled")
    return dict.fromkeys((*names, "pretrain.batch"), size)


def _adam(learning_rate: float, weight_decay: float) -> Recipe:
    """Adam in the rounds and in pre-training."""
    stage = {
        "optimizer": "adam",
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
    }
    return {
        f"{name}.{field}": value
        for name in ("train", "pretrain")
        for field, value in stage.items()
    }


def _sgd(learning_rate: float, gamma: float, weight_decay: float) -> Recipe:
    """SGD with inverse decay in the rounds and in pre-training."""
    return {
        "train.optimizer": "sgd",
        "train.learning_rate": learning_rate,
        "train.schedule": "inverse",
        "train.gamma": gamma,
        "train.weight_decay": weight_decay,
        "pretrain.optimizer": "sgd",
        "pretrain.learning_rate": learning_rate,
        "pretrain.weight_decay": weight_decay,
    }


# Input of an ImageNet ResNet, with MME's batch sizes and learning rates.
IMAGENET: Recipe = {
    "data.size": 256,
    "data.crop": 224,
    "data.channels": 3,
    "data.flip": True,
    "data.mean": (0.485, 0.456, 0.406),
    "data.std": (0.229, 0.224, 0.225),
    "data.shots_per_class": 3,
    "train.batch_source": 24,
    "train.batch_target": 24,
    "train.batch_unlabeled": 48,
    "train.multipliers.encoder": 0.1,
    "train.eval_batch": 48,
}
# The protocol of ALDA's authors for Office-31 and Office-Home: training adapts to all
# target images and tests on them, without labels; every 500 iterations it tests with
# ten crops.
UNSUPERVISED_PHOTOS: Recipe = {
    **IMAGENET,
    "data.crop_area": (0.08, 1.0),
    "data.transductive": True,
    "data.val_per_class": 0,
    "model.encoder": "resnet50",
    "model.weights": "resnet50-0676ba61.pth",
    "train.save_every": 500,
    "eval.every": 500,
    "eval.crops": 10,
}

# CLUE's authors' code for digits and DomainNet: pre-training on the source, then a new
# Adam in each round, whose learning rate is halved after every third of the round.
_CLUE_ROUNDS: Recipe = {
    "train.schedule": "step",
    "train.decays": 3,
    "train.factor": 0.5,
    "pretrain.schedule": "constant",
}
_CLUE_DIGITS: Recipe = {**_CLUE_ROUNDS, **_adam(2e-4, 1e-5), **_batches(128)}
CLUE_SOURCE: Recipe = {**_CLUE_DIGITS, "train.schedule": "constant"}
_CLUE_PHOTOS: Recipe = {  # rounds of 20 epochs end before the first halving
    "train.schedule": "constant",
    "pretrain.schedule": "constant",
    **_adam(1e-5, 1e-5),
    **_batches(64),
    "train.multipliers.encoder": 1.0,
    "methods.clue_mme.entropy_weight": 0.1,
    "acquisitions.clue.temperature": 0.1,
}
# ALDA's authors' digits: Adam, with the learning rate times 0.3 at each step.
_ALDA_DIGITS: Recipe = {
    **_adam(2e-4, 5e-4),
    **_batches(64),
    "train.schedule": "step",
    "train.decays": 3,
    "train.factor": 0.3,
    "pretrain.schedule": "constant",
    "methods.alda.threshold": 0.6,
}
_ALDA_PHOTOS: Recipe = {
    **_sgd(1e-3, 1e-3, 1e-3),
    **_FRESH_LAYERS,
    **_batches(36),
    "train.progress_steps": 10_000,
    "methods.alda.bottleneck": 512,
}

_ADDA: Recipe = {  # Tzeng et al.: Adam with beta1 0.5
    **_adam(2e-4, 0.0),
    "train.momentum": 0.5,
    "train.schedule": "constant",
    "pretrain.schedule": "constant",
}

# The papers' batches; MME's SGD takes the place of their Adadelta.
_LATER_PHOTOS: Recipe = _batches(32)

DIGITS: Mapping[str, Recipe] = {
    "aada": {**_CLUE_DIGITS, "train.decay_others": False},
    "clue_mme": _CLUE_DIGITS,
    # Discriminators are as wide as those of ADDA's and CLUE's authors for digits; the
    # ten of MADA are narrower.
    "alda": {**_ALDA_DIGITS, "methods.alda.hidden": 500},
    "dann": {**_ALDA_DIGITS, "methods.dann.hidden": 500},
    "mada": {**_ALDA_DIGITS, "methods.mada.hidden": 256},
    "jan": _ALDA_DIGITS,
    # The frozen source encoder has no dropout. Dropout in the target encoder alone
    # would let the discriminator tell the domains apart.
    "adda": {**_ADDA, **_batches(128), "model.dropout": 0.0},
}

PHOTOS: Mapping[str, Recipe] = {
    "aada": {
        **_CLUE_PHOTOS,
        "train.decay_others": False,
        "methods.aada.domain_weight": 0.1,
        "methods.aada.entropy_weight": 0.01,
    },
    "clue_mme": _CLUE_PHOTOS,
    "eada": _LATER_PHOTOS,
    "duc": _LATER_PHOTOS,
    "alda": _ALDA_PHOTOS,
    # The Transfer-Learning-Library; its learning rates are those of new layers.
    "source_only": {**_sgd(1e-3, 3e-4, 5e-4), **_SLOW_ENCODER, **_batches(32)},
    # CDAN's repository, on which ALDA's is built.
    "dann": {**_ALDA_PHOTOS, "methods.dann.bottleneck": 256},
    "adda": {  # the Transfer-Learning-Library, by gradient reversal
        **_sgd(1e-3, 3e-4, 1e-3),
        **_SLOW_ENCODER,
        **_batches(32),
        "train.progress_steps": 10_000,
        "methods.adda.bottleneck": 256,
        "methods.adda.hidden": (1024, 1024),
        "methods.adda.form": "reversal",
    },
    "mada": {  # the authors' Caffe solver
        **_sgd(1e-3, 3e-4, 0.0),
        **_FRESH_LAYERS,
        **_batches(64),
        "train.nesterov": False,
        "train.bias_multiplier": 2.0,
        "train.progress_steps": 10_000,
        "methods.mada.bottleneck": 256,
    },
    "jan": {  # the Transfer-Learning-Library
        **_sgd(3e-3, 3e-4, 5e-4),
        **_SLOW_ENCODER,
        **_batches(32),
        "methods.jan.bottleneck": 256,
        "methods.jan.dropout": 0.5,
        "methods.jan.joint": True,
    },
}

# A small network on vectors: MME's optimizer, and discriminators of matching size.
EMBEDDINGS: Mapping[str, Recipe] = {
    "aada": {**_CLUE_ROUNDS, **_adam(2e-4, 1e-5), "train.decay_others": False},
    "clue_mme": {**_CLUE_ROUNDS, **_adam(2e-4, 1e-5)},
    "adda": {**_ADDA, **_batches(64)},
    "alda": {**_batches(64), "methods.alda.hidden": 256},
    "dann": {**_batches(64), "methods.dann.hidden": 256},
    "mada": {**_batches(64), "methods.mada.hidden": 256},
    "jan": _batches(64),
}
