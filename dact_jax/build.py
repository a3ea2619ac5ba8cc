"""ConfigDict -> everything that runs; only the build modules read a config."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import ml_collections
import numpy as np
import optax

from dact_jax import (
    build_checks,
    build_data,
    config as defaults,
    engine,
    inference,
    keys,
    optimizer,
    plugins,
    schedules,
    step,
)
from dact_jax.methods import source_only
from dact_jax.models import encoders, heads, model, pretrained
from dact_jax.run import Evaluation, Pretraining, Run, Schedule
from dact_jax.types import (
    SOURCE,
    TARGET,
    BatchSizes,
    Method,
    Model,
    TrainState,
    Variables,
)

Config: TypeAlias = ml_collections.ConfigDict

_STAGE = ("optimizer", "learning_rate", "schedule", "momentum", "weight_decay")


def build(config: Config) -> tuple[Run, dict[str, str]]:
    """Reads the data and makes what a run needs.

    Returns:
      The run, and "source", "target" -> fingerprint of the data that were read.

    Raises:
      InputError: a field, file or value is wrong, in one sentence.
    """
    # All that does not need the data comes first: reading photos takes a while.
    defaults.check(config)
    build_checks.check(config)
    center = build_data.make_center(config)
    encoder = _encoder(config)
    weights = _weights(config)
    acquire = _plugin(config, "acquisitions")

    task, data = build_data.read(config)
    method = _plugin(config, "methods", len(task.class_names))
    build_checks.check_method(config, method)
    build_checks.check_validation(config, task)
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
    build_checks.check_losses(method, network, variables, schedule.sizes, shape)
    descent = _optimizer(config.train, len(method.losses))
    forward = inference.make_forward(network, tuple(method.heads), center)
    run = Run(
        task=task,
        method=method,
        model=network,
        optimizer=descent,
        policy=_plugin(config, "policies", acquire, build_data.given(config, task)),
        acquisition=config.acquisition,
        schedule=schedule,
        evaluation=_evaluation(config, network, center, forward),
        augment=build_data.make_augment(config),
        forward=forward,
        key=key,
        train=_state(variables, descent, schedule.first_steps),
    )
    if config.pretrain.steps:
        stage = _pretraining(config, run, encoder, center)
        run = run._replace(pretraining=stage)
    return run, data


def _pretraining(
    config: Config,
    run: Run,
    encoder: nn.Module,
    center: inference.Prepare,
) -> Pretraining:
    """The run's network with one norm row and no head but those that classify."""
    options = config.pretrain
    modules = {
        name: module
        for name, module in run.method.heads.items()
        if name in (heads.BOTTLENECK, "classifier")
    }
    network = model.make_model(encoder, modules, 1)
    settings = config.train.copy_and_resolve_references()
    for name in _STAGE:
        settings[name] = options[name]
    settings.progress_steps = 0
    descent = _optimizer(settings, 1)
    forward = inference.make_forward(network, tuple(modules), center)
    nobody = np.zeros(len(run.task.target.train.label), bool)
    first = run.train.variables
    params = {name: first.params[name] for name in (model.ENCODER, *modules)}
    norm, stats = jax.tree.map(lambda leaf: leaf[:1], (first.norm, first.stats))
    stage = run._replace(
        method=Method(modules, (source_only.supervised,)),
        model=network,
        optimizer=descent,
        policy=plugins.load("policies", "fixed", None, nobody),
        schedule=run.schedule._replace(
            steps=options.steps,
            first_steps=options.steps,
            progress_steps=0,
            sizes=BatchSizes(options.batch, 0, 0),
        ),
        evaluation=run.evaluation._replace(
            every=0, keep="last", score=_score(config, network, center, forward)
        ),
        forward=forward,
        key=keys.key(run.key, "pretrain"),
        train=_state(Variables(params, norm, stats), descent, options.steps),
    )
    return Pretraining(stage, options.folder, _identity(config, modules))


def _identity(config: Config, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    """All that pre-training depends on; runs that share it may share its folder."""
    found = defaults.identity(config)
    for name in ("num_norms", "shared_affine"):
        found["model"].pop(name)
    found["data"].pop("shots_per_class")  # no target label is trained on
    shared = ["multipliers", "bias_multiplier"]
    shared += schedules.OPTIONS[config.pretrain.schedule]
    if config.pretrain.optimizer == "sgd":
        shared.append("nesterov")
    return {
        **{name: found[name] for name in ("seed", "data", "model", "pretrain")},
        "train": {name: found["train"][name] for name in shared},
        "eval": {"crops": config.eval.crops},  # of the accuracy that is kept with it
        # A class and its attributes, in words: "Linear( num_classes = 10 ... )".
        "heads": {name: " ".join(repr(m).split()) for name, m in modules.items()},
    }


def _state(
    variables: Variables,
    descent: Callable[[int], optax.GradientTransformation],
    num_steps: int,
) -> TrainState:
    return engine.replicate(step.init_state(variables, descent(num_steps)))


def _plugin(config: Config, family: str, *args: Any) -> Any:
    """The plug-in of a family that the config chose, made with its options."""
    name = config[build_checks.CHOSEN[family]]
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
    center: inference.Prepare,
    forward: inference.Forward,
) -> Evaluation:
    return Evaluation(
        batch=config.train.eval_batch,
        every=config.eval.every,
        keep=config.eval.keep,
        domain={"source": SOURCE, "target": TARGET}[config.eval.branch],
        score=_score(config, network, center, forward),
    )


def _score(
    config: Config,
    network: Model,
    center: inference.Prepare,
    forward: inference.Forward,
) -> inference.Forward:
    """What accuracies are measured with; `forward` itself where one view is seen."""
    views = build_data.make_views(config)
    if not views:
        return forward
    return inference.make_forward(network, ("classifier",), center, views)


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
        widths=tuple(options.widths),
    )


def _optimizer(
    options: Config, updates_per_iteration: int
) -> Callable[[int], optax.GradientTransformation]:
    """Iterations of a round -> its optimiser.

    Args:
      options: `train`, or the same fields of another stage.
      updates_per_iteration: losses of the method.
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


def _weights(config: Config) -> pretrained.Weights | None:
    path = config.model.weights
    return pretrained.load_weights(path) if path else None
