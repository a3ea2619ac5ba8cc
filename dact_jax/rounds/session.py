"""A run in its folder: begun, or gone on with from its last checkpoint."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from dact_jax import run_types
from dact_jax.rounds import actions, checkpoint, loop, workdir
from dact_jax.run_types import Run
from dact_jax.types import Experiment

# (round, iterations done in it) to go on from -> what is told meanwhile
Shows = Callable[[tuple[int, int]], contextlib.AbstractContextManager[run_types.Show]]


class Done(NamedTuple):
    experiment: Experiment
    anew: bool  # False: it was finished already


def run(
    made: Run,
    folder: pathlib.Path,
    like: Experiment,
    shows: Shows,
    *,
    first: Callable[[Run, bool], Run] = lambda made, begun: made,
) -> Done:
    """Runs what is left of a run.

    Args:
      made: of `build`.
      folder: that the run has claimed.
      like: `engine.template(made)`.
      shows: opened only if something is left.
      first: (made, whether a checkpoint was found) -> the run, before any iteration.

    Raises:
      InputError: no checkpoint can be read.
      DivergedError: a loss became NaN; the last checkpoint stays.
    """
    store = checkpoint.open_store(folder / "checkpoints")
    with contextlib.closing(store):
        found = store.restore(like)
        if found is not None and loop.finished(found, made.policy):
            return Done(found, anew=False)
        start = None
        if found is not None:  # in a policy's turn the round has not begun
            start = found.round, 0 if found.turn else int(found.train.step)
        workdir.rewind(folder, (0, 0) if found is None else found.written)
        made = first(made, found is not None)
        with shows(start or (0, 0)) as show:
            act = actions.actions(made, store, folder, show)
            experiment = actions.begin(made, act) if found is None else found
            experiment = loop.run(experiment, act, made.policy, made.key)
    return Done(experiment, anew=True)
