"""ConfigDict -> everything that runs: the only module that reads a config."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import ml_collections
import numpy as np
import optax
from absl import logging

from dact_jax import (
    config as defaults,
    devices,
    engine,
    errors,
    inference,
    keys,
    optimizer,
    plugins,
    step,
)
from dact_jax.data import (
    augment,
    fingerprint,
    manifest,
    sources,
    splits,
    streams,
)
from dact_jax.models import encoders, model, pretrained
from dact_jax.run import Run, Schedule
from dact_jax.types import (
    BatchSizes,
    Dataset,
    Key,
    Method,
    Task,
)

Config: TypeAlias = ml_collections.ConfigDict


def build(config: Config) -> tuple[Run, dict[str, str]]:
    """Reads the data and makes what a run needs.

    Returns:
      The run, and "source", "target" -> fingerprint of the data that were read.

    Raises:
      InputError: a field, file or value is wrong, in one sentence.
    """
    # All that does not need the data comes first: reading photos takes a while.
    defaults.check(config)
    _check(config)
    center = _center(config)
    encoder = _encoder(config)
    weights = _weights(config)
    acquire = _plugin(config, "acquisitions")

    task, data = _task(config)
    method = _plugin(config, "methods", len(task.class_names))
    network = model.make_model(encoder, method.heads, config.model.num_norms)
    descent = _optimizer(config, method)
    key = jax.random.key(config.seed)
    side = config.data.crop
    shape = (side, side, config.data.channels)
    variables = network.init(keys.key(key, "init"), shape)
    if weights is not None:
        variables = pretrained.apply_weights(variables, weights, config.model.encoder)
    run = Run(
        task=task,
        method=method,
        model=network,
        optimizer=descent,
        policy=_plugin(config, "policies", acquire, _given(config, task)),
        acquisition=config.acquisition,
        schedule=_schedule(config),
        augment=_augment(config),
        forward=inference.make_forward(network, tuple(method.heads), center),
        key=key,
        train=engine.replicate(step.init_state(variables, descent)),
    )
    return run, data


_CHOSEN = {"methods": "method", "acquisitions": "acquisition", "policies": "policy"}


def _plugin(config: Config, family: str, *args: Any) -> Any:
    """The plug-in of a family that the config chose, made with its options."""
    name = config[_CHOSEN[family]]
    return plugins.load(family, name, *args, **dict(config[family].get(name, {})))


def _check(config: Config) -> None:
    if config.seed < 0:
        raise errors.InputError(f"seed={config.seed} must be 0 or more.")
    for family, chosen in _CHOSEN.items():
        plugins.options(family, config[chosen])  # refuses an unknown name
    if config.model.num_norms > 1 and config.method == "source_only":
        raise errors.InputError(
            "method 'source_only' trains no batch norm of the target: "
            "set model.num_norms=1."
        )
    _check_batches(config)


def _schedule(config: Config) -> Schedule:
    train = config.train
    return Schedule(
        steps=train.steps,
        sizes=BatchSizes(train.batch_source, train.batch_target, train.batch_unlabeled),
        chunk=train.chunk,
        save_every=train.save_every,
        eval_batch=train.eval_batch,
        carry_weights=train.carry_weights,
        carry_optimizer=train.carry_optimizer,
    )


def _check_batches(config: Config) -> None:
    train = config.train
    count = jax.device_count()
    for name in ("batch_source", "batch_target", "batch_unlabeled", "eval_batch"):
        if train[name] < 1 or train[name] % count:
            raise errors.InputError(
                f"train.{name}={train[name]} must be a positive multiple of the "
                f"{count} devices that share it."
            )
    if train.batch_source != train.batch_target:
        raise errors.InputError(
            f"train.batch_source={train.batch_source} and "
            f"train.batch_target={train.batch_target} must be equal: they are one "
            "forward pass."
        )
    for name in ("steps", "chunk", "save_every"):
        if train[name] < 1:
            raise errors.InputError(f"train.{name}={train[name]} must be 1 or more.")
    if train.save_every % train.chunk:
        raise errors.InputError(
            f"train.save_every={train.save_every} must be a multiple of "
            f"train.chunk={train.chunk}."
        )


def _task(config: Config) -> tuple[Task, dict[str, str]]:
    """The task, its small pools on the device, and what the record says of the data."""
    source = _read(config, config.data.source)
    files = tuple(
        config.data[name] for name in ("labelled_list", "val_list", "unlabeled_list")
    )
    lists = _lists(files)
    if lists is None:
        target = _read(config, config.data.target, classes=source.class_names)
    else:
        target = _read(config, *files)
    task = splits.make_task(
        source,
        target,
        seed=config.seed,
        val_per_class=config.data.val_per_class,
        transductive=config.data.transductive,
        transductive_set=config.data.transductive_set,
        lists=lists,
    )
    record = {"source": fingerprint.of(source), "target": fingerprint.of(target)}
    if record["source"] == record["target"]:
        raise errors.InputError(
            f"data.source and data.target are the same images ({source.name}): give "
            "two different places."
        )
    if config.model.weights:
        record["weights"] = fingerprint.of_file(config.model.weights)
    for side, data in (("source", source), ("target", target)):
        if data.skipped:
            record[f"{side}_skipped"] = f"{data.skipped} unreadable"
            logging.warning(
                "Unreadable images left out of %s: %d.", data.name, data.skipped
            )
    everywhere = devices.replicated(devices.mesh())
    return streams.place_task(task, config.data.device_bytes, everywhere), record


def _lists(files: tuple[str, ...]) -> splits.Lists | None:
    """The ids in the list files that fix T_l, T_v and T_u; None if none is given."""
    if not any(files):
        return None
    if not all(files):
        raise errors.InputError(
            "data.labelled_list, data.val_list and data.unlabeled_list go together: "
            f"give all three or none, not {files}."
        )
    return splits.Lists(*(manifest.read_ids(path) for path in files))


def _read(
    config: Config, *what: str, classes: tuple[str, ...] | None = None
) -> Dataset:
    data = config.data
    return sources.load(
        *what,
        size=data.size,
        channels=data.channels,
        root=data.root,
        tfds_dir=data.tfds_dir,
        on_error=data.on_error,
        classes=classes,
    )


def _given(config: Config, task: Task) -> np.ndarray:
    """bool[N_t], the labelled target images that come for free."""
    label = np.asarray(task.target.train.label)
    if config.data.labelled_list:
        listed = splits.find(
            task.target.id, manifest.read_ids(config.data.labelled_list)
        )
        return np.isin(np.arange(len(label)), listed)
    if config.data.shots_per_class:
        return splits.shots(
            label,
            config.data.shots_per_class,
            seed=config.seed,
            class_names=task.class_names,
        )
    return np.zeros(len(label), bool)


def _encoder(config: Config) -> nn.Module:
    options = config.model
    how = options.convolution
    if how == "auto":
        how = "tiled" if jax.default_backend() == "cpu" else "stock"
    return encoders.make(
        options.encoder,
        side=config.data.crop,
        num_norms=options.num_norms,
        formulation=how,
        variant=options.variant,
        batch_norm=options.batch_norm,
        dropout=options.dropout,
    )


def _optimizer(config: Config, method: Method) -> optax.GradientTransformation:
    train = config.train
    return optimizer.sgd(
        optimizer.inverse_decay(train.learning_rate, train.gamma, train.power),
        momentum=train.momentum,
        nesterov=train.nesterov,
        weight_decay=train.weight_decay,
        encoder_multiplier=train.encoder_multiplier,
        updates_per_iteration=len(method.losses),
    )


def _weights(config: Config) -> pretrained.Weights | None:
    path = config.model.weights
    return pretrained.load_weights(path) if path else None


def _center(config: Config) -> Callable[[jax.Array], jax.Array]:
    """What evaluation sees of an image.

    Raises:
      InputError: the crop, mean or std does not fit the images.
    """
    data = config.data
    center = functools.partial(
        augment.center, crop=data.crop, mean=tuple(data.mean), std=tuple(data.std)
    )
    stored = jax.ShapeDtypeStruct((1, data.size, data.size, data.channels), np.uint8)
    jax.eval_shape(center, stored)
    return center


def _augment(config: Config) -> Callable[[jax.Array, Key], jax.Array]:
    """What training sees of an image."""
    data = config.data
    return functools.partial(
        augment.augment,
        crop=data.crop,
        flip=data.flip,
        mean=tuple(data.mean),
        std=tuple(data.std),
    )
