"""The stage before round 0: training on the source alone, kept for the next time."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dact_jax import devices, errors
from dact_jax.models.model import ENCODER
from dact_jax.rounds import actions, claim, session, workdir
from dact_jax.run_types import Run, lengths
from dact_jax.training import step
from dact_jax.types import SOURCE, Variables


def run(
    made: Run,
    folder: pathlib.Path,
    data: Mapping[str, str],
    kinds: list[str],
    shows: session.Shows,
) -> tuple[Run, Mapping[str, Any]]:
    """The run with the weights that its pre-training gives, and a row of metrics.

    The stage is a run of its own, in `folder`/pretrained or where the config says, so
    it too goes on where it was stopped, and one that is finished is only read.

    Args:
      made: has `pretraining`.
      folder: of the run.
      data: what was read -> its fingerprint.
      kinds: names of the devices.
      shows: opened only if something is left to train.

    Raises:
      InputError: the folder holds a pre-training of another kind.
      DivergedError: a loss became NaN.
    """
    stage = made.pretraining
    assert stage is not None
    place = pathlib.Path(stage.folder) if stage.folder else folder / "pretrained"
    like = actions.template(stage.run)
    flag = "--config.pretrain.folder" if stage.folder else "--workdir"
    claim.claim(place, stage.identity, data=data, devices=kinds, flag=flag)
    try:
        done = session.run(stage.run, place, like, shows)
    except errors.DivergedError as error:
        named = str(error).replace("train.learning_rate", "pretrain.learning_rate")
        raise errors.DivergedError(f"in pre-training, {named}") from None
    rows = [row for row in workdir.read(place) if row["event"] == "round"]
    if len(rows) != 1:
        raise errors.InputError(
            f"{place / workdir.METRICS} lacks the row of the finished pre-training: "
            f"delete {place} to train it again."
        )
    variables = join(made.train.variables, done.experiment.train.variables)
    if made.method.prepare is not None:
        variables = made.method.prepare(variables)
    optimizer = made.optimizer(lengths(made)[0])
    train = devices.replicate(step.init_state(variables, optimizer))
    row = {**rows[0], "event": "pretrain", "round": -1}
    return _predictor_too(made, done.experiment.train.variables)._replace(
        train=train
    ), row


def _predictor_too(made: Run, trained: Variables) -> Run:
    """The run whose loss predictor starts from what was trained, if it has one."""
    if made.loss_predictor is None:
        return made
    inner = made.loss_predictor.run
    encoder = {ENCODER: trained.params[ENCODER]}
    variables = join(inner.train.variables, trained._replace(params=encoder))
    state = step.init_state(variables, inner.optimizer(lengths(inner)[0]))
    ready = inner._replace(train=devices.replicate(state))
    return made._replace(loss_predictor=made.loss_predictor._replace(run=ready))


def join(fresh: Variables, trained: Variables) -> Variables:
    """Fresh variables with all that was trained on the source.

    Every domain starts from the source's batch-norm terms and running moments.

    Args:
      fresh: of the run; entries of params that were not trained stay.
      trained: of pre-training, with one norm row.
    """

    def rows(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.broadcast_to(new[SOURCE], old.shape)

    return Variables(
        fresh.params | trained.params,
        jax.tree.map(rows, fresh.norm, trained.norm),
        jax.tree.map(rows, fresh.stats, trained.stats),
    )
