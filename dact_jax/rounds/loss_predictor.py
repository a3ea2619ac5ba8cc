"""The network (P_t, P_l) of D_AcT: trained on some labels, and its source scored."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from dact_jax import devices, errors, keys
from dact_jax.data import streams
from dact_jax.rounds import evaluation
from dact_jax.run_types import Run
from dact_jax.training import inference, loop, step
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


def bind(run: Run) -> Callable[[np.ndarray], LossPredictor]:
    """Target labels bought so far, int32[N_t] -> the predictor that may use them.

    It is trained on any union of source and target samples as on one domain, in
    batches drawn from all of them alike.

    Args:
      run: with `prediction`.
    """
    stage = run.loss_predictor
    assert stage is not None
    inner = stage.run
    num_steps = inner.schedule.steps
    go = loop.make_advance(inner, num_steps)
    split = devices.batched(devices.make_mesh())
    resident = streams.resident(inner.task)
    known = np.asarray(run.task.source.train.label)

    def look(variables: Variables, examples: Examples) -> Evidence:
        size = run.evaluation.batch
        with _told():
            return inference.sweep(
                inner.forward,
                variables,
                examples,
                SOURCE,
                batch_size=size,
                sharding=split,
            )

    def sweep(variables: Variables) -> Evidence:
        found = look(variables, run.task.source.train)
        loss = np.asarray(stage.actual_loss(found.outputs["classifier"], known))
        return found._replace(outputs={**found.outputs, "actual_loss": loss})

    def accuracy(variables: Variables) -> float:
        held = run.task.target.val
        return inference.accuracy(
            look(variables, held).outputs["classifier"], held.label
        )

    def fit(label: np.ndarray, variables: Variables, pools: Pools, key: Key) -> Fitted:
        both = np.concatenate([pools.source, pools.target])
        nobody = np.zeros(len(inner.task.target.train.label), bool)
        source = inner.task.source
        train = source.train._replace(label=np.concatenate([known, label]))
        now = inner._replace(
            task=inner.task._replace(source=source._replace(train=train))
        )
        drawn = loop.chunks(now, Pools(both, nobody), label, key, 0, num_steps)
        fresh = step.init_state(evaluation.copy(variables), inner.optimizer(num_steps))
        state = jax.device_put(fresh, devices.replicated(devices.make_mesh()))
        round_ = keys.key(key, "round")
        last: dict[str, float] = {}
        with _told():
            state = loop.fit(
                lambda state, some: go(state, resident, some, round_),
                state,
                drawn,
                lambda state, losses: last.update(losses),
            )
        # The last update has no loss after it that would tell of an overflow.
        look(state.variables, run.task.target.val)
        return Fitted(state.variables, last)

    return lambda label: LossPredictor(
        inner.train.variables, functools.partial(fit, label), accuracy, sweep
    )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Says whose learning rate was too large."""
    try:
        yield
    except errors.DivergedError as error:
        named = str(error).replace(
            "train.learning_rate", "loss_predictor.learning_rate"
        )
        raise errors.DivergedError(
            f"in training the loss predictor, {named} The last good checkpoint stays; "
            "a changed config needs another --workdir."
        ) from None
