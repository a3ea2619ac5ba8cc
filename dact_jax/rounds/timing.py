"""How long a policy's turn takes: training, scoring (sweeps and accuracies), selecting.

"scoring" is the name of the column in metrics.jsonl.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from dact_jax.types import Lab


class Watch(NamedTuple):
    lab: Lab  # whose functions are timed
    stop: Callable[[], dict[str, float]]  # seconds by kind of work


def start(lab: Lab) -> Watch:
    """A running watch; time in neither training nor scoring counts as selecting.

    Args:
      lab: its `sweep`, and its loss predictor's `sweep` and `accuracy`, count as
        scoring; the loss predictor's `fit` counts as training.
    """
    started = time.perf_counter()
    seconds = {"training": 0.0, "scoring": 0.0}

    def timed(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            before = time.perf_counter()
            try:
                return function(*args)
            finally:
                seconds[kind] += time.perf_counter() - before

        return call

    def stop() -> dict[str, float]:
        selecting = time.perf_counter() - started - sum(seconds.values())
        return {**seconds, "selecting": selecting}

    predictor = lab.loss_predictor
    if predictor is not None:
        predictor = predictor._replace(
            fit=timed("training", predictor.fit),
            accuracy=timed("scoring", predictor.accuracy),
            sweep=timed("scoring", predictor.sweep),
        )
    sweep = timed("scoring", lab.sweep)
    return Watch(lab._replace(sweep=sweep, loss_predictor=predictor), stop)
