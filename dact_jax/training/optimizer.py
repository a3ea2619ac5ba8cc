"""SGD and Adam with torch's rules, as the reference codes use them.

Both act on the pair (params, norm). Every top-level entry of params is a group; the
norm parameters belong to the encoder's group. A parameter, or a row of a norm
parameter, whose gradient is exactly 0 everywhere is not reached by the loss: it keeps
its value and its moments and is not decayed, as torch skips a parameter whose gradient
is None.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dact_jax.training.schedules import Schedule
from dact_jax.types import PyTree

OTHERS = "others"  # every other top-level entry of params, such as discriminators
GROUPS = ("encoder", "bottleneck", "classifier", OTHERS)


class Groups(NamedTuple):
    """Learning-rate multipliers and weight decay by group of GROUPS."""

    multipliers: Mapping[str, float] = {}  # 0: frozen; 1 for groups without an entry
    bias_multiplier: float = 1.0  # also applied to biases in params (Caffe: 2)
    weight_decay: float = 5e-4  # L2, added to the gradient, of norm and biases too
    undecayed: tuple[str, ...] = ()  # groups without weight decay


class AdamState(NamedTuple):
    count: PyTree  # updates of a parameter, float32[]; of norm rows, float32[D, 1]
    mean: PyTree  # first moments
    square: PyTree  # second moments


def sgd(
    schedule: Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    groups: Groups = Groups(),  # noqa: B008 (a NamedTuple does not change)
    updates_per_iteration: int = 1,
) -> optax.GradientTransformation:
    """g <- grad + decay w; b <- momentum b + g; w <- w - lr (g + momentum b).

    Without nesterov w <- w - lr b.

    Args:
      schedule: learning rate by iteration.
      updates_per_iteration: number of losses of the method; they share one iteration
        of the schedule.
    """

    def update(
        grads: PyTree, state: optax.TraceState, trained: PyTree | None = None
    ) -> tuple[PyTree, optax.TraceState]:
        active = _active(grads)
        grads = _decayed(grads, trained, groups)
        trace = jax.tree.map(
            lambda a, g, b: jnp.where(a, momentum * b + g, b),
            active,
            grads,
            state.trace,
        )
        steps = (
            jax.tree.map(lambda g, b: g + momentum * b, grads, trace)
            if nesterov
            else trace
        )
        return _where(active, steps), optax.TraceState(trace)

    init = optax.trace(momentum).init
    inner = optax.GradientTransformation(init, update)
    return _scaled(inner, schedule, groups, updates_per_iteration)


def adam(
    schedule: Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    groups: Groups = Groups(),  # noqa: B008
    updates_per_iteration: int = 1,
) -> optax.GradientTransformation:
    """Adam (Kingma & Ba, 2015) with L2 in the gradient, not decoupled as in AdamW.

    Args:
      schedule: learning rate by iteration.
      b1: decay of the first moment.
      b2: decay of the second moment.
      epsilon: added to the square root of the second moment.
      updates_per_iteration: number of losses of the method; they share one iteration
        of the schedule.
    """

    def init(trained: PyTree) -> AdamState:
        zeros = jax.tree.map(jnp.zeros_like, trained)
        count = jax.tree.map(lambda a: jnp.zeros(a.shape, jnp.float32), _active(zeros))
        return AdamState(count, zeros, zeros)

    def update(
        grads: PyTree, state: AdamState, trained: PyTree | None = None
    ) -> tuple[PyTree, AdamState]:
        active = _active(grads)
        grads = _decayed(grads, trained, groups)

        def moment(decay: float, power: int, old: PyTree) -> PyTree:
            return jax.tree.map(
                lambda a, g, m: jnp.where(a, decay * m + (1 - decay) * g**power, m),
                active,
                grads,
                old,
            )

        mean, square = moment(b1, 1, state.mean), moment(b2, 2, state.square)
        count = jax.tree.map(lambda a, n: n + a.astype(n.dtype), active, state.count)

        def step(n: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            n = jnp.maximum(n, 1)  # no 0 / 0 before the first update
            return (m / (1 - b1**n)) / (jnp.sqrt(v / (1 - b2**n)) + epsilon)

        steps = jax.tree.map(step, count, mean, square)
        return _where(active, steps), AdamState(count, mean, square)

    inner = optax.GradientTransformation(init, update)
    return _scaled(inner, schedule, groups, updates_per_iteration)


def _scaled(
    inner: optax.GradientTransformation,
    schedule: Schedule,
    groups: Groups,
    updates_per_iteration: int,
) -> optax.GradientTransformation:
    """Multiplies the inner updates by -learning rate and each group's multiplier."""

    def learning_rate(count: jax.Array) -> jax.Array:
        return schedule(count // updates_per_iteration)

    def multiply(updates: PyTree, _: PyTree | None) -> PyTree:
        def scale(group: str, leaf_name: str, u: jax.Array) -> jax.Array:
            return u * _factor(groups, group, leaf_name)

        return _by_group(scale)(updates)

    return optax.chain(
        inner,
        optax.stateless(multiply),
        optax.scale_by_learning_rate(learning_rate),
    )


def _factor(groups: Groups, group: str, leaf_name: str) -> float:
    bias = groups.bias_multiplier if leaf_name == "bias" else 1.0
    return bias * groups.multipliers.get(group, 1.0)


def _decayed(grads: PyTree, trained: PyTree, groups: Groups) -> PyTree:
    def decay(group: str, leaf_name: str, g: jax.Array, w: jax.Array) -> jax.Array:
        del leaf_name  # biases decay, too
        return g if group in groups.undecayed else g + groups.weight_decay * w

    return _by_group(decay)(grads, trained)


def _by_group(function: Callable[..., jax.Array]) -> Callable[..., PyTree]:
    """Maps function(group, leaf name, *leaves) over pairs (params, norm).

    The leaf name of a norm parameter is "": its bias gets no bias multiplier.
    """

    def of_params(path: Any, *leaves: jax.Array) -> jax.Array:
        group = path[0].key if path[0].key in GROUPS else OTHERS
        return function(group, path[-1].key, *leaves)

    def of_norm(*leaves: jax.Array) -> jax.Array:
        return function("encoder", "", *leaves)

    def mapped(*pairs: PyTree) -> PyTree:
        params, norm = zip(*pairs, strict=True)
        return (
            jax.tree_util.tree_map_with_path(of_params, *params),
            jax.tree.map(of_norm, *norm),
        )

    return mapped


def _active(grads: PyTree) -> PyTree:
    """Whether a gradient is not 0 everywhere: bool[]; of norm rows, bool[D, 1]."""
    params, norm = grads
    return (
        jax.tree.map(lambda g: jnp.any(g != 0), params),
        jax.tree.map(lambda g: jnp.any(g != 0, -1, keepdims=True), norm),
    )


def _where(active: PyTree, updates: PyTree) -> PyTree:
    return jax.tree.map(lambda a, u: jnp.where(a, u, 0.0), active, updates)
