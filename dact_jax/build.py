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
    Model,
    Task,
    Variables,
)

Config: TypeAlias = ml_collections.ConfigDict


def build(config: Config) -> tuple[Run, dict[str, str]]:
    """Reads the data and makes what a run needs.

    Returns:
      The run, and "source", "target" -> fingerprint of the data that were read.

    Raises:
      InputError: a field, file or value is wrong, in one sentence.
    """
    defaults.check(config)
    if config.seed < 0:
        raise errors.InputError(f"seed={config.seed} must be 0 or more.")
    key = jax.random.key(config.seed)
    schedule = _schedule(config)
    center = _transform(config, train=False)
    side, channels = config.data.size, config.data.channels
    stored = jax.ShapeDtypeStruct((1, side, side, channels), np.uint8)
    jax.eval_shape(center, stored)  # refuses a crop, mean or std that does not fit
    task, data = _task(config)
    method = plugins.load(
        "methods",
        config.method,
        len(task.class_names),
        **_options(config, "methods", config.method),
    )
    network = model.make_model(_encoder(config), method.heads, config.model.num_norms)
    descent = _optimizer(config, method)
    labelled = _given(config, task)
    if config.model.num_norms > 1 and config.method == "source_only":
        raise errors.InputError(
            "method 'source_only' trains no batch norm of the target: "
            "set model.num_norms=1."
        )
    acquire = plugins.load(
        "acquisitions",
        config.acquisition,
        **_options(config, "acquisitions", config.acquisition),
    )
    policy = plugins.load(
        "policies",
        config.policy,
        acquire,
        labelled,
        **_options(config, "policies", config.policy),
    )
    variables = _variables(config, network, keys.key(key, "init"))
    run = Run(
        task=task,
        method=method,
        model=network,
        optimizer=descent,
        policy=policy,
        acquisition=config.acquisition,
        schedule=schedule,
        augment=_transform(config, train=True),
        forward=inference.make_forward(network, tuple(method.heads), center),
        key=key,
        train=engine.replicate(step.init_state(variables, descent)),
    )
    return run, data


def _schedule(config: Config) -> Schedule:
    _check_batches(config)
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


def _options(config: Config, family: str, name: str) -> dict[str, Any]:
    return dict(config[family].get(name, {}))


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


def _variables(config: Config, network: Model, key: Key) -> Variables:
    side = config.data.crop
    variables = network.init(key, (side, side, config.data.channels))
    if not config.model.weights:
        return variables
    return pretrained.apply_weights(
        variables, pretrained.load_weights(config.model.weights), config.model.encoder
    )


def _transform(config: Config, *, train: bool) -> Callable[..., jax.Array]:
    data = config.data
    options = {"crop": data.crop, "mean": tuple(data.mean), "std": tuple(data.std)}
    if train:
        return functools.partial(augment.augment, flip=data.flip, **options)
    return functools.partial(augment.center, **options)
