"""The optimiser of the reference codes: SGD with groups, schedule, torch's rules."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dact_jax.types import PyTree

Schedule = Callable[[jax.Array | int], jax.Array]


def inverse_decay(base: float, gamma: float, power: float = 0.75) -> Schedule:
    """base (1 + gamma i)^-power at iteration i = 0, 1, ... (MME: gamma 1e-4)."""

    def schedule(iteration: jax.Array | int) -> jax.Array:
        return base * (1.0 + gamma * jnp.asarray(iteration, jnp.float32)) ** -power

    return schedule


def sgd(
    schedule: Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 5e-4,
    encoder_multiplier: float = 1.0,
    updates_per_iteration: int = 1,
) -> optax.GradientTransformation:
    """Stochastic gradient descent as torch computes it, over (params, norm).

    g <- grad + weight_decay w; b <- momentum b + g; w <- w - lr (g + momentum b) with
    nesterov, else w - lr b. Decay covers every parameter, batch norm and bias too.
    A parameter, or the row of a norm parameter, that a loss does not reach (gradient
    exactly 0 throughout) is left alone with its momentum, as torch leaves a parameter
    without gradient.

    Args:
      schedule: learning rate by iteration.
      momentum: of b.
      nesterov: look ahead by one momentum step.
      weight_decay: L2, added to the gradient.
      encoder_multiplier: learning-rate factor of params["encoder"] and of the norm
        parameters; the heads have factor 1.
      updates_per_iteration: how many losses share one iteration of the schedule.
    """

    def learning_rate(count: jax.Array) -> jax.Array:
        return schedule(count // updates_per_iteration)

    factors = {"encoder": optax.scale(encoder_multiplier), "head": optax.identity()}
    return optax.chain(
        _momentum(momentum, nesterov=nesterov, weight_decay=weight_decay),
        optax.multi_transform(factors, _groups),
        optax.scale_by_learning_rate(learning_rate),
    )


def _groups(trained: PyTree) -> PyTree:
    params, norm = trained
    return (
        {name: "encoder" if name == "encoder" else "head" for name in params},
        jax.tree.map(lambda _: "encoder", norm),
    )


def _momentum(
    momentum: float, *, nesterov: bool, weight_decay: float
) -> optax.GradientTransformation:
    def update(
        grads: PyTree, state: optax.TraceState, trained: PyTree | None = None
    ) -> tuple[PyTree, optax.TraceState]:
        active = (
            jax.tree.map(lambda g: jnp.any(g != 0), grads[0]),
            jax.tree.map(lambda g: jnp.any(g != 0, -1, keepdims=True), grads[1]),
        )  # of norm parameters each row, [D, 1]
        grads = jax.tree.map(lambda g, w: g + weight_decay * w, grads, trained)
        trace = jax.tree.map(
            lambda on, g, b: jnp.where(on, momentum * b + g, b),
            active,
            grads,
            state.trace,
        )
        ahead = (
            jax.tree.map(lambda g, b: g + momentum * b, grads, trace)
            if nesterov
            else trace
        )
        updates = jax.tree.map(lambda on, u: jnp.where(on, u, 0.0), active, ahead)
        return updates, optax.TraceState(trace)

    return optax.GradientTransformation(optax.trace(momentum).init, update)
