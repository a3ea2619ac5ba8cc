"""One iteration of any method: one optimizer step for each of its losses."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dact_jax import keys
from dact_jax.types import (
    Batch,
    Key,
    Loss,
    Method,
    Metrics,
    Model,
    PyTree,
    TrainState,
    Variables,
)

Step = Callable[[TrainState, Batch, Key], tuple[TrainState, Metrics]]


def init_state(
    variables: Variables, optimizer: optax.GradientTransformation
) -> TrainState:
    """The state before the first iteration of a round."""
    opt_state = optimizer.init((variables.params, variables.norm))
    return TrainState(jnp.zeros((), jnp.int32), variables, opt_state)


def make_step(
    model: Model,
    method: Method,
    optimizer: optax.GradientTransformation,
    num_steps: int,
) -> Step:
    """(state, batch, key) -> (state, metrics), to be jitted or scanned.

    The losses are taken in order, each at the weights that the previous one left.

    Args:
      optimizer: over the pair (params, norm).
      num_steps: iterations in a round; `progress` is step / num_steps.

    Returns:
      A function whose metrics are the method's, and "loss", the sum of its losses.
    """

    def descend(
        loss: Loss, state: TrainState, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[TrainState, Metrics]:
        def objective(trained: PyTree) -> tuple[jax.Array, tuple[PyTree, Metrics]]:
            params, norm = trained
            variables = Variables(params, norm, state.variables.stats)
            value, (variables, metrics) = loss(model, variables, batch, key, progress)
            return value, (variables.stats, {**metrics, "loss": value})

        trained = (state.variables.params, state.variables.norm)
        grads, (stats, metrics) = jax.grad(objective, has_aux=True)(trained)
        updates, opt_state = optimizer.update(grads, state.opt_state, trained)
        params, norm = optax.apply_updates(trained, updates)
        variables = Variables(params, norm, stats)
        return TrainState(state.step, variables, opt_state), metrics

    def step(state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
        progress = state.step.astype(jnp.float32) / num_steps
        metrics: Metrics = {}
        total = jnp.zeros(())
        for number, loss in enumerate(method.losses):
            loss_key = keys.key(key, "loss", number)
            state, loss_metrics = descend(loss, state, batch, loss_key, progress)
            total += loss_metrics.pop("loss")
            metrics |= loss_metrics
        return state._replace(step=state.step + 1), {"loss": total, **metrics}

    return step


def scan_steps(
    step: Step, load: Callable[[PyTree, Batch, Key], Batch]
) -> Callable[[TrainState, PyTree, Batch, Key], tuple[TrainState, Metrics]]:
    """(state, resident, drawn, key) -> (state, metrics): a chunk of iterations.

    Each iteration loads its images from the drawn batch and derives its key from
    `state.step`, so that a run resumed at any step equals an uninterrupted one.

    Args:
      load: (resident, drawn, key) -> Batch; gathers and augments on the device.

    Returns:
      A function whose `drawn` and metrics have leaves with a leading [chunk] axis.
    """

    def advance(
        state: TrainState, resident: PyTree, drawn: Batch, key: Key
    ) -> tuple[TrainState, Metrics]:
        def body(state: TrainState, drawn: Batch) -> tuple[TrainState, Metrics]:
            iteration = keys.key(key, "iteration", state.step)
            batch = load(resident, drawn, keys.key(iteration, "load"))
            return step(state, batch, keys.key(iteration, "step"))

        return jax.lax.scan(body, state, drawn)

    return advance
