"""ConfigDict -> everything that runs; only the build modules read a config."""

from typing import Any, TypeAlias

import flax.linen as nn
import jax
import ml_collections
import numpy as np

from dact_jax import keys, plugins, types
from dact_jax.configuration import build_data, build_stages, checks, defaults
from dact_jax.models import encoders, model, pretrained
from dact_jax.run_types import Evaluation, Run, Schedule
from dact_jax.training import inference
from dact_jax.types import SOURCE, TARGET, Acquisitions, BatchSizes, Model

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
    checks.check(config)
    center = build_data.make_center(config)
    encoder = make_encoder(config)
    weights = _weights(config)
    acquire = _acquisitions(config)
    for family, args in (  # whatever the data are
        ("methods", (2,)),
        ("policies", (acquire, np.zeros(1, bool))),
    ):
        _plugin(config, family, *args)
    if config.policy == defaults.CHOOSES_SOURCE:
        build_stages.predictor_method(config, 2)

    task, data = build_data.read(config)
    method = _plugin(config, "methods", len(task.class_names))
    checks.check_method(config, method)
    checks.check_validation(config, task)
    network = model.make_model(
        encoder,
        method.heads,
        config.model.num_norms,
        shared_affine=config.model.shared_affine,
    )
    key = jax.random.key(config.seed)
    shape = build_data.input_shape(config, task)

    variables = network.init(keys.key(key, "init"), shape)
    if weights is not None:
        variables = pretrained.apply_weights(variables, weights, config.model.encoder)
    if method.prepare is not None:
        variables = method.prepare(variables)
    schedule = _schedule(config)
    checks.check_losses(method, network, variables, schedule.sizes, shape)
    descent = build_stages.make_optimizer(config.train, len(method.losses))
    forward = inference.make_forward(
        network, build_stages.outputs(config, config.acquisition, method), center
    )
    run = Run(
        task=task,
        method=method,
        model=network,
        optimizer=descent,
        policy=_plugin(config, "policies", acquire, build_data.given(config, task)),
        acquisition=config.acquisition,
        source_acquisition=config.source_acquisition,
        schedule=schedule,
        evaluation=_evaluation(config, network, center, forward),
        augment=build_data.make_augment(config),
        prepare=center,
        forward=forward,
        key=key,
        train=build_stages.make_state(variables, descent, schedule.first_steps),
    )
    if config.pretrain.steps:
        stage = build_stages.pretraining(config, run, encoder, center)
        run = run._replace(pretraining=stage)
    if config.policy == defaults.CHOOSES_SOURCE:
        predictor = build_stages.prediction(config, run, encoder, center)
        run = run._replace(loss_predictor=predictor)
    return run, data


def _acquisitions(config: Config) -> Acquisitions:
    name = config.source_acquisition
    options = dict(config.acquisitions[name])
    return Acquisitions(
        target=_plugin(config, "acquisitions"),
        source=plugins.load("acquisitions", name, **options),
        blind=plugins.blind("acquisitions", name),
    )


def _plugin(config: Config, family: str, *args: Any) -> Any:
    """The plug-in of a family that the config chose, made with its options."""
    name = config[checks.CHOSEN[family]]
    return plugins.load(family, name, *args, **dict(config[family].get(name, {})))


def _schedule(config: Config) -> Schedule:
    train = config.train
    return Schedule(
        steps=train.steps,
        first_steps=train.first_steps or train.steps,
        progress_steps=train.progress_steps,
        sizes=BatchSizes(train.batch_source, train.batch_target, train.batch_unlabeled),
        chunk=train.chunk,
        save_every=train.save_every,
        carry_weights=train.carry_weights,
        carry_optimizer=train.carry_optimizer,
    )


def _evaluation(
    config: Config,
    network: Model,
    center: types.Prepare,
    forward: types.Forward,
) -> Evaluation:
    return Evaluation(
        batch=config.train.eval_batch,
        every=config.eval.every,
        keep=config.eval.keep,
        domain={"source": SOURCE, "target": TARGET}[config.eval.branch],
        score=build_stages.make_score(config, network, center, forward),
    )


def make_encoder(config: Config) -> nn.Module:
    """The encoder that `model.*` describes, with the convolutions of the device."""
    options = config.model
    how = options.convolution
    if how == "auto":
        how = "tiled" if jax.default_backend() == "cpu" else "stock"
    return encoders.make(
        options.encoder,
        side=config.data.crop,
        num_norms=options.num_norms,
        implementation=how,
        variant=options.variant,
        batch_norm=options.batch_norm,
        dropout=options.dropout,
        widths=tuple(options.widths),
    )


def _weights(config: Config) -> pretrained.Weights | None:
    path = config.model.weights
    return pretrained.load_weights(path) if path else None
