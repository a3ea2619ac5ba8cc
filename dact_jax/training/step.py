"""One iteration of any method: one optimizer step for each of its losses."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
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


def loop_steps(
    step: Step, load: Callable[[PyTree, Batch, Key], Batch]
) -> Callable[..., tuple[TrainState, Metrics]]:
    """(state, metrics, resident, drawn, key, first, count, begin) -> (state, metrics).

    Does iterations first .. first + count - 1 of a chunk of drawn batches. The count is
    an argument of the compiled program, so that a chunk has the same bits however many
    calls it is done in, and of how many pieces: `begin` is the iteration of the chunk
    that the first drawn batch is of. Each iteration loads its images from the drawn
    batch and derives its key from `state.step`, so that a run resumed at any step
    equals an uninterrupted one.

    Args:
      load: (resident, drawn, key) -> Batch; gathers and augments on the device.

    Returns:
      A function whose `drawn` and metrics have leaves with a leading axis: iterations
      of a piece of the chunk, and of the chunk. The metrics that it gets are those of
      the iterations before `first`; it fills in its own. `no_metrics` gives those of no
      iteration.
    """
    once = single_step(step, load)

    def advance(
        state: TrainState,
        metrics: Metrics,
        resident: PyTree,
        drawn: Batch,
        key: Key,
        first: jax.Array,
        count: jax.Array,
        begin: jax.Array | int = 0,
    ) -> tuple[TrainState, Metrics]:
        def body(
            i: jax.Array, carry: tuple[TrainState, Metrics]
        ) -> tuple[TrainState, Metrics]:
            return once(*carry, resident, drawn, key, i, begin)

        return jax.lax.fori_loop(first, first + count, body, (state, metrics))

    return advance


def single_step(
    step: Step, load: Callable[[PyTree, Batch, Key], Batch]
) -> Callable[..., tuple[TrainState, Metrics]]:
    """(state, metrics, resident, drawn, key, i, begin) -> (state, metrics).

    Iteration i of a chunk, with the arguments of `loop_steps`.
    """
    iterate = _make_iteration(step, load)

    def advance(
        state: TrainState,
        metrics: Metrics,
        resident: PyTree,
        drawn: Batch,
        key: Key,
        i: jax.Array,
        begin: jax.Array | int = 0,
    ) -> tuple[TrainState, Metrics]:
        state, values = iterate(state, resident, _at(drawn, i - begin), key)
        metrics = {name: metrics[name].at[i].set(values[name]) for name in metrics}
        return state, metrics

    return advance


def no_metrics(
    step: Step, load: Callable[[PyTree, Batch, Key], Batch]
) -> Callable[[TrainState, PyTree, Batch, Key], dict[str, np.ndarray]]:
    """(state, resident, drawn, key) -> zeros float32[chunk] by name of metric.

    Nothing is computed, and the step is traced once for all chunks of a shape.
    """
    iterate = jax.jit(_make_iteration(step, load))

    def empty(
        state: TrainState, resident: PyTree, drawn: Batch, key: Key
    ) -> dict[str, np.ndarray]:
        first = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), drawn
        )
        _, metrics = iterate.eval_shape(state, resident, first, key)
        length = len(jax.tree.leaves(drawn)[0])
        return {name: np.zeros(length, like.dtype) for name, like in metrics.items()}

    return empty


def _make_iteration(
    step: Step, load: Callable[[PyTree, Batch, Key], Batch]
) -> Callable[[TrainState, PyTree, Batch, Key], tuple[TrainState, Metrics]]:
    """One iteration on a drawn batch."""

    def iterate(
        state: TrainState, resident: PyTree, drawn: Batch, key: Key
    ) -> tuple[TrainState, Metrics]:
        iteration = keys.key(key, "iteration", state.step)
        batch = load(resident, drawn, keys.key(iteration, "load"))
        return step(state, batch, keys.key(iteration, "step"))

    return iterate


def _at(drawn: Batch, i: jax.Array | int) -> Batch:
    """Batch i of a chunk."""
    return jax.tree.map(lambda leaf: leaf[i], drawn)
