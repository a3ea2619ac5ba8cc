"""The loss predictor (P_t, P_l) of D_AcT: its training, evaluation and sweep."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import numpy as np

from dact_jax import devices, errors, keys
from dact_jax.rounds import evaluation
from dact_jax.run_types import Run
from dact_jax.training import feeding, inference, loop, step
from dact_jax.types import (
    SOURCE,
    Evidence,
    Examples,
    Fitted,
    Key,
    LossPredictor,
    Pools,
    Variables,
)


def bind(
    run: Run, announce: Callable[[str], object] = lambda text: None
) -> Callable[[np.ndarray], LossPredictor]:
    """Target labels bought so far, int32[N_t] -> the loss predictor that uses them.

    It is trained on any union of source and target samples as on one domain: batches
    are drawn from all of them alike.

    Args:
      run: with `loss_predictor`.
      announce: shows what is going on.
    """
    stage = run.loss_predictor
    assert stage is not None
    predictor_run = stage.run
    train_on_chunks = loop.make_fit(predictor_run, announce)
    no_losses = loop.pack({}, predictor_run.schedule.chunk)
    source_label = np.asarray(run.task.source.train.label)

    def infer(variables: Variables, examples: Examples) -> Evidence:
        with _named_errors():
            return inference.sweep(
                predictor_run.forward,
                variables,
                examples,
                SOURCE,
                batch_size=run.evaluation.batch,
            )

    def sweep(variables: Variables) -> Evidence:
        evidence = infer(variables, run.task.source.train)
        logits = evidence.outputs["classifier"]
        loss = np.asarray(stage.actual_loss(logits, source_label))
        return evidence._replace(outputs={**evidence.outputs, "actual_loss": loss})

    def accuracy(variables: Variables) -> float:
        validation = run.task.target.val
        logits = infer(variables, validation).outputs["classifier"]
        return inference.accuracy(logits, validation.label)

    def fit(label: np.ndarray, variables: Variables, pools: Pools, key: Key) -> Fitted:
        num_steps = predictor_run.schedule.steps
        labels = np.concatenate([source_label, label])
        labelled_run, union = _with_labels(predictor_run, labels), _union(run, pools)
        chunks = feeding.draw_chunks(labelled_run, union, label, key, 0, num_steps)
        optimizer = predictor_run.optimizer(num_steps)
        state = step.init_state(evaluation.copy(variables), optimizer)
        state = devices.replicate(state)
        losses: loop.Losses = {}
        round_key = keys.key(key, "round")
        with _named_errors():
            calls = train_on_chunks(state, chunks, round_key, num_steps, no_losses)
            for state, losses, _ in calls:  # noqa: B007 (the last ones are used)
                at = f"step {int(state.step)}/{num_steps}"
                announce(f"training the loss predictor, {at}")
        # No loss follows the last update: this shows whether it overflowed.
        infer(state.variables, run.task.target.val)
        return Fitted(state.variables, loop.means(losses))

    return lambda label: LossPredictor(
        predictor_run.train.variables, functools.partial(fit, label), accuracy, sweep
    )


def _with_labels(run: Run, label: np.ndarray) -> Run:
    """The run whose source pool has these labels, int32[N_s + N_t]."""
    source = run.task.source
    train = source.train._replace(label=label)
    return run._replace(task=run.task._replace(source=source._replace(train=train)))


def _union(run: Run, pools: Pools) -> Pools:
    """Both pools as the source pool of the predictor's run, bool[N_s + N_t]."""
    return Pools(
        np.concatenate([pools.source, pools.target]),
        np.zeros(len(run.task.target.train.label), bool),
    )


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Makes a DivergedError name the loss predictor's learning rate."""
    try:
        yield
    except errors.DivergedError as error:
        message = str(error).replace(
            "train.learning_rate", "loss_predictor.learning_rate"
        )
        raise errors.DivergedError(
            f"in training the loss predictor, {message} The last good checkpoint "
            "stays; a changed config needs another --workdir."
        ) from None
