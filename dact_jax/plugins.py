"""Components found by module name: `methods/mme.py` is the method "mme"."""

import difflib
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


def nearest(word: str, known: tuple[str, ...]) -> str:
    """A clause that offers the most similar known word, or all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid: {', '.join(map(repr, known))}." if known else "it takes none."


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
                f"{family} {name!r} has no option {option!r}; {nearest(option, known)}"
            )
    return make(*args, **kwargs)


def _make(family: str, name: str) -> Any:
    return _module(family, name).make


def _module(family: str, name: str) -> Any:
    if name not in names(family):
        raise errors.InputError(
            f"there is no {name!r} in {family}; {nearest(name, names(family))}"
        )
    return importlib.import_module(f"dact_jax.{family}.{name}")
