"""One iteration of any method: one optimiser step for each of its losses."""

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

    Args:
      model: the network.
      method: its losses are taken in order, each on the weights the last one left.
      optimizer: over the pair (params, norm).
      num_steps: iterations in a round; `progress` is step / num_steps.
    """

    def one_loss(
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
            state, found = one_loss(
                loss, state, batch, keys.key(key, "loss", number), progress
            )
            total += found.pop("loss")
            metrics |= found
        return state._replace(step=state.step + 1), {"loss": total, **metrics}

    return step


def scan_steps(
    step: Step, load: Callable[[PyTree, Batch, Key], Batch]
) -> Callable[[TrainState, PyTree, Batch, Key], tuple[TrainState, Metrics]]:
    """(state, resident, drawn, key) -> (state, metrics): a chunk of iterations.

    Each iteration loads its images from what was drawn and derives its key from
    `state.step`, so that a run resumed at any step equals one that never stopped.

    Args:
      step: of `make_step`.
      load: (resident, drawn, key) -> Batch; gathers and augments on the device.

    Returns:
      A function whose `drawn` and metrics have leaves with a leading [chunk] axis.
    """

    def many(
        state: TrainState, resident: PyTree, drawn: Batch, key: Key
    ) -> tuple[TrainState, Metrics]:
        def body(state: TrainState, drawn: Batch) -> tuple[TrainState, Metrics]:
            now = keys.key(key, "iteration", state.step)
            batch = load(resident, drawn, keys.key(now, "load"))
            return step(state, batch, keys.key(now, "step"))

        return jax.lax.scan(body, state, drawn)

    return many
