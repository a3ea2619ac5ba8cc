"""Active domain adaptation in JAX: which images to label, and the adapted classifier.

  run(config, workdir)        run an experiment, or resume it
  campaign(config, workdir)   the same, with labels that a person gives: ask and tell
  load(workdir)               the trained classifier of a run
  config("digits", seed=1)    the config of a file or of a packaged name
  k_center(features, budget)  only the selection: rows that cover the features
  herd(features, budget)      rows to which most others are similar

Each is imported when it is first used: the last two need neither Flax nor Optax.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dact_jax.campaigns import campaign
    from dact_jax.classifier import load
    from dact_jax.configuration.files import load as config
    from dact_jax.geometry.coverage.herding import herd
    from dact_jax.geometry.k_center import k_center
    from dact_jax.runner import run

__all__ = ["campaign", "config", "herd", "k_center", "load", "run"]

_MODULES = {
    "campaign": ("campaigns", "campaign"),
    "config": ("configuration.files", "load"),
    "herd": ("geometry.coverage.herding", "herd"),
    "k_center": ("geometry.k_center", "k_center"),
    "load": ("classifier", "load"),
    "run": ("runner", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _MODULES[name]
    value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
