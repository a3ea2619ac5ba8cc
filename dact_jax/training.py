"""The jitted iterations of a run, and the batches that they take."""

import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from dact_jax import devices, keys, step, trainer
from dact_jax.data import streams
from dact_jax.run import Run
from dact_jax.types import Batch, Key, Pools


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
        out_shardings=devices.replicated(devices.mesh()),
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
    sizes = trainer.chunk_sizes(start, num_steps, run.schedule.chunk)
    drawn = streams.batches(
        run.task, pools, label, run.schedule.sizes, keys.key(key, "batches"), start
    )
    split = devices.batched(devices.mesh(), axis=1)
    for length in sizes:
        yield jax.device_put(streams.chunk(drawn, length), split)
