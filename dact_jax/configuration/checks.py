"""What can be told of a config before any long work: one sentence for each mistake."""

from typing import Any, TypeAlias, get_args

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from dact_jax import errors, plugins
from dact_jax.configuration import defaults
from dact_jax.training import schedules
from dact_jax.types import (
    UNLABELED,
    Batch,
    BatchSizes,
    Examples,
    Method,
    Model,
    Task,
    Variables,
)

Config: TypeAlias = ml_collections.ConfigDict

# Head that an acquisition may read -> what it judges, what its method does, and whose.
_JUDGES = {
    "discriminator": (
        "domain",
        "tells domains apart",
        "'aada', 'dann' and 'adda' are",
    ),
    "predicted_loss": ("loss", "predicts its loss", "'loss_prediction' is"),
}
CHOSEN = {"methods": "method", "acquisitions": "acquisition", "policies": "policy"}


def check(config: Config) -> None:
    """Refuses values that are wrong whatever the data are.

    Raises:
      InputError: names the field.
    """
    if config.seed < 0:
        raise errors.InputError(f"seed={config.seed} must be 0 or more.")
    for family, chosen in CHOSEN.items():
        plugins.options(family, config[chosen])  # refuses an unknown name
    plugins.options("acquisitions", config.source_acquisition)
    if config.policy == defaults.CHOOSES_SOURCE:
        _check_predictor(config)
    if config.model.num_norms > 1 and config.method in (
        "source_only",
        "loss_prediction",
    ):
        raise errors.InputError(
            f"method {config.method!r} trains no batch norm of the target: "
            "set model.num_norms=1."
        )
    if config.model.shared_affine and config.model.num_norms == 1:
        raise errors.InputError(
            "model.shared_affine=True is for model.num_norms=2: with one row all is "
            "shared already."
        )
    _check_batches(config)
    _check_stages(config)
    _check_layers(config)
    _check_evaluation(config)


def check_method(config: Config, method: Method) -> None:
    """Refuses a method that lacks what the rest of the config asks of it.

    Raises:
      InputError: names the field.
    """
    if method.prepare is not None and not config.pretrain.steps:
        raise errors.InputError(
            f"method {config.method!r} adapts a network that is trained already: set "
            "pretrain.steps, such as 500."
        )
    options = config.acquisitions[config.acquisition]
    ranks_target = config.acquisition == "predicted_loss" and config.policy != "fixed"
    if ranks_target and (options.score, options.classes) != ("pred", "any"):
        raise errors.InputError(
            "acquisition 'predicted_loss' ranks the target, whose labels nobody knows, "
            "by acquisitions.predicted_loss.score='pred' and classes='any' only."
        )
    for head in plugins.needs("acquisitions", config.acquisition):
        # ALDA's discriminator predicts labels, not domains.
        predicts = getattr(method.heads.get(head), "predicts", None)
        wanted, does, those = _JUDGES[head]
        if config.policy != "fixed" and predicts != wanted:
            raise errors.InputError(
                f"acquisition {config.acquisition!r} reads the head {head!r} of a "
                f"method that {does}, and {config.method!r} is none; {those}."
            )


def check_losses(
    method: Method,
    network: Model,
    variables: Variables,
    sizes: BatchSizes,
    shape: tuple[int, int, int],
) -> None:
    """Traces each loss once, so that what it refuses is refused before training.

    Raises:
      InputError: of the loss.
    """

    def examples(count: int) -> Examples:
        return Examples(jnp.zeros((count, *shape)), jnp.full(count, UNLABELED))

    def losses(variables: Variables) -> list[Any]:
        batch = Batch(
            examples(sizes.source), None, jnp.zeros((sizes.unlabeled, *shape))
        )
        key, progress = jax.random.key(0), jnp.zeros(())
        return [
            loss(network, variables, batch, key, progress)[0] for loss in method.losses
        ]

    jax.eval_shape(losses, variables)


def check_validation(config: Config, task: Task) -> None:
    """Refuses a choice by validation accuracy where nothing validates.

    Raises:
      InputError: names the fields.
    """
    labelled = np.asarray(task.target.val.label) != UNLABELED
    if config.policy == defaults.CHOOSES_SOURCE and not labelled.any():
        raise errors.InputError(
            f"policy {config.policy!r} decides by labelled validation images, and "
            "there are none: set data.val_per_class, such as 3."
        )
    if config.eval.keep == "best_val" and not labelled.any():
        raise errors.InputError(
            "eval.keep='best_val' chooses by labelled validation images, and there are "
            "none: set data.val_per_class, such as 3."
        )


def _check_predictor(config: Config) -> None:
    """Refuses what the network of D_AcT cannot be trained or asked with."""
    options = config.loss_predictor
    if options.steps < 1:
        raise errors.InputError(
            f"loss_predictor.steps={options.steps} must be 1 or more."
        )
    if options.batch < 2 or options.batch % 2:
        raise errors.InputError(
            f"loss_predictor.batch={options.batch} must be even, 2 or more: its loss "
            "is one of pairs."
        )
    if config.data.labelled_list:
        raise errors.InputError(
            f"policy {config.policy!r} decides by T_v, which MME's list files hold "
            "among the test images: leave data.labelled_list, val_list and "
            "unlabeled_list empty."
        )
    for head in plugins.needs("acquisitions", config.source_acquisition):
        if head != "predicted_loss":
            raise errors.InputError(
                f"source_acquisition {config.source_acquisition!r} reads the head "
                f"{head!r}, which the network that scores the source has not: take "
                "'predicted_loss' (D_AcT) or 'random' (R_AcT)."
            )


def _check_stages(config: Config) -> None:
    for name in ("train", "pretrain", "loss_predictor"):
        options = config[name]
        errors.check_choice(
            f"{name}.schedule", options.schedule, get_args(schedules.Kind)
        )
        errors.check_choice(f"{name}.optimizer", options.optimizer, ("sgd", "adam"))
    counts = {
        "train.first_steps": config.train.first_steps,
        "train.progress_steps": config.train.progress_steps,
        "pretrain.steps": config.pretrain.steps,
        "eval.every": config.eval.every,
        **{f"train.multipliers.{k}": v for k, v in config.train.multipliers.items()},
    }
    for field, value in counts.items():
        if value < 0:
            raise errors.InputError(f"{field}={value} must not be negative.")
    if config.train.decays < 1:
        raise errors.InputError(
            f"train.decays={config.train.decays} must be 1 or more."
        )


def _check_layers(config: Config) -> None:
    """Sizes and dropout rates of the network, by their names."""
    method = config.methods.get(config.method, {})
    options = {f"methods.{config.method}.{k}": v for k, v in method.items()}
    options["model.dropout"] = config.model.dropout
    for field, value in options.items():
        kind = field.rpartition(".")[2]
        sizes = value if isinstance(value, (tuple, list)) else (value,)
        if kind == "dropout" and not 0 <= value < 1:
            raise errors.InputError(f"{field}={value} must be in [0, 1).")
        if kind == "bottleneck" and value < 0:
            raise errors.InputError(f"{field}={value} must be 0 (none) or more.")
        if kind == "hidden" and not all(size >= 1 for size in sizes):
            raise errors.InputError(f"{field}={value} must be 1 or more.")


def _check_evaluation(config: Config) -> None:
    options = config.eval
    for field, valid in (
        ("keep", ("last", "best_val")),
        ("branch", ("target", "source")),
        ("crops", (1, 10)),
    ):
        errors.check_choice(f"eval.{field}", options[field], valid)
    if options.every % config.train.chunk:
        raise errors.InputError(
            f"eval.every={options.every} must be a multiple of "
            f"train.chunk={config.train.chunk}."
        )
    if options.keep == "best_val" and not options.every:
        raise errors.InputError(
            "eval.keep='best_val' needs evaluations to choose from: set eval.every, "
            f"such as {10 * config.train.chunk}."
        )


def _check_batches(config: Config) -> None:
    train = config.train
    count = jax.device_count()
    batches = {
        f"train.{name}": train[name]
        for name in ("batch_source", "batch_target", "batch_unlabeled", "eval_batch")
    }
    if config.pretrain.steps:
        batches["pretrain.batch"] = config.pretrain.batch
    if config.policy == defaults.CHOOSES_SOURCE:
        batches["loss_predictor.batch"] = config.loss_predictor.batch
    for field, size in batches.items():
        if size < 1 or size % count:
            raise errors.InputError(
                f"{field}={size} must be a positive multiple of the "
                f"{count} devices that share it."
            )
    if train.batch_source != train.batch_target:
        raise errors.InputError(
            f"train.batch_source={train.batch_source} and "
            f"train.batch_target={train.batch_target} must be equal: "
            "methods may stack them in one forward pass."
        )
    for name in ("steps", "chunk", "save_every"):
        if train[name] < 1:
            raise errors.InputError(f"train.{name}={train[name]} must be 1 or more.")
    if train.save_every % train.chunk:
        raise errors.InputError(
            f"train.save_every={train.save_every} must be a multiple of "
            f"train.chunk={train.chunk}."
        )
