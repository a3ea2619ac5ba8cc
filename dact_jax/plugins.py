"""Components found by module name: `methods/mme.py` is the method "mme"."""

import importlib
import inspect
import pkgutil
from typing import Any

from dact_jax import errors


def names(family: str) -> tuple[str, ...]:
    """The plug-ins of a family ("methods"): its files not beginning with _, sorted."""
    package = importlib.import_module(f"dact_jax.{family}")
    modules = pkgutil.iter_modules(package.__path__)
    return tuple(sorted(m.name for m in modules if not m.name.startswith("_")))


def options(family: str, name: str) -> dict[str, Any]:
    """The keyword options of a plug-in's `make` that have a default, with it.

    Raises:
      InputError: the family has no plug-in of that name.
    """
    parameters = inspect.signature(_make(family, name)).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }


def needs(family: str, name: str) -> tuple[str, ...]:
    """The heads whose outputs a plug-in reads besides the classifier's: its NEEDS."""
    return getattr(_module(family, name), "NEEDS", ())


def blind(family: str, name: str) -> bool:
    """Whether a plug-in looks at no evidence: its BLIND."""
    return getattr(_module(family, name), "BLIND", False)


def load(family: str, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """What `dact_jax.<family>.<name>.make(*args, **kwargs)` returns.

    Raises:
      InputError: no such plug-in, or it has no such option.
    """
    make = _make(family, name)
    known = tuple(inspect.signature(make).parameters)
    for option in kwargs:
        if option not in known:
            raise errors.InputError(
                f"{family} {name!r} has no option {option!r}; "
                f"{errors.suggestion(option, known)}"
            )
    return make(*args, **kwargs)


def _make(family: str, name: str) -> Any:
    return _module(family, name).make


def _module(family: str, name: str) -> Any:
    if name not in names(family):
        raise errors.InputError(
            f"there is no {name!r} in {family}; "
            f"{errors.suggestion(name, names(family))}"
        )
    return importlib.import_module(f"dact_jax.{family}.{name}")
