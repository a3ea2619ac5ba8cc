"""Initializes a run from the weights of pre-training, the stage on the source."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dact_jax import devices, errors
from dact_jax.models import model
from dact_jax.rounds import workdir
from dact_jax.run_types import Run, lengths
from dact_jax.training import step
from dact_jax.types import SOURCE, Variables


def apply(run: Run, trained: Variables) -> Run:
    """The run that starts from pretrained weights; its loss predictor does too.

    Args:
      trained: of pre-training, with one norm row.
    """
    variables = join(run.train.variables, trained)
    if run.method.prepare is not None:
        variables = run.method.prepare(variables)
    optimizer = run.optimizer(lengths(run)[0])
    train = devices.replicate(step.init_state(variables, optimizer))
    return _with_pretrained_predictor(run, trained)._replace(train=train)


def row(folder: pathlib.Path) -> dict[str, Any]:
    """The row of metrics of a finished pre-training, as the run records it.

    Args:
      folder: of the pre-training.

    Raises:
      InputError: metrics.jsonl lacks the row.
    """
    rows = [row for row in workdir.read(folder) if row["event"] == "round"]
    if len(rows) != 1:
        raise errors.InputError(
            f"{folder / workdir.METRICS} lacks the row of the finished pre-training: "
            f"delete {folder} to train it again."
        )
    return {**rows[0], "event": "pretrain", "round": -1}


def join(initial: Variables, trained: Variables) -> Variables:
    """Initial variables with everything that was trained on the source.

    Every domain starts from the source's batch-norm terms and running moments.

    Args:
      initial: of the run; entries of params that were not trained stay.
      trained: of pre-training, with one norm row.
    """

    def to_all_rows(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.broadcast_to(new[SOURCE], old.shape)

    return Variables(
        initial.params | trained.params,
        jax.tree.map(to_all_rows, initial.norm, trained.norm),
        {
            **initial.stats,
            **jax.tree.map(
                to_all_rows, model.encoder_stats(initial.stats), trained.stats
            ),
        },
    )


def _with_pretrained_predictor(run: Run, trained: Variables) -> Run:
    """The run whose loss predictor, if it has one, has the pretrained encoder."""
    if run.loss_predictor is None:
        return run
    predictor_run = run.loss_predictor.run
    encoder = trained._replace(params={model.ENCODER: trained.params[model.ENCODER]})
    variables = join(predictor_run.train.variables, encoder)
    optimizer = predictor_run.optimizer(lengths(predictor_run)[0])
    state = devices.replicate(step.init_state(variables, optimizer))
    stage = run.loss_predictor._replace(run=predictor_run._replace(train=state))
    return run._replace(loss_predictor=stage)
