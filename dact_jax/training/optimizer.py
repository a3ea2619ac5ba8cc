"""The optimisers of the reference codes, by torch's rules: SGD and coupled-L2 Adam.

Both act on the pair (params, norm). Every top-level entry of params is a group; the
norm parameters belong to the encoder's. A parameter, or the row of a norm parameter,
that a loss does not reach (gradient exactly 0 throughout) is left alone with its
moments and takes no decay, as torch leaves a parameter without gradient.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dact_jax.training.schedules import Schedule
from dact_jax.types import PyTree

OTHERS = "others"  # every group without an entry of its own, such as discriminators
GROUPS = ("encoder", "bottleneck", "classifier", OTHERS)


class Groups(NamedTuple):
    """What differs between groups of parameters."""

    multipliers: Mapping[str, float] = {}  # of the learning rate; 0: frozen; else 1
    bias_multiplier: float = 1.0  # on top, of biases in params (Caffe: 2)
    weight_decay: float = 5e-4  # L2, added to the gradient; norm and biases too
    undecayed: tuple[str, ...] = ()  # groups without it


class AdamState(NamedTuple):
    count: PyTree  # float32[] updates that reached a parameter; [D, 1] of norm rows
    mean: PyTree
    square: PyTree


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
      momentum: of b.
      nesterov: look ahead by one momentum step.
      groups: multipliers and decay.
      updates_per_iteration: how many losses share one iteration of the schedule.
    """

    def update(
        grads: PyTree, state: optax.TraceState, trained: PyTree | None = None
    ) -> tuple[PyTree, optax.TraceState]:
        active = _active(grads)
        grads = _decayed(grads, trained, groups)
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
        return _where(active, ahead), optax.TraceState(trace)

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
    """Adam (Kingma & Ba, 2015) with L2 in the gradient, not decoupled (AdamW).

    Args:
      schedule: learning rate by iteration.
      b1: of the first moment.
      b2: of the second moment.
      epsilon: added to the root of the second moment.
      groups: multipliers and decay.
      updates_per_iteration: how many losses share one iteration of the schedule.
    """

    def init(trained: PyTree) -> AdamState:
        zeros = jax.tree.map(jnp.zeros_like, trained)
        count = jax.tree.map(
            lambda on: jnp.zeros(on.shape, jnp.float32), _active(zeros)
        )
        return AdamState(count, zeros, zeros)

    def update(
        grads: PyTree, state: AdamState, trained: PyTree | None = None
    ) -> tuple[PyTree, AdamState]:
        active = _active(grads)
        grads = _decayed(grads, trained, groups)

        def moment(decay: float, power: int, old: PyTree) -> PyTree:
            return jax.tree.map(
                lambda on, g, m: jnp.where(on, decay * m + (1 - decay) * g**power, m),
                active,
                grads,
                old,
            )

        mean, square = moment(b1, 1, state.mean), moment(b2, 2, state.square)
        count = jax.tree.map(lambda on, n: n + on.astype(n.dtype), active, state.count)

        def step(n: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            n = jnp.maximum(n, 1)  # of one never reached, whose step is 0
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
    """The inner updates times each group's multiplier times minus the learning rate."""

    def learning_rate(count: jax.Array) -> jax.Array:
        return schedule(count // updates_per_iteration)

    def multiply(updates: PyTree, _: PyTree | None) -> PyTree:
        return _by_group(lambda group, leaf, u: u * _factor(groups, group, leaf))(
            updates
        )

    return optax.chain(
        inner,
        optax.stateless(multiply),
        optax.scale_by_learning_rate(learning_rate),
    )


def _factor(groups: Groups, group: str, leaf: str) -> float:
    bias = groups.bias_multiplier if leaf == "bias" else 1.0
    return bias * groups.multipliers.get(group, 1.0)


def _decayed(grads: PyTree, trained: PyTree, groups: Groups) -> PyTree:
    def decay(group: str, leaf: str, g: jax.Array, w: jax.Array) -> jax.Array:
        del leaf
        return g if group in groups.undecayed else g + groups.weight_decay * w

    return _by_group(decay)(grads, trained)


def _by_group(function: Callable[..., jax.Array]) -> Callable[..., PyTree]:
    """Maps (group, name of the leaf, leaves) over (params, norm) pairs."""

    def inside(path: Any, *leaves: jax.Array) -> jax.Array:
        group = path[0].key if path[0].key in GROUPS else OTHERS
        return function(group, path[-1].key, *leaves)

    def outside(path: Any, *leaves: jax.Array) -> jax.Array:
        del path
        return function("encoder", "", *leaves)

    def mapped(*pairs: PyTree) -> PyTree:
        params, norm = zip(*pairs, strict=True)
        each = jax.tree_util.tree_map_with_path
        return each(inside, *params), each(outside, *norm)

    return mapped


def _active(grads: PyTree) -> PyTree:
    """bool[] for each parameter, [D, 1] for the rows of a norm parameter."""
    params, norm = grads
    return (
        jax.tree.map(lambda g: jnp.any(g != 0), params),
        jax.tree.map(lambda g: jnp.any(g != 0, -1, keepdims=True), norm),
    )


def _where(active: PyTree, updates: PyTree) -> PyTree:
    return jax.tree.map(lambda on, u: jnp.where(on, u, 0.0), active, updates)
