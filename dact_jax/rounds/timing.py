"""Where a policy's time goes: training, scoring and selecting."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from dact_jax.types import Lab


class Watch(NamedTuple):
    lab: Lab  # whose verbs are timed
    stop: Callable[
        [], dict[str, float]
    ]  # seconds of "training", "scoring", "selecting"


def start(lab: Lab) -> Watch:
    """A running watch; what is neither training nor scoring is selecting.

    Args:
      lab: whose `sweep` and whose predictor's `sweep` and `accuracy` count as scoring,
        and its predictor's `fit` as training.
    """
    began = time.perf_counter()
    spent = {"training": 0.0, "scoring": 0.0}

    def timed(kind: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            before = time.perf_counter()
            try:
                return verb(*args)
            finally:
                spent[kind] += time.perf_counter() - before

        return call

    def stop() -> dict[str, float]:
        rest = time.perf_counter() - began - sum(spent.values())
        return {**spent, "selecting": rest}

    predictor = lab.loss_predictor
    if predictor is not None:
        predictor = predictor._replace(
            fit=timed("training", predictor.fit),
            accuracy=timed("scoring", predictor.accuracy),
            sweep=timed("scoring", predictor.sweep),
        )
    sweep = timed("scoring", lab.sweep)
    return Watch(lab._replace(sweep=sweep, loss_predictor=predictor), stop)
