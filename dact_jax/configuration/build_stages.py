"""ConfigDict -> what a run trains besides its rounds, and what all trainings share."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import ml_collections
import numpy as np
import optax

from dact_jax import devices, keys, plugins, types
from dact_jax.configuration import build_data, defaults
from dact_jax.data import joined
from dact_jax.methods import loss_prediction, source_only
from dact_jax.models import heads, model
from dact_jax.run_types import LossPredictorStage, Pretraining, Run
from dact_jax.training import inference, optimizer, schedules, step
from dact_jax.types import BatchSizes, Method, Model, TrainState, Variables

Config: TypeAlias = ml_collections.ConfigDict

_HEAD_FEATURES = "classifier.features"  # what k_center may see as the pool's features
_STAGE = ("optimizer", "learning_rate", "schedule", "momentum", "weight_decay")


def pretraining(
    config: Config, run: Run, encoder: nn.Module, center: types.Prepare
) -> Pretraining:
    """The run's network with one norm row and no head but those that classify."""
    options = config.pretrain
    modules = {
        name: module
        for name, module in run.method.heads.items()
        if name in (heads.BOTTLENECK, "classifier")
    }
    first = run.train.variables
    params = {name: first.params[name] for name in (model.ENCODER, *modules)}
    stage = _stage(
        config,
        run,
        "pretrain",
        Method(modules, (source_only.supervised,)),
        model.make_model(encoder, modules, 1),
        params,
        center,
    )
    return Pretraining(stage, options.folder, _identity(config, modules))


def prediction(
    config: Config, run: Run, encoder: nn.Module, center: types.Prepare
) -> LossPredictorStage:
    """(P_t, P_l): the run's encoder, once more, with a classifier and a predictor.

    It starts from the run's first weights, before any training.
    """
    method = predictor_method(config, len(run.task.class_names))
    network = model.make_model(encoder, method.heads, 1)
    key = keys.key(run.key, "predictor")
    fresh = network.init(
        keys.key(key, "init"), build_data.input_shape(config, run.task)
    )
    first = run.train.variables.params[model.ENCODER]
    params = {**fresh.params, model.ENCODER: first}
    inner = _stage(config, run, "loss_predictor", method, network, params, center)
    inner = inner._replace(
        key=key,
        forward=inference.make_forward(
            network, outputs(config, config.source_acquisition, method), center
        ),
    )
    source, target = run.task.source, run.task.target
    image = joined.join(
        source.train.image, target.train.image, config.data.device_bytes
    )
    both = source._replace(train=source.train._replace(image=image))
    return LossPredictorStage(
        inner._replace(task=run.task._replace(source=both)),
        jax.jit(
            loss_prediction.TARGET_LOSSES[
                config.methods[defaults.PREDICTOR].target_loss
            ]
        ),
    )


def predictor_method(config: Config, num_classes: int) -> Method:
    """The method that trains (P_t, P_l).

    Raises:
      InputError: one of its options is wrong.
    """
    options = dict(config.methods[defaults.PREDICTOR])
    return plugins.load("methods", defaults.PREDICTOR, num_classes, **options)


def outputs(config: Config, acquisition: str, method: Method) -> tuple[str, ...]:
    """What a forward pass gives an acquisition besides the embedding."""
    if config.acquisitions[acquisition].get("features") == "head":
        return *method.heads, _HEAD_FEATURES
    return tuple(method.heads)


def _stage(
    config: Config,
    run: Run,
    name: str,
    method: Method,
    network: Model,
    params: Mapping[str, Any],
    center: types.Prepare,
) -> Run:
    """A run of one round on labels alone, with the options of config[name]."""
    options = config[name]
    settings = config.train.copy_and_resolve_references()
    for field in _STAGE:
        settings[field] = options[field]
    settings.progress_steps = 0
    descent = make_optimizer(settings, len(method.losses))
    forward = inference.make_forward(network, tuple(method.heads), center)
    first = run.train.variables
    norm, stats = jax.tree.map(lambda leaf: leaf[:1], (first.norm, first.stats))
    nobody = np.zeros(len(run.task.target.train.label), bool)
    return run._replace(
        method=method,
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
            every=0, keep="last", score=make_score(config, network, center, forward)
        ),
        forward=forward,
        key=keys.key(run.key, name),
        train=make_state(Variables(params, norm, stats), descent, options.steps),
        pretraining=None,
        loss_predictor=None,
    )


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


def make_state(
    variables: Variables,
    descent: Callable[[int], optax.GradientTransformation],
    num_steps: int,
) -> TrainState:
    """The state before the first of so many iterations, on every device."""
    return devices.replicate(step.init_state(variables, descent(num_steps)))


def make_score(
    config: Config,
    network: Model,
    center: types.Prepare,
    forward: types.Forward,
) -> types.Forward:
    """What accuracies are measured with; `forward` itself where one view is seen."""
    views = build_data.make_views(config)
    if not views:
        return forward
    return inference.make_forward(network, ("classifier",), center, views)


def make_optimizer(
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
