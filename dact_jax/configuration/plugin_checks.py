"""Checks that the plug-ins of a config fit together, by what they declare."""

from collections.abc import Sequence

import numpy as np

from dact_jax import errors, plugins
from dact_jax.configuration import defaults
from dact_jax.configuration.defaults import Config
from dact_jax.models import encoders, heads
from dact_jax.types import UNLABELED, Task


def check_options(config: Config) -> None:
    """Checks names and options of the plug-ins that the config names.

    Raises:
      InputError: there is no such plug-in or option, or an option has a wrong value.
    """
    used = defaults.in_use(config)
    used["acquisitions"].append(config.source_acquisition)
    for family, names in used.items():
        for name in names:
            plugins.check(family, name, dict(config[family].get(name, {})))


def check_pools(
    config: Config, task: Task, given: np.ndarray, *, asks_person: bool = False
) -> None:
    """Checks that the pools are large enough for the policy's options.

    Args:
      given: bool[N_t], target images whose labels are given at the start.
      asks_person: whether a person can label the others, whatever the data hold.

    Raises:
      InputError: names the fields and the numbers.
    """
    _check_any(config, task)
    label = np.asarray(task.target.train.label)
    _check_answers(config, label, asks_person=asks_person)

    known = label != UNLABELED
    fault = _pool_fault(config, task, given, ~given & (known | asks_person))
    if fault is None:
        return
    by_person = _pool_fault(config, task, given | known, ~known)
    if asks_person or known.all() or by_person is not None:
        raise fault
    raise errors.InputError(
        f"{str(fault).rstrip('.')}; or set oracle='human' to label the others yourself."
    )


def _pool_fault(
    config: Config, task: Task, given: np.ndarray, free: np.ndarray
) -> errors.InputError | None:
    """What is wrong with the pools' sizes; None: nothing.

    Args:
      given: bool[N_t], target images whose labels are given at the start.
      free: bool[N_t], those whose label can be bought.
    """
    try:
        plugins.check_pools(
            config.policy,
            dict(config.policies[config.policy]),
            num_source=len(task.source.train.label),
            num_target=len(free),
            num_free=int(free.sum()),
            num_given=int(given.sum()),
        )
    except errors.InputError as error:
        return error
    return None


def _check_answers(config: Config, label: np.ndarray, *, asks_person: bool) -> None:
    """Checks that somebody knows labels where they are bought, and only there."""
    buys = plugins.buys(config.policy)
    if asks_person and not buys:
        raise errors.InputError(
            f"policy {config.policy!r} buys no label, so there is nothing to ask a "
            "person: leave oracle at 'auto', or use policy='single'."
        )
    if buys and not asks_person and len(label) and not (label != UNLABELED).any():
        raise errors.InputError(
            "no image in the target's training pool has a label that "
            f"oracle={config.oracle!r} could reveal: set oracle='human' to label the "
            "images yourself."
        )


def check_acquisition(config: Config) -> None:
    """Checks that the acquisition can rank the target by what the method provides.

    Raises:
      InputError: names the options that are right, or the methods that would fit.
    """
    acquisition, method = config.acquisition, config.method
    options = config.acquisitions[acquisition]
    valid = plugins.on_target(acquisition)
    if any(options[option] != value for option, value in valid.items()):
        fields = " and ".join(
            f"acquisitions.{acquisition}.{option}={value!r}"
            for option, value in valid.items()
        )
        raise errors.InputError(
            f"acquisition {acquisition!r} ranks the target, whose labels are unknown: "
            f"set {fields}."
        )
    for output in plugins.needs(acquisition, options):
        if output not in plugins.provides(method):
            raise errors.InputError(
                f"acquisition {acquisition!r} reads the output {output!r}, which "
                f"method {method!r} does not provide; methods that do: "
                f"{_listed(plugins.providers(output))}."
            )


def check_source_acquisition(config: Config) -> None:
    """Checks that the loss predictor provides what the source acquisition reads.

    Raises:
      InputError: names the acquisitions that would fit.
    """
    method = plugins.loss_predictor(config.policy)
    assert method is not None
    provided = plugins.provides(method)

    def lacking(acquisition: str) -> list[str]:
        needs = plugins.needs(acquisition, config.acquisitions[acquisition])
        return [output for output in needs if output not in provided]

    for output in lacking(config.source_acquisition):
        fitting = [a for a in plugins.names("acquisitions") if not lacking(a)]
        raise errors.InputError(
            f"source_acquisition {config.source_acquisition!r} reads the output "
            f"{output!r}, which method {method!r} of the loss predictor does not "
            f"provide; acquisitions that fit: {_listed(fitting)}."
        )


def reads(config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """By domain, what acquisitions read of the evidence besides embedding, outputs."""
    source: tuple[str, ...] = ()
    if plugins.loss_predictor(config.policy) is not None:
        source = _read_by(config, config.source_acquisition)
    buys = plugins.buys(config.policy)
    return source, _read_by(config, config.acquisition) if buys else ()


def _read_by(config: Config, acquisition: str) -> tuple[str, ...]:
    return plugins.reads(acquisition, dict(config.acquisitions[acquisition]))


def check_inputs(config: Config) -> None:
    """Checks that acquisitions which see images as before adaptation see something.

    Raises:
      InputError: one of them reads the field "input", and a random network makes it.
    """
    if config.model.encoder in encoders.ON_VECTORS or _has_trained_encoder(config):
        return
    names = config.source_acquisition, config.acquisition  # as SOURCE and TARGET are
    for acquisition, fields in zip(names, reads(config), strict=True):
        if "input" in fields:
            raise errors.InputError(
                f"acquisition {acquisition!r} sees images as the network does before "
                "adaptation, and that network is untrained: set pretrain.steps, such "
                "as 500, or model.weights."
            )


def check_start(config: Config) -> None:
    """Checks that the acquisition can choose labels before round 0.

    Args:
      config: of a policy that asks it to (`Policy.ranks_first`).

    Raises:
      InputError: nothing has trained what it ranks by.
    """
    name = config.acquisition
    if plugins.blind(name):
        return
    way = ""
    if "start" in plugins.options("policies", config.policy):
        way = f"policies.{config.policy}.start='random'"
    outputs = plugins.needs(name, dict(config.acquisitions[name]))
    for output in outputs:
        if output.partition(".")[0] != heads.CLASSIFIER:
            raise errors.InputError(
                f"acquisition {name!r} reads the output {output!r}, which nothing "
                "trains before round 0, when it is to choose the first labels: set "
                f"{way or 'another acquisition'}."
            )
    if plugins.needs_logits(name) or outputs:
        trained = config.pretrain.steps > 0
    else:  # it ranks by the embedding, or by its input, which `check_inputs` checks
        trained = _has_trained_encoder(config) or "input" in _read_by(config, name)
    if not trained:
        raise errors.InputError(
            f"acquisition {name!r} is to choose the first labels, before round 0, by "
            "a network that is untrained: set pretrain.steps, such as 500"
            + (f", or {way}." if way else ".")
        )


def _has_trained_encoder(config: Config) -> bool:
    """Whether the network that round 0 begins with has learned what images show."""
    return bool(config.pretrain.steps or config.model.weights)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _check_any(config: Config, task: Task) -> None:
    """Checks that the target has images to train on, unless nothing uses them."""
    target = task.target
    if len(target.train.label):
        return
    buys, adapts = (
        plugins.buys(config.policy),
        plugins.trains_target_norm(config.method),
    )
    if not (buys or adapts or config.data.shots_per_class):
        return
    use = f"method {config.method!r} adapts to such images"
    if not adapts:
        use = f"policy {config.policy!r} buys their labels"
    if not (buys or adapts):
        use = "data.shots_per_class takes some of them"
    raise errors.InputError(
        f"target {target.name} has no image to train on, but {use}: "
        f"{len(target.test.label)} of its images are for test and "
        f"{len(target.val.label)} for validation; leave the split of some empty, lower "
        "data.val_per_class or data.test_fraction, or use preset=source_only."
    )
