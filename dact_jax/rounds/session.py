"""Start a run in its folder, or resume it from its last checkpoint."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from dact_jax import devices, errors, storage
from dact_jax.processes import group
from dact_jax.rounds import (
    actions,
    checkpoint,
    lock,
    loop,
    oracle,
    pretraining,
    workdir,
)
from dact_jax.run_types import NEVER, Experiment, Run, Show, Stop, lengths

PRETRAINING = "pre-training"
_NOTHING = contextlib.nullcontext()

# (stage, iterations of each round, (round, iterations done)) -> what shows progress.
# The stage is "" for the run itself, or PRETRAINING.
Shows = Callable[
    [str, Sequence[int], tuple[int, int]], contextlib.AbstractContextManager[Show]
]


class Claim(Protocol):
    """Makes a folder this run's, or raises InputError: `claim.claim` for some data."""

    def __call__(
        self,
        folder: pathlib.Path,
        config: Mapping[str, Any],
        *,
        flag: str = "--workdir",
    ) -> None: ...


class Done(NamedTuple):
    experiment: Experiment
    finished_before: bool  # nothing was left to do


def run(
    run: Run,
    folder: pathlib.Path,
    identity: Mapping[str, Any],
    claim: Claim,
    shows: Shows,
    *,
    stop: Stop = NEVER,
    stage: str = "",
    flag: str = "--workdir",
    ask: oracle.Oracle | None = None,
) -> Done:
    """Runs what is left of a run; a pre-training stage is a run before the run.

    Args:
      folder: of the run; it is claimed first.
      identity: the config without what has no influence (`defaults.identity`).
      shows: opened only if something is left to do.
      stop: tells whether to save and stop between two iterations.
      stage: "", or the name of the stage, such as PRETRAINING.
      flag: the command-line flag that names the folder, for error messages.
      ask: gives the labels that are bought; None: the dataset does.

    Raises:
      AwaitingLabels: `ask` waits for a person.
      InputError: the folder belongs to another run, no checkpoint can be used, or the
        record has lost rows.
      DivergedError: a loss became NaN; the last checkpoint stays.
    """
    store, experiment = _resume(run, folder, identity, claim, flag)
    if experiment is not None and loop.finished(experiment, run.policy):
        return Done(experiment, finished_before=True)
    if run.pretraining is not None:
        run, row = pretrain(run, folder, claim, shows, stop)
        if experiment is None and group.is_first():
            workdir.append(folder, [row])
    with shows(stage, lengths(run), _position(experiment)) as show:
        verbs = actions.bind(run, store, folder, show, stop=stop, ask=ask)
        if experiment is None:
            experiment = actions.begin(run, verbs)
        experiment = loop.run(experiment, verbs, run.policy, run.key)
    return Done(experiment, finished_before=False)


def _resume(
    run: Run, folder: pathlib.Path, identity: Mapping[str, Any], claim: Claim, flag: str
) -> tuple[checkpoint.Store, Experiment | None]:
    """Where checkpoints are saved, and the last one, with the folder as it was then.

    Of several processes the first alone is in the folder, which the others need not
    see. It saves and restores the state, since every process holds all of it, and
    sends them what it has restored.
    """
    template, experiment = actions.template(run), None
    store = checkpoint.ELSEWHERE
    if group.is_first():
        claim(folder, identity, flag=flag)
        storage.remove_drafts(folder)
        store = checkpoint.open_store(
            folder / workdir.CHECKPOINTS,
            record=[folder / workdir.METRICS, folder / workdir.PICKS],
        )
        experiment = store.restore(template)
        written = None if experiment is None else experiment.written
        if experiment is not None and loop.finished(experiment, run.policy):
            workdir.require(folder, written, flag=flag)
        else:
            workdir.rewind(folder, written, flag=flag)
    return store, _in_all_processes(experiment, template)


def _in_all_processes(
    experiment: Experiment | None, template: Experiment
) -> Experiment | None:
    """The experiment that process 0 has restored, in every process."""
    if group.size() == 1:
        return experiment

    def leaves() -> list[Any] | None:
        if experiment is None:
            return None
        return list(map(_sent, jax.tree.leaves(experiment)))

    found = group.from_first(leaves)
    if found is None:
        return None
    like, structure = jax.tree.flatten(template)
    return jax.tree.unflatten(structure, map(_placed, like, found))


def _sent(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf


def _placed(like: Any, leaf: Any) -> Any:
    if isinstance(like, jax.Array):
        return devices.replicate(np.asarray(leaf))
    return leaf if isinstance(like, np.ndarray) else type(like)(leaf)


def _position(experiment: Experiment | None) -> tuple[int, int]:
    """(round, iterations done in it) that the run continues from."""
    if experiment is None:
        return 0, 0
    # During a policy's turn the next round has not begun.
    return experiment.round, 0 if experiment.turn else int(experiment.train.step)


def pretrain(
    outer: Run,
    folder: pathlib.Path,
    claim: Claim,
    shows: Shows,
    stop: Stop = NEVER,
) -> tuple[Run, Mapping[str, Any]]:
    """The run with the weights that pre-training gives, and its row of metrics.

    The stage is run, resumed or, if it is finished, read. Runs that share its folder
    take turns: one trains, the others wait and read.

    Args:
      outer: with `pretraining`.
      folder: of the outer run.

    Raises:
      InputError: the stage's folder holds a different pre-training.
      DivergedError: a loss became NaN.
    """
    stage = outer.pretraining
    assert stage is not None
    place = pathlib.Path(stage.folder) if stage.folder else folder / workdir.PRETRAINED
    flag = "--config.pretrain.folder" if stage.folder else "--workdir"
    writes = group.is_first()
    if writes and (place / workdir.CONFIG).exists():  # refused without waiting
        claim(place, stage.identity, flag=flag)
    held = lock.hold(place, flag=flag, wait=True) if writes else _NOTHING
    try:
        with held:
            done = run(
                stage.run,
                place,
                stage.identity,
                claim,
                shows,
                stop=stop,
                stage=PRETRAINING,
                flag=flag,
            )
            row = group.from_first(lambda: pretraining.row(place))
    except errors.DivergedError as error:
        message = str(error).replace("train.learning_rate", "pretrain.learning_rate")
        raise errors.DivergedError(f"in pre-training, {message}") from None
    except errors.StoppedError as error:
        message = str(error).replace("round 0", PRETRAINING)
        raise errors.StoppedError(message) from None
    trained = done.experiment.train.variables
    return pretraining.apply(outer, trained), row
