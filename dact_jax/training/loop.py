"""The jitted iterations of a run, and the batches that they take."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from dact_jax import devices, errors, keys
from dact_jax.data import streams
from dact_jax.run_types import Run
from dact_jax.training import step
from dact_jax.types import Batch, Key, Metrics, Pools, TrainState


def make_advance(run: Run, num_steps: int) -> Callable:
    """(state, resident, drawn, key) -> (state, metrics), in rounds of that length.

    The state is donated: whoever needs it afterwards hands in a copy.
    """
    until = run.schedule.progress_steps or num_steps
    one = step.make_step(run.model, run.method, run.optimizer(num_steps), until)
    load = functools.partial(streams.load, transform=run.augment)
    return jax.jit(
        step.scan_steps(one, load),
        donate_argnums=0,
        out_shardings=devices.replicated(devices.make_mesh()),
    )


def chunks(
    run: Run, pools: Pools, label: np.ndarray, key: Key, start: int, num_steps: int
) -> Iterator[Batch]:
    """What is left of a round, a chunk of drawn batches at a time, on the devices.

    Args:
      run: whose task is drawn from.
      pools: the source rows in use and the labelled target rows.
      label: int32[N_t], target labels bought so far.
      key: of the round.
      start: iterations done.
      num_steps: iterations of the round.
    """
    sizes = chunk_sizes(start, num_steps, run.schedule.chunk)
    drawn = streams.batches(
        run.task, pools, label, run.schedule.sizes, keys.key(key, "batches"), start
    )
    split = devices.batched(devices.make_mesh(), axis=1)
    for length in sizes:
        yield jax.device_put(streams.chunk(drawn, length), split)


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
