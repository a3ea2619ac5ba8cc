"""ConfigDict -> everything that a run needs."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np

from dact_jax import errors, keys, plugins, types
from dact_jax.configuration import (
    build_data,
    build_stages,
    checks,
    defaults,
    plugin_checks,
)
from dact_jax.configuration.asking import build_person
from dact_jax.configuration.defaults import Config
from dact_jax.configuration.domains import embedded
from dact_jax.embedding import sweep
from dact_jax.embedding.sweep import Progress
from dact_jax.models import encoders, model, pretrained
from dact_jax.processes import alike
from dact_jax.run_types import Evaluation, Run, Schedule
from dact_jax.training import inference
from dact_jax.types import (
    SOURCE,
    TARGET,
    Acquisitions,
    BatchSizes,
    Key,
    Method,
    Model,
    Policy,
    Task,
    Variables,
)


def build(
    config: Config,
    *,
    embed: embedded.Embed = sweep.embed,
    progress: Progress = lambda done, total: None,
) -> tuple[Run, dict[str, str]]:
    """Checks the config, reads the data and makes what a run needs.

    Args:
      embed: computes the vectors of images, where they are embedded.
      progress: is told how far images are embedded.

    Returns:
      The run, and the record of `build_data.read`.

    Raises:
      InputError: a field, file or value is wrong.
    """
    # Check all that does not depend on the data first: reading photos takes a while.
    defaults.check(config)
    checks.check(config)
    if make_policy(config, np.zeros(0, bool)).ranks_first:
        plugin_checks.check_start(config)
    prepare = build_data.make_prepare(config)
    encoder = make_encoder(config)
    embedding = embedded.make_embedding(config, embed, progress)
    weights = _weights(config, encoder)
    listed = build_data.listed(config)
    if listed is not None:
        alike.check_names({"source": listed.source.id, "target": listed.target.id})
        _check_pools(config, listed)

    task, data = build_data.read(config, embedding)
    given = _check_pools(config, task)
    person = build_person.make_person(config, task, given, data["target"])
    if person is not None:
        task = build_person.hide(task, given)
    if plugins.buys(config.policy):
        plugins.check_classes(config.acquisition, len(task.class_names))
    method = make_method(config, len(task.class_names))
    checks.check_method(config, method)
    checks.check_validation(config, task)
    network = make_network(config, encoder, method)
    variables = _variables(config, task, method, network, weights)
    run = _run(config, task, method, network, variables, prepare, given)
    run = run._replace(person=person)
    if config.pretrain.steps:
        pretraining = build_stages.pretraining_stage(config, run, encoder)
        run = run._replace(pretraining=pretraining)
    if plugins.loss_predictor(config.policy) is not None:
        loss_predictor = build_stages.loss_predictor_stage(config, run, encoder)
        run = run._replace(loss_predictor=loss_predictor)
    return run, data


def _check_pools(config: Config, task: Task) -> np.ndarray:
    """Checks the pools, and returns which target labels are given, bool[N_t]."""
    given = build_person.given(config, task)
    asks_person = build_person.asks_person(config, task)
    plugin_checks.check_pools(config, task, given, asks_person=asks_person)
    return given


def make_method(config: Config, num_classes: int) -> Method:
    """The method that `method` names, with its options."""
    return _load(config, "methods", num_classes)


def make_network(config: Config, encoder: nn.Module, method: Method) -> Model:
    """The encoder with the heads of the method and the norm rows of `model.*`."""
    return model.make_model(
        encoder,
        method.heads,
        config.model.num_norms,
        shared_affine=config.model.shared_affine,
        precision=build_stages.precision(config),
    )


def make_policy(config: Config, given: np.ndarray) -> Policy:
    """The policy that `policy` names, with its options.

    Args:
      given: bool[N_t], target images whose labels are given at the start.
    """
    return _load(config, "policies", _acquisitions(config), given)


def target_domain(config: Config) -> int:
    """The batch-norm row that target images pass in evaluation (`eval.branch`)."""
    return {"source": SOURCE, "target": TARGET}[config.eval.branch]


def _variables(
    config: Config,
    task: Task,
    method: Method,
    network: Model,
    weights: pretrained.Weights | None,
) -> Variables:
    """The variables before training, with which all losses can be traced."""
    shape = build_data.input_shape(config, task)
    variables = network.init(keys.key(keys.root(config.seed), "init"), shape)
    if weights is not None:
        variables = pretrained.apply_weights(variables, weights, config.model.encoder)
    if method.prepare is not None:
        variables = method.prepare(variables)
    sizes = _schedule(config).sizes
    checks.check_losses(method, network, variables, sizes, shape)
    return variables


def _run(
    config: Config,
    task: Task,
    method: Method,
    network: Model,
    variables: Variables,
    prepare: types.Prepare,
    given: np.ndarray,
) -> Run:
    """The run without its stages."""
    schedule = _schedule(config)
    if not len(task.target.train.label):  # `check_pools`: nothing uses them
        sizes = schedule.sizes._replace(target=0, unlabeled=0)
        schedule = schedule._replace(sizes=sizes)
    optimizer = build_stages.make_optimizer(config.train, len(method.losses))
    outputs = build_stages.outputs(config, config.acquisition, method)
    forward = inference.make_forward(network, outputs, prepare)
    return Run(
        task=task,
        method=method,
        model=network,
        optimizer=optimizer,
        policy=make_policy(config, given),
        acquisition=config.acquisition,
        source_acquisition=config.source_acquisition,
        schedule=schedule,
        evaluation=_evaluation(config, network, prepare, forward),
        augment=build_data.make_augment(config),
        prepare=prepare,
        forward=forward,
        key=keys.root(config.seed),
        train=build_stages.make_state(variables, optimizer, schedule.first_steps),
        given=given,
        reads=plugin_checks.reads(config),
    )


def _acquisitions(config: Config) -> Acquisitions:
    name = config.source_acquisition
    options = dict(config.acquisitions[name])
    return Acquisitions(
        target=_load(config, "acquisitions"),
        source=plugins.load("acquisitions", name, **options),
        blind=plugins.blind(name),
        target_blind=plugins.blind(config.acquisition),
    )


def _load(config: Config, family: str, *args: Any) -> Any:
    """Makes the plug-in of a family that the config chooses, with its options."""
    name = config[defaults.CHOSEN[family]]
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
        save_minutes=train.save_minutes,
        carry_weights=train.carry_weights,
        carry_optimizer=train.carry_optimizer,
    )


def _evaluation(
    config: Config,
    network: Model,
    prepare: types.Prepare,
    forward: types.Forward,
) -> Evaluation:
    return Evaluation(
        batch=config.train.eval_batch,
        every=config.eval.every,
        keep=config.eval.keep,
        domain=target_domain(config),
        score=build_stages.make_score(config, network, prepare, forward),
    )


def make_encoder(config: Config) -> nn.Module:
    """The encoder that `model.*` describes, with the convolutions of the device."""
    options = config.model
    implementation = options.convolution
    if implementation == "auto":
        implementation = "by_shape" if jax.default_backend() == "cpu" else "stock"
    return encoders.make(
        options.encoder,
        side=config.data.crop,
        num_norms=options.num_norms,
        implementation=implementation,
        variant=options.variant,
        batch_norm=options.batch_norm,
        dropout=options.dropout,
        widths=tuple(options.widths),
    )


def _weights(config: Config, encoder: nn.Module) -> pretrained.Weights | None:
    """The pretrained weights, which fit the encoder; None if there are none."""
    path, prefix = config.model.weights, config.model.weights_prefix
    if prefix and not path:
        raise errors.InputError(
            f"model.weights_prefix={prefix!r} chooses among the names of a file: give "
            "the file as model.weights."
        )
    if not path:
        return None
    weights = pretrained.load_weights(path, prefix)
    if config.model.encoder not in encoders.ON_VECTORS:
        side, channels = config.data.crop, config.data.channels
        network = make_network(config, encoder, Method({}, ()))

        def load(key: Key) -> Variables:
            variables = network.init(key, (side, side, channels))
            return pretrained.apply_weights(variables, weights, config.model.encoder)

        jax.eval_shape(load, keys.root(0))  # checks names and shapes
    return weights
