"""Plug-ins by family and name: `methods/mme.py` is the method "mme".

A plug-in is a module with `make`, whose keyword options with a default are fields of
the config. It may also have, at module level:

* `OPTIONS`: for each option its kind and what it is, as `kinds.Option`. Values of
  another kind are refused at once, and `--help` shows the line.
* `check(*, option, ...)`: raises InputError for values of options that are wrong
  whatever the data are.
* in methods, `PROVIDES`: outputs of its heads, besides the classifier's, that
  acquisitions may read. "discriminator" is logits of the domain, "predicted_loss" is
  the predicted loss. `TRAINS_TARGET_NORM = False`: it updates no batch norm of the
  target.
* in acquisitions, `NEEDS`: outputs that it reads besides the classifier's logits,
  such as "classifier.features" (the input of its last layer), "classifier.dropout" (its
  logits under dropout, float32[N, 3, K]) or one of a method's `PROVIDES`, and
  `NEEDS_IF = {(option, value): outputs}`. `ON_TARGET = {option: value}`: the values
  that it must have to rank the target, whose labels are unknown. `READS`: fields of
  the evidence that it reads besides embedding and outputs, of ("input", "bought");
  `READS_IF = {(option, value): fields}`. `NEEDS_LOGITS = False`: it reads no logits of
  the classifier; one that also reads "input" ranks by it in place of the embedding.
  `BLIND = True`: it reads no evidence. `MIN_CLASSES`: fewest classes that it can rank
  by; 1 if absent. `SCORE`: what its scores are and which is first, where it picks in
  their order.
* in policies, `check_pools(*, num_source, num_target, num_free, num_given, option,
  ...)`: raises InputError for pools that are too small. It is called before an image
  is read, where they are files. `BUYS = False`: it never ranks the target.
  `LOSS_PREDICTOR`: the method that trains the network by which it chooses source
  samples.
"""

import functools
import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from dact_jax import errors, kinds


def names(family: str) -> tuple[str, ...]:
    """The plug-ins of a family ("methods"): its files not beginning with _, sorted."""
    package = importlib.import_module(f"dact_jax.{family}")
    folders = tuple((path, _changed(path)) for path in package.__path__)
    return _files(folders)


@functools.cache
def _files(folders: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """The modules in folders, each with the time of its last change."""
    modules = pkgutil.iter_modules([path for path, _ in folders])
    return tuple(sorted(m.name for m in modules if not m.name.startswith("_")))


def _changed(path: str) -> int:
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0  # in an archive


def about(family: str, name: str) -> str:
    """The first line of a plug-in's docstring."""
    return (module(family, name).__doc__ or "").strip().partition("\n")[0]


def options(family: str, name: str) -> dict[str, Any]:
    """The keyword options of a plug-in's `make` that have a default, with it.

    Raises:
      InputError: the family has no plug-in of that name.
    """
    return dict(_defaults(module(family, name).make))


@functools.cache
def _defaults(make: Callable[..., Any]) -> Mapping[str, Any]:
    parameters = inspect.signature(make).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }


def declared(family: str, name: str) -> dict[str, kinds.Option]:
    """OPTIONS of a plug-in, by option; any value like the default where it has none.

    Raises:
      InputError: the family has no plug-in of that name.
    """
    known = getattr(module(family, name), "OPTIONS", {})
    return {
        option: known.get(option, kinds.Option(kinds.like(default), ""))
        for option, default in options(family, name).items()
    }


def load(family: str, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """What `dact_jax.<family>.<name>.make(*args, **kwargs)` returns.

    Raises:
      InputError: no such plug-in, or it has no such option.
    """
    make = module(family, name).make
    _check_names(family, name, kwargs, tuple(inspect.signature(make).parameters))
    _check_kinds(family, name, kwargs)
    return make(*args, **kwargs)


def check(family: str, name: str, chosen: Mapping[str, Any]) -> None:
    """Checks what can be checked of a plug-in's options without data.

    Args:
      chosen: values by option; the others have their defaults.

    Raises:
      InputError: no such plug-in or option, or `check` of the plug-in rejects a value.
    """
    defaults = options(family, name)
    _check_names(family, name, chosen, tuple(defaults))
    _check_kinds(family, name, chosen)
    check_options = getattr(module(family, name), "check", None)
    if check_options is not None:
        values = {**defaults, **chosen}
        checked = inspect.signature(check_options).parameters
        check_options(**{option: values[option] for option in checked})


def trains_target_norm(method: str) -> bool:
    """TRAINS_TARGET_NORM of a method: whether it updates batch norm of the target."""
    return getattr(module("methods", method), "TRAINS_TARGET_NORM", True)


def provides(method: str) -> tuple[str, ...]:
    """PROVIDES of a method, and the outputs of the classifier that every one has."""
    own = getattr(module("methods", method), "PROVIDES", ())
    return "classifier", "classifier.features", "classifier.dropout", *own


def providers(output: str) -> tuple[str, ...]:
    """The methods that provide an output, such as "discriminator"."""
    return tuple(name for name in names("methods") if output in provides(name))


def needs(acquisition: str, chosen: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """NEEDS of an acquisition, and those of NEEDS_IF that its options ask for.

    Args:
      chosen: values by option; the others have their defaults.
    """
    return _demanded(acquisition, chosen, "NEEDS")


def _demanded(
    acquisition: str, chosen: Mapping[str, Any] | None, name: str
) -> tuple[str, ...]:
    """What is declared as `name`, and as `name`_IF for the values of its options."""
    plugin = module("acquisitions", acquisition)
    values = {**options("acquisitions", acquisition), **(chosen or {})}
    found = list(getattr(plugin, name, ()))
    for (option, value), more in getattr(plugin, f"{name}_IF", {}).items():
        if values[option] == value:
            found += more
    return tuple(found)


def on_target(acquisition: str) -> Mapping[str, Any]:
    """ON_TARGET of an acquisition: values by option that it must have on the target."""
    return getattr(module("acquisitions", acquisition), "ON_TARGET", {})


def reads(acquisition: str, chosen: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """READS of an acquisition, and those of READS_IF that its options ask for.

    Args:
      chosen: values by option; the others have their defaults.
    """
    return _demanded(acquisition, chosen, "READS")


def needs_logits(acquisition: str) -> bool:
    """NEEDS_LOGITS of an acquisition: whether it reads the classifier's logits."""
    plugin = module("acquisitions", acquisition)
    return getattr(plugin, "NEEDS_LOGITS", not blind(acquisition))


def blind(acquisition: str) -> bool:
    """BLIND of an acquisition: whether it reads no evidence."""
    return getattr(module("acquisitions", acquisition), "BLIND", False)


def score(acquisition: str) -> str:
    """SCORE of an acquisition; "" where picks are not in the order of their scores."""
    return getattr(module("acquisitions", acquisition), "SCORE", "")


def check_classes(acquisition: str, num_classes: int) -> None:
    """Checks MIN_CLASSES of an acquisition, before anything is trained.

    Raises:
      InputError: the data have fewer classes.
    """
    fewest = getattr(module("acquisitions", acquisition), "MIN_CLASSES", 1)
    if num_classes < fewest:
        raise errors.InputError(
            f"acquisition {acquisition!r} needs at least {fewest} classes, and there "
            f"is {num_classes}; choose another, or add images of other classes."
        )


def check_pools(policy: str, chosen: Mapping[str, Any], **sizes: int) -> None:
    """Calls `check_pools` of a policy.

    Args:
      chosen: values by option; the others have their defaults.
      **sizes: `num_source` and `num_target`, of the pools; `num_free`, target images
        that can be labelled; `num_given`, those whose labels are given.

    Raises:
      InputError: the pools are too small for the options.
    """
    check_sizes = getattr(module("policies", policy), "check_pools", None)
    if check_sizes is not None:
        values = {**options("policies", policy), **chosen, **sizes}
        checked = inspect.signature(check_sizes).parameters
        check_sizes(**{name: values[name] for name in checked})


def buys(policy: str) -> bool:
    """BUYS of a policy: whether it ranks the target by an acquisition."""
    return getattr(module("policies", policy), "BUYS", True)


def loss_predictor(policy: str) -> str | None:
    """LOSS_PREDICTOR of a policy; None where it does not choose source samples."""
    return getattr(module("policies", policy), "LOSS_PREDICTOR", None)


def module(family: str, name: str) -> ModuleType:
    """The file of a plug-in.

    Raises:
      InputError: the family has no plug-in of that name.
    """
    if name not in names(family):
        raise errors.InputError(
            f"there is no {name!r} in {family}; "
            f"{errors.suggestion(str(name), names(family))}"
        )
    return importlib.import_module(f"dact_jax.{family}.{name}")


def _check_kinds(family: str, name: str, given: Mapping[str, Any]) -> None:
    for option, (kind, _) in declared(family, name).items():
        if option in given:
            kinds.check(f"{family}.{name}.{option}", given[option], kind)


def _check_names(
    family: str, name: str, given: Mapping[str, Any], known: tuple[str, ...]
) -> None:
    for option in given:
        if option not in known:
            raise errors.InputError(
                f"{family} {name!r} has no option {option!r}; "
                f"{errors.suggestion(option, known)}"
            )
