"""Checks of fields that must fit each other, before any long work.

The values of each field by itself are checked before, by `defaults.check`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, plugins
from dact_jax.configuration import plugin_checks
from dact_jax.configuration.defaults import Config
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
    _check_evaluation(config)
    if plugins.buys(config.policy):
        plugin_checks.check_acquisition(config)
    plugin_checks.check_inputs(config)


def check_method(config: Config, method: Method) -> None:
    """Checks that a method which adapts a trained network is given one.

    Raises:
      InputError: names the field.
    """
    if method.adapts_trained and not config.pretrain.steps:
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
    way = "set data.val_per_class, such as 3"
    if config.data.val_per_class:  # it found no labelled image
        way = "label some images of the target, and give them the split val"
    if plugins.loss_predictor(config.policy) is not None:
        raise errors.InputError(
            f"policy {config.policy!r} decides by labelled validation images, and "
            f"there are none: {way}."
        )
    if config.eval.keep == "best_val":
        raise errors.InputError(
            "eval.keep='best_val' chooses by labelled validation images, and there are "
            f"none: {way}."
        )


def _check_loss_predictor(config: Config) -> None:
    """Checks how the loss predictor is trained, and that it can rank the source."""
    options = config.loss_predictor
    if options.batch % 2:
        raise errors.InputError(
            f"loss_predictor.batch={options.batch} must be even: its loss compares "
            "pairs."
        )
    if config.data.labelled_list:
        raise errors.InputError(
            f"policy {config.policy!r} decides by validation images, which MME's list "
            "files keep among the test images: leave data.labelled_list, data.val_list "
            "and data.unlabeled_list empty."
        )
    plugin_checks.check_source_acquisition(config)


def _check_evaluation(config: Config) -> None:
    options = config.eval
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
        if size % count:
            raise errors.InputError(
                f"{field}={size} must be a multiple of the {count} devices that share "
                "it."
            )
    if train.batch_source != train.batch_target:
        raise errors.InputError(
            f"train.batch_source={train.batch_source} and "
            f"train.batch_target={train.batch_target} must be equal: "
            "methods may stack them in one forward pass."
        )
    if train.save_every % train.chunk:
        raise errors.InputError(
            f"train.save_every={train.save_every} must be a multiple of "
            f"train.chunk={train.chunk}."
        )
