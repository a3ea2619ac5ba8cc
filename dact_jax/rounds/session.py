"""Start a run in its folder, or resume it from its last checkpoint."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from dact_jax import errors, storage
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
    claim(folder, identity, flag=flag)
    storage.remove_drafts(folder)
    store = checkpoint.open_store(
        folder / workdir.CHECKPOINTS,
        record=[folder / workdir.METRICS, folder / workdir.PICKS],
    )
    experiment = store.restore(actions.template(run))
    written = None if experiment is None else experiment.written
    if experiment is not None and loop.finished(experiment, run.policy):
        workdir.require(folder, written, flag=flag)
        return Done(experiment, finished_before=True)
    workdir.rewind(folder, written, flag=flag)
    if run.pretraining is not None:
        run, row = pretrain(run, folder, claim, shows, stop)
        if experiment is None:
            workdir.append(folder, [row])
    with shows(stage, lengths(run), _position(experiment)) as show:
        verbs = actions.bind(run, store, folder, show, stop=stop, ask=ask)
        if experiment is None:
            experiment = actions.begin(run, verbs)
        experiment = loop.run(experiment, verbs, run.policy, run.key)
    return Done(experiment, finished_before=False)


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
    place = pathlib.Path(stage.folder) if stage.folder else folder / "pretrained"
    flag = "--config.pretrain.folder" if stage.folder else "--workdir"
    if (place / workdir.CONFIG).exists():  # refused, if need be, without waiting
        claim(place, stage.identity, flag=flag)
    try:
        with lock.hold(place, flag=flag, wait=True):
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
            row = pretraining.row(place)
    except errors.DivergedError as error:
        message = str(error).replace("train.learning_rate", "pretrain.learning_rate")
        raise errors.DivergedError(f"in pre-training, {message}") from None
    except errors.StoppedError as error:
        message = str(error).replace("round 0", PRETRAINING)
        raise errors.StoppedError(message) from None
    trained = done.experiment.train.variables
    return pretraining.apply(outer, trained), row
