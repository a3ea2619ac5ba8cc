"""ConfigDict -> the stages besides the rounds, and what all training shares."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from dact_jax import devices, keys, plugins, types
from dact_jax.configuration import build_data, checks, defaults
from dact_jax.configuration.defaults import Config
from dact_jax.data import joined
from dact_jax.models import heads, model, precisions
from dact_jax.models.precisions import Precision
from dact_jax.run_types import LossPredictorStage, Pretraining, Run
from dact_jax.training import inference, optimizer, schedules, step
from dact_jax.types import BatchSizes, Method, Model, TrainState, Variables

_STAGE = ("optimizer", "learning_rate", "schedule", "momentum", "weight_decay")


def pretraining_stage(config: Config, run: Run, encoder: nn.Module) -> Pretraining:
    """Training of the run's encoder and classifier on the source, before round 0.

    The network has a single batch norm and none of the method's other heads.
    """
    modules = {
        name: module
        for name, module in run.method.heads.items()
        if name in (heads.BOTTLENECK, heads.CLASSIFIER)
    }
    num_classes = len(run.task.class_names)
    supervised = plugins.load("methods", defaults.PRETRAIN_METHOD, num_classes)
    first = run.train.variables
    params = {name: first.params[name] for name in (model.ENCODER, *modules)}
    stage = _stage(
        config,
        run,
        "pretrain",
        Method(modules, supervised.losses),
        model.make_model(encoder, modules, 1, precision=precision(config)),
        params,
    )
    checks.check_losses(
        stage.method,
        stage.model,
        stage.train.variables,
        stage.schedule.sizes,
        build_data.input_shape(config, run.task),
    )
    return Pretraining(stage, config.pretrain.folder, _identity(config, modules))


def loss_predictor_stage(
    config: Config, run: Run, encoder: nn.Module
) -> LossPredictorStage:
    """Training of (P_t, P_l): an encoder, a classifier and a head that predicts losses.

    The encoder starts from the run's first weights, before any training.
    """
    name = plugins.loss_predictor(config.policy)
    assert name is not None
    num_classes = len(run.task.class_names)
    method = plugins.load("methods", name, num_classes, **dict(config.methods[name]))
    network = model.make_model(encoder, method.heads, 1, precision=precision(config))
    key = keys.key(run.key, "predictor")  # renamed, it would change all numbers
    fresh = network.init(
        keys.key(key, "init"), build_data.input_shape(config, run.task)
    )
    first = run.train.variables.params[model.ENCODER]
    params = {**fresh.params, model.ENCODER: first}
    stage = _stage(config, run, "loss_predictor", method, network, params)
    output_names = outputs(config, config.source_acquisition, method)
    forward = inference.make_forward(network, output_names, run.prepare)
    task = _joined(run, config.data.device_bytes)
    return LossPredictorStage(
        stage._replace(key=key, forward=forward, task=task),
        jax.jit(method.actual_loss),
    )


def precision(config: Config) -> Precision:
    """What `train.precision` stands for on this process's devices."""
    chosen = config.train.precision
    return precisions.of_device() if chosen == "auto" else chosen


def _joined(run: Run, device_bytes: int) -> types.Task:
    """The run's task, with the images of both training sets as its source."""
    source, target = run.task.source, run.task.target
    image = joined.join(source.train.image, target.train.image, device_bytes)
    train = source.train._replace(image=image)
    return run.task._replace(source=source._replace(train=train))


def outputs(config: Config, acquisition: str, method: Method) -> tuple[str, ...]:
    """Names of the outputs of a forward pass besides the embedding.

    These are all heads, and what the acquisition reads from within one of them, such as
    "classifier.features".
    """
    names = tuple(method.heads)
    needs = plugins.needs(acquisition, config.acquisitions[acquisition])
    inner = [output for output in needs if output not in names]
    return *names, *(output for output in inner if output.partition(".")[0] in names)


def _stage(
    config: Config,
    run: Run,
    name: str,
    method: Method,
    network: Model,
    params: Mapping[str, Any],
) -> Run:
    """A run of one round on labels alone, with the options of config[name]."""
    options = config[name]
    settings = config.train.copy_and_resolve_references()
    for field in _STAGE:
        settings[field] = options[field]
    settings.progress_steps = 0
    descent = make_optimizer(settings, len(method.losses))
    forward = inference.make_forward(network, tuple(method.heads), run.prepare)
    score = make_score(config, network, run.prepare, forward)
    first = run.train.variables
    encoder_stats = model.encoder_stats(first.stats)
    norm, stats = jax.tree.map(lambda leaf: leaf[:1], (first.norm, encoder_stats))
    unlabelled = np.zeros(len(run.task.target.train.label), bool)
    return run._replace(
        method=method,
        model=network,
        optimizer=descent,
        policy=plugins.load("policies", defaults.STAGE_POLICY, None, unlabelled),
        schedule=run.schedule._replace(
            steps=options.steps,
            first_steps=options.steps,
            progress_steps=0,
            sizes=BatchSizes(options.batch, 0, 0),
        ),
        evaluation=run.evaluation._replace(every=0, keep="last", score=score),
        forward=forward,
        key=keys.key(run.key, name),
        train=make_state(Variables(params, norm, stats), descent, options.steps),
        given=unlabelled,
        pretraining=None,
        loss_predictor=None,
        person=None,
    )


def _identity(config: Config, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    """All that pre-training depends on: runs that agree on it may share its folder."""
    fields = defaults.identity(config)
    for name in ("num_norms", "shared_affine"):
        fields["model"].pop(name)
    fields["data"].pop("shots_per_class")  # no target label is trained on
    fields["train"]["precision"] = precision(config)
    shared = ["multipliers", "bias_multiplier", "precision"]
    shared += schedules.OPTIONS[config.pretrain.schedule]
    if config.pretrain.optimizer == "sgd":
        shared.append("nesterov")
    return {
        **{name: fields[name] for name in ("seed", "data", "model", "pretrain")},
        "train": {name: fields["train"][name] for name in shared},
        "eval": {"crops": config.eval.crops},  # of the accuracy saved with it
        # A class and its attributes as text: "Linear( num_classes = 10 ... )".
        "heads": {name: " ".join(repr(m).split()) for name, m in modules.items()},
    }


def make_state(
    variables: Variables,
    descent: Callable[[int], optax.GradientTransformation],
    num_steps: int,
) -> TrainState:
    """The state before the first of `num_steps` iterations, on every device."""
    return devices.replicate(step.init_state(variables, descent(num_steps)))


def make_score(
    config: Config,
    network: Model,
    prepare: types.Prepare,
    forward: types.Forward,
) -> types.Forward:
    """The forward pass that accuracies are measured with.

    This is `forward` itself, unless an accuracy averages several crops of each image.
    """
    views = build_data.make_views(config)
    if not views:
        return forward
    return inference.make_forward(network, (heads.CLASSIFIER,), prepare, views)


def make_optimizer(
    options: Config, updates_per_iteration: int
) -> Callable[[int], optax.GradientTransformation]:
    """The optimizer of a round, by the round's number of iterations.

    Args:
      options: config.train, with changes where a stage has its own.
      updates_per_iteration: the number of losses of the method.
    """
    groups = optimizer.Groups(
        multipliers=dict(options.multipliers),
        bias_multiplier=options.bias_multiplier,
        weight_decay=options.weight_decay,
        undecayed=() if options.decay_others else (optimizer.OTHERS,),
    )

    def make(num_steps: int) -> optax.GradientTransformation:
        names = ("gamma", "power", "alpha", "decays", "factor")
        schedule = schedules.make(
            options.schedule,
            options.learning_rate,
            options.progress_steps or num_steps,
            **{name: options[name] for name in names},
        )
        if options.optimizer == "adam":
            return optimizer.adam(
                schedule,
                b1=options.momentum,
                groups=groups,
                updates_per_iteration=updates_per_iteration,
            )
        return optimizer.sgd(
            schedule,
            momentum=options.momentum,
            nesterov=options.nesterov,
            groups=groups,
            updates_per_iteration=updates_per_iteration,
        )

    return make
