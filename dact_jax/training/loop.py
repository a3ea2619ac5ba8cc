"""Training of one network: drawn batches in, the state after each chunk out."""

import functools
from collections.abc import Callable, Iterator
from typing import Protocol

import jax
import numpy as np

from dact_jax import devices, errors, keys
from dact_jax.data import streams
from dact_jax.run_types import Run
from dact_jax.training import step
from dact_jax.types import Batch, Key, Metrics, Pools, TrainState

Advance = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
Progress = Iterator[tuple[TrainState, dict[str, float]]]


class Fit(Protocol):
    """Trains on every chunk; yields the state and the mean metrics after each."""

    def __call__(
        self,
        state: TrainState,  # donated: it is invalid after the first chunk
        chunks: Iterator[Batch],  # of `draw_chunks`, from iteration state.step on
        key: Key,
        num_steps: int,  # iterations in the round
    ) -> Progress: ...


def make_fit(run: Run) -> Fit:
    """The training loop of a run, compiled once for each length of a round."""
    resident = streams.resident(run.task)
    compiled = functools.cache(functools.partial(_make_advance, run))

    def fit(
        state: TrainState, chunks: Iterator[Batch], key: Key, num_steps: int
    ) -> Progress:
        advance = compiled(num_steps)
        return train(
            lambda state, chunk: advance(state, resident, chunk, key), state, chunks
        )

    return fit


def train(advance: Advance, state: TrainState, chunks: Iterator[Batch]) -> Progress:
    """Yields (state, metrics averaged over the chunk) after each chunk.

    Args:
      advance: (state, chunk) -> (state, metrics), each metric float32[chunk].

    Raises:
      DivergedError: a metric is NaN or infinite; that state is not yielded.
    """
    for chunk in chunks:
        first_step = int(state.step)
        state, metrics = advance(state, chunk)
        values = {name: np.asarray(value) for name, value in metrics.items()}
        _check_finite(values, first_step)
        # float() of the float32 mean: exact, so that rows can be compared bit by bit.
        yield state, {name: float(value.mean()) for name, value in values.items()}


def draw_chunks(
    run: Run, pools: Pools, label: np.ndarray, key: Key, start: int, num_steps: int
) -> Iterator[Batch]:
    """The remaining batches of a round on the devices, a chunk at a time.

    Args:
      label: int32[N_t], target labels bought so far.
      key: of the round.
      start: iterations done.
      num_steps: iterations in the round.

    Returns:
      Drawn batches whose leaves have a leading [chunk] axis.

    Raises:
      InputError: `start` is not a multiple of train.chunk.
    """
    sizes = chunk_sizes(start, num_steps, run.schedule.chunk)
    batches = streams.batches(
        run.task, pools, label, run.schedule.sizes, keys.key(key, "batches"), start
    )
    sharding = devices.batched(devices.make_mesh(), axis=1)
    for length in sizes:
        yield jax.device_put(streams.chunk(batches, length), sharding)


def chunk_sizes(start: int, num_steps: int, chunk: int) -> list[int]:
    """Lengths of the chunks of iterations start .. num_steps - 1.

    Boundaries lie at multiples of `chunk` whatever the start, so that a resumed run
    compiles and computes the same chunks.

    Raises:
      InputError: `start` is not a boundary.
    """
    if start % chunk and start != num_steps:
        raise errors.InputError(
            f"the checkpoint at step {start} is not at a multiple of "
            f"train.chunk={chunk}; resume with the train.chunk that it was saved with."
        )
    return [min(chunk, num_steps - at) for at in range(start, num_steps, chunk)]


def _make_advance(run: Run, num_steps: int) -> Callable:
    """(state, resident, chunk, key) -> (state, metrics), jitted; donates the state."""
    progress_steps = run.schedule.progress_steps or num_steps
    one_step = step.make_step(
        run.model, run.method, run.optimizer(num_steps), progress_steps
    )
    load = functools.partial(streams.load, transform=run.augment)
    return jax.jit(
        step.scan_steps(one_step, load),
        donate_argnums=0,
        out_shardings=devices.replicated(devices.make_mesh()),
    )


def _check_finite(metrics: dict[str, np.ndarray], first_step: int) -> None:
    for name, values in metrics.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise errors.DivergedError(
                f"{name} became {values[bad[0]]} at step {first_step + int(bad[0])}; "
                "a smaller train.learning_rate usually helps."
            )
