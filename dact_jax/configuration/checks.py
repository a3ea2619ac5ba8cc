"""Checks of a config before any long work: one sentence for each mistake."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, plugins
from dact_jax.configuration import plugin_checks
from dact_jax.configuration.defaults import Config
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


def check(config: Config) -> None:
    """Checks all that does not depend on the data.

    Raises:
      InputError: names the field.
    """
    if config.seed < 0:
        raise errors.InputError(f"seed={config.seed} must be 0 or more.")
    plugin_checks.check_options(config)
    if plugins.loss_predictor(config.policy) is not None:
        _check_loss_predictor(config)
    if config.model.num_norms > 1 and not plugins.trains_target_norm(config.method):
        raise errors.InputError(
            f"method {config.method!r} trains no batch norm of the target: "
            "set model.num_norms=1."
        )
    if config.model.shared_affine and config.model.num_norms == 1:
        raise errors.InputError(
            "model.shared_affine=True needs model.num_norms=2: domains share a single "
            "batch norm anyway."
        )
    _check_batches(config)
    _check_stages(config)
    _check_layers(config)
    _check_evaluation(config)
    if plugins.buys(config.policy):
        plugin_checks.check_acquisition(config)


def check_method(config: Config, method: Method) -> None:
    """Checks that a method which adapts a trained network is given one.

    Raises:
      InputError: names the field.
    """
    if method.prepare is not None and not config.pretrain.steps:
        raise errors.InputError(
            f"method {config.method!r} adapts a network that is trained already: set "
            "pretrain.steps, such as 500."
        )


def check_losses(
    method: Method,
    network: Model,
    variables: Variables,
    sizes: BatchSizes,
    shape: tuple[int, int, int],
) -> None:
    """Traces each loss once, so that it raises its errors before training.

    Args:
      shape: (h, w, C) of a network input.

    Raises:
      InputError: a loss rejects the shapes, such as batches of different sizes.
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
    """Checks that there are labelled validation images where they decide.

    Raises:
      InputError: names the fields.
    """
    if np.any(np.asarray(task.target.val.label) != UNLABELED):
        return
    if plugins.loss_predictor(config.policy) is not None:
        raise errors.InputError(
            f"policy {config.policy!r} decides by labelled validation images, and "
            "there are none: set data.val_per_class, such as 3."
        )
    if config.eval.keep == "best_val":
        raise errors.InputError(
            "eval.keep='best_val' chooses by labelled validation images, and there are "
            "none: set data.val_per_class, such as 3."
        )


def _check_loss_predictor(config: Config) -> None:
    """Checks how the loss predictor is trained, and that it can rank the source."""
    options = config.loss_predictor
    if options.steps < 1:
        raise errors.InputError(
            f"loss_predictor.steps={options.steps} must be 1 or more."
        )
    if options.batch < 2 or options.batch % 2:
        raise errors.InputError(
            f"loss_predictor.batch={options.batch} must be even, 2 or more: its loss "
            "compares pairs."
        )
    if config.data.labelled_list:
        raise errors.InputError(
            f"policy {config.policy!r} decides by validation images, which MME's list "
            "files keep among the test images: leave data.labelled_list, data.val_list "
            "and data.unlabeled_list empty."
        )
    plugin_checks.check_source_acquisition(config)


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
    """Checks layer sizes and dropout rates of the model and the method."""
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
    if plugins.loss_predictor(config.policy) is not None:
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
