"""fit: a state and a stream of drawn batches in, the trained state out."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dact_jax import errors
from dact_jax.types import Batch, Metrics, TrainState

Advance = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
OnChunk = Callable[[TrainState, dict[str, float]], None]


def fit(
    advance: Advance, state: TrainState, chunks: Iterator[Batch], on_chunk: OnChunk
) -> TrainState:
    """Trains on every chunk of the iterator.

    Args:
      advance: jitted; (state, chunk) -> (state, metrics float32[chunk] each).
      state: where to begin; `chunks` must begin at iteration state.step.
      chunks: drawn batches, leaves with a leading [chunk] axis.
      on_chunk: called after each chunk with the state and the chunk's mean metrics.

    Raises:
      DivergedError: a loss is NaN or infinite; the state is then not handed on.
    """
    for chunk in chunks:
        first = int(state.step)
        state, metrics = advance(state, chunk)
        found = {name: np.asarray(values) for name, values in metrics.items()}
        _check_finite(found, first)
        # float() of the float32 mean: exact, so that rows can be compared bit by bit.
        means = {name: float(values.mean()) for name, values in found.items()}
        on_chunk(state, means)
    return state


def chunk_sizes(start: int, num_steps: int, chunk: int) -> list[int]:
    """Lengths of the chunks of iterations start .. num_steps - 1.

    Boundaries lie at multiples of `chunk` whatever the start, so that a resumed run
    compiles and computes the same chunks.

    Raises:
      InputError: `start` is not a boundary.
    """
    if start % chunk and start != num_steps:
        raise errors.InputError(
            f"the checkpoint at step {start} does not lie at a multiple of "
            f"train.chunk={chunk}; resume with the chunk that it was made with."
        )
    return [min(chunk, num_steps - at) for at in range(start, num_steps, chunk)]


def _check_finite(metrics: dict[str, Any], first: int) -> None:
    for name, values in metrics.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise errors.DivergedError(
                f"{name} became {values[bad[0]]} at step {first + int(bad[0])}; "
                "a smaller train.learning_rate usually helps."
            )
