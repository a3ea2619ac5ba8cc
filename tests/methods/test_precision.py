"""Training in bfloat16 beside training in float32, for every method."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import plugins
from dact_jax.models import mlp, model
from tests import toy

LOSS = 0.01  # the largest differences, as parts of the float32 value
GRADIENT = {"encoder": 0.2, "heads": 0.1}


def objective(network, loss, variables, batch, key):
    value, (after, metrics) = loss(network, variables, batch, key, jnp.float32(0.5))
    return value, (after.stats, metrics)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def difference(found, exact):
    """Relative to the exact one, of two trees as vectors."""
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype("float32")}
    return np.linalg.norm(flat(found) - flat(exact)) / np.linalg.norm(flat(exact))


@pytest.mark.parametrize("name", plugins.names("methods"))
def test_loss_and_gradients_in_bfloat16_are_close_to_those_in_float32(name, key):
    method = toy.small(name)
    # Batch norm for each domain, as the methods of the second paper have it.
    norms = 1 if name in ("source_only", "loss_prediction") else 2
    networks = [
        model.make_model(mlp.MLP((32,)), method.heads, norms, precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    variables = toy.start(method, networks[0].init(key, (4, 4, 1)))
    batch = toy.batch(key, size=16, side=4)
    for loss in method.losses:
        computed = [
            jax.jit(
                jax.value_and_grad(
                    functools.partial(objective, network, loss), has_aux=True
                )
            )(variables, batch, key)
            for network in networks
        ]
        (exact, (stats, metrics)), gradients = computed[0]
        (value, (new_stats, new_metrics)), new_gradients = computed[1]
        assert 0 < abs(value - exact) < LOSS * abs(exact)
        assert difference(new_stats, stats) < LOSS
        assert metrics.keys() == new_metrics.keys()
        for group, of_group in gradients.params.items():
            if group == "source_encoder":  # adda's: frozen
                assert not flat(of_group).any()
                continue
            most = GRADIENT["encoder" if group == "encoder" else "heads"]
            assert 0 < difference(new_gradients.params[group], of_group) < most, group
        assert difference(new_gradients.norm, gradients.norm) < GRADIENT["encoder"]
