"""EADA's losses beside a float64 oracle, its running mean, and what a step changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import plugins
from dact_jax.methods import eada
from dact_jax.models import model
from dact_jax.rounds import pretraining
from dact_jax.types import METHOD, TARGET, Batch, Examples, Variables
from tests import toy

WEIGHT = np.array([[1.0, -0.5, 0.2], [0.3, 0.8, -1.0]])


def _setup(num_norms=1, **options):
    """An identity encoder, whose logits are those of WEIGHT."""
    method = plugins.load("methods", "eada", 3, **options)
    network = model.make_model(toy.Same(), method.heads, num_norms)
    layer = {"kernel": jnp.asarray(WEIGHT, jnp.float32), "bias": jnp.zeros(3)}
    variables = network.init(jax.random.key(0), (1, 1, 2))
    (name,) = variables.params["classifier"]
    params = {**variables.params, "classifier": {name: layer}}
    return method, network, method.prepare(variables._replace(params=params))


def _draw(seed, *, target=True):
    """Points of the three streams, float64, the target's of high free energy."""
    rng = np.random.default_rng(seed)
    source, bought, unlabeled = rng.normal(size=(3, 6, 2))
    labels = rng.integers(0, 3, size=(2, 6)).astype(np.int32)
    labels[1, 4:] = -1
    images = [toy.vectors(x) for x in (source, bought)]
    batch = Batch(
        Examples(images[0], labels[0]),
        Examples(images[1], labels[1]) if target else None,
        toy.vectors(unlabeled),
    )
    return (source, bought, unlabeled), labels, batch


def _free(z):
    return -np.log(np.exp(z).sum(1))


def _nll(z, label):
    """E(x, y) - F(x) over the labelled rows."""
    rows = np.flatnonzero(label >= 0)
    return np.mean(-z[rows, label[rows]] - _free(z)[rows])


@pytest.mark.parametrize("target", [True, False])
def test_the_loss_is_that_of_float64_over_several_batches(target):
    method, network, variables = _setup(weight=0.7, momentum=0.3)
    means = []
    for seed in range(3):
        points, labels, batch = _draw(seed, target=target)
        value, (variables, metrics) = method.losses[0](
            network, variables, batch, jax.random.key(0), jnp.float32(0)
        )
        source, bought, unlabeled = (x @ WEIGHT for x in points)
        means.append(_free(source).mean())
        shares = 0.7 ** np.arange(len(means))[::-1]  # the newest has the weight 1
        bound = np.average(means, weights=shares)
        alignment = np.maximum(_free(unlabeled) - bound, 0).mean()
        expected = _nll(source, labels[0]) + 0.7 * alignment
        if target:
            expected += _nll(bought, labels[1])
        assert ("target" in metrics) == target
        assert alignment > 0
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(metrics["alignment"], alignment, rtol=1e-5)
        np.testing.assert_allclose(metrics["free_energy"], bound, rtol=1e-5)


def test_only_samples_above_the_bound_are_pulled_and_down():
    logits = jnp.array([[4.0, 0, 0], [0.1, 0, 0]])
    energy = np.asarray(eada.free_energy(logits))
    bound = energy.mean()
    gradient = jax.grad(eada.alignment_loss)(logits, bound)
    assert not gradient[0].any()
    moved = eada.free_energy(logits - 0.1 * gradient)
    assert moved[0] == energy[0]
    assert moved[1] < energy[1]


def test_a_step_on_the_alignment_moves_no_bound(key):
    """The gradient of the whole loss, less those of the labels, is the target's."""
    points, _, batch = _draw(5)

    def value(params, variables, method, network):
        changed = variables._replace(params=params)
        return method.losses[0](network, changed, batch, key, jnp.float32(0))[0]

    gradients = []
    for weight in (0.0, 2.0):
        method, network, variables = _setup(weight=weight)
        found = jax.grad(value)(variables.params, variables, method, network)
        gradients.append(next(iter(found["classifier"].values()))["kernel"])
    free = _free(points[0] @ WEIGHT).mean()
    z = points[2] @ WEIGHT
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    above = (_free(z) > free)[:, None]
    expected = 2 * points[2].T @ (-p * above) / len(z)  # dF/dz = -p
    np.testing.assert_allclose(gradients[1] - gradients[0], expected, atol=1e-6)


def test_the_running_mean_is_kept_beside_the_moments_of_batch_norm(key):
    """Encoding changes batch norm alone; pre-training starts the mean again."""
    method = toy.small("eada")
    network = toy.network(method, toy.Normed(), num_norms=2)
    plain = toy.drawn(network, (4, 4, 1))
    start = method.prepare(plain)
    batch = toy.batch(key, side=4)
    _, encoded = network.encode(
        start, batch.unlabeled[None], (TARGET,), train=True, key=key
    )
    assert toy.same(encoded.stats[METHOD], start.stats[METHOD])
    assert not toy.same(encoded.stats["bn"], start.stats["bn"])

    loss = method.losses[0]
    _, (after, _) = loss(network, start, batch, key, jnp.float32(0))
    assert not toy.same(after.stats[METHOD], start.stats[METHOD])
    trained = Variables(
        plain.params,
        jax.tree.map(lambda x: x[:1], plain.norm),
        jax.tree.map(lambda x: x[:1] + 1, plain.stats),
    )
    joined = pretraining.join(start, trained)
    assert jax.tree.structure(joined) == jax.tree.structure(start)
    assert toy.same(method.prepare(joined).stats[METHOD], start.stats[METHOD])
    np.testing.assert_array_equal(
        joined.stats["bn"]["mean"][TARGET], trained.stats["bn"]["mean"][0]
    )
