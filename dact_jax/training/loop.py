"""Training of one network: drawn batches in, the state after each call out."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import jax
import numpy as np

from dact_jax import devices, errors
from dact_jax.data import streams
from dact_jax.processes import group
from dact_jax.run_types import Run
from dact_jax.training import step
from dact_jax.training.feeding import Chunk
from dact_jax.types import Array, Batch, Key, TrainState

# A call of the device takes about this long, so that progress is shown and a signal is
# answered soon. It decides in how many calls a chunk is done, not what it computes.
CALL_SECONDS = 5.0
MAX_METRICS = 32  # losses that a method may report

Losses = Mapping[str, Array]  # float32[iterations] by name


class Progress(NamedTuple):
    """Where training is after a call of the device."""

    state: TrainState
    losses: Losses  # of the chunk's iterations so far
    complete: bool  # the chunk is finished


class Program(NamedTuple):
    """Iterations of a round, bound to the pools that are on the devices."""

    # (state, losses, drawn, key, first, count, begin) -> (state, losses)
    advance: Callable[..., tuple[TrainState, Losses]]
    # (state, drawn, key) -> losses of no iteration
    empty: Callable[[TrainState, Batch, Key], Losses]


class Fit(Protocol):
    """Trains on every chunk; yields the progress after each call of the device."""

    def __call__(
        self,
        state: TrainState,  # donated: it is invalid after the first call
        chunks: Iterator[Chunk],  # of `draw_chunks`, from iteration state.step on
        key: Key,
        num_steps: int,  # iterations in the round
        done: np.ndarray,  # of `pack`: losses of the chunk that was begun
    ) -> Iterator[Progress]: ...


def make_fit(run: Run, announce: Callable[[str], object] = lambda text: None) -> Fit:
    """The training loop of a run, compiled once for each length of a round.

    Args:
      announce: shows what is going on; called before a program is compiled.
    """
    resident = streams.resident(run.task)

    @functools.cache
    def compiled(num_steps: int) -> Program:
        announce("compiling the training step")
        return _compile(run, resident, num_steps)

    def fit(
        state: TrainState,
        chunks: Iterator[Chunk],
        key: Key,
        num_steps: int,
        done: np.ndarray,
    ) -> Iterator[Progress]:
        yield from train(compiled(num_steps), state, chunks, key, done)

    return fit


def train(
    program: Program,
    state: TrainState,
    chunks: Iterator[Chunk],
    key: Key,
    done: np.ndarray,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Progress]:
    """Yields the progress after each call; a call takes about CALL_SECONDS.

    The first call does one iteration, since it may compile, and tells the time.

    Raises:
      DivergedError: a loss is NaN or infinite; that state is not yielded.
    """
    seconds = CALL_SECONDS  # of an iteration
    empty: Losses | None = None
    for chunk in chunks:
        piece = next(chunk.pieces)
        if empty is None:  # all chunks have the same shapes
            names = program.empty(state, piece.drawn, key)
            empty = {
                name: np.zeros(chunk.longest, like.dtype)
                for name, like in names.items()
            }
        losses: Losses = devices.replicate(unpack(done, empty))
        earlier, first = losses, chunk.first
        while first < chunk.length:
            count = call_length(seconds, chunk.length - first)
            began, goal = clock(), first + count
            while first < goal:
                if first == piece.end:
                    # The device has the call before to do while the next piece comes;
                    # to begin more would fill its memory with pieces.
                    jax.block_until_ready(earlier)
                    earlier, piece = losses, next(chunk.pieces)
                some = min(goal, piece.end) - first
                state, losses = program.advance(
                    state, losses, piece.drawn, key, first, some, piece.begin
                )
                first += some
            values = jax.device_get(losses)  # all at once
            seconds = (clock() - began) / count
            _check_finite(values, first - count, count, state.step)
            values = {name: value[:first] for name, value in values.items()}
            yield Progress(state, values, first == chunk.length)
        done = np.zeros_like(done)


def call_length(seconds: float, left: int) -> int:
    """Iterations of the next call, of `left`; equal in all processes.

    Args:
      seconds: of an iteration.
    """
    count = min(left, max(1, int(CALL_SECONDS / max(seconds, 1e-9))))
    return int(group.from_first(lambda: count))


def means(losses: Losses) -> dict[str, float]:
    """The mean of each loss, exactly as float32: rows are compared bit by bit."""
    return {name: float(np.asarray(values).mean()) for name, values in losses.items()}


def pack(losses: Losses, chunk: int) -> np.ndarray:
    """Losses of a chunk that is begun, float32[done], as float32[MAX_METRICS, chunk].

    An array of fixed shape can be restored from a checkpoint without the names.
    """
    if len(losses) > MAX_METRICS:
        raise errors.InputError(
            f"the method reports {len(losses)} losses, but a checkpoint has room for "
            f"{MAX_METRICS}."
        )
    packed = np.zeros((MAX_METRICS, chunk), np.float32)
    for row, name in enumerate(sorted(losses)):
        packed[row, : len(losses[name])] = losses[name]
    return packed


def unpack(packed: np.ndarray, empty: Losses) -> Losses:
    """The losses that were packed, by the names and in the length of `empty`."""
    return {
        name: packed[row, : len(empty[name])] for row, name in enumerate(sorted(empty))
    }


def _compile(run: Run, resident: streams.Resident, num_steps: int) -> Program:
    """The program of a round, jitted; it donates the state."""
    progress_steps = run.schedule.progress_steps or num_steps
    one_step = step.make_step(
        run.model, run.method, run.optimizer(num_steps), progress_steps
    )
    load = functools.partial(streams.load, transform=run.augment)
    # A GPU asks the host after each round of a loop whether another follows, and is
    # idle meanwhile. The host is faster if it queues the iterations one by one.
    queued = jax.default_backend() == "gpu"
    advance = jax.jit(
        (step.single_step if queued else step.loop_steps)(one_step, load),
        donate_argnums=0,
        out_shardings=devices.replicated(devices.make_mesh()),
    )

    no_metrics = step.no_metrics(one_step, load)

    def empty(state: TrainState, drawn: Batch, key: Key) -> Losses:
        return no_metrics(state, resident, drawn, key)

    def call(
        state: TrainState,
        losses: Losses,
        drawn: Batch,
        key: Key,
        first: int,
        count: int,
        begin: int,
    ) -> tuple[TrainState, Losses]:
        if not queued:
            return advance(state, losses, resident, drawn, key, first, count, begin)
        for i in range(first, first + count):
            state, losses = advance(state, losses, resident, drawn, key, i, begin)
        return state, losses

    return Program(call, empty)


_ADVICE = "a smaller train.learning_rate usually helps."
# No update, or a single one, was made before.
_FIRST_ADVICE = (
    "as training has only begun, look at the input (data.mean, data.std, data.scale), "
    "at model.weights and at the options of the method before train.learning_rate."
)


def _check_finite(losses: Losses, first: int, count: int, done: jax.Array) -> None:
    """Checks iterations first .. first + count - 1 of a chunk, the last ones done."""
    for name, values in losses.items():
        bad = np.flatnonzero(~np.isfinite(values[first : first + count]))
        if bad.size:
            step = int(done) - count + int(bad[0])
            raise errors.DivergedError(
                f"{name} became {values[first + bad[0]]} at step {step}; "
                f"{_ADVICE if step else _FIRST_ADVICE}"
            )
