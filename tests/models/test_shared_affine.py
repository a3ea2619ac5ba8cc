"""Heads that read the logits of another; norm rows that share scale and bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax.models import heads, model
from dact_jax.types import SOURCE, TARGET
from tests import toy

SHAPE = (2, 2, 1)


def images(streams=2):
    """Streams that differ in mean and scale."""
    normal = np.random.default_rng(0).standard_normal((streams, 6, *SHAPE))
    offset = np.arange(streams).reshape(-1, 1, 1, 1, 1)
    return jnp.asarray((1 + offset) * normal + offset, jnp.float32)


def make_network(**options):
    network = model.make_model(toy.Normed(4), {}, 2, **options)
    return network, toy.drawn(network, SHAPE)


def test_moments_have_two_rows_and_affine_terms_one():
    network = model.make_model(toy.Normed(4), {}, 2, shared_affine=True)
    variables = network.init(jax.random.key(0), SHAPE)
    shapes = jax.tree.map(jnp.shape, (variables.norm, variables.stats))
    assert shapes == (
        {"bn": {"scale": (1, 4), "bias": (1, 4)}},
        {"bn": {"mean": (2, 4), "variance": (2, 4)}},
    )


def encoded(network, norm, variables, x, domains, *, train):
    variables = variables._replace(norm=norm)
    features, updated = network.encode(variables, x, domains, train=train)
    return jnp.sum(jnp.sin(features.embedding)), (features.embedding, updated.stats)


@pytest.mark.parametrize("train", [True, False])
def test_shared_terms_are_equal_rows_whose_gradients_add_up(train):
    one_row, shared = make_network(shared_affine=True)
    two_rows, _ = make_network()
    copied = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 2), shared.norm)

    def grad(network, norm):
        def loss(norm):
            return encoded(network, norm, shared, images(), (0, 1), train=train)

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(norm)

    (value, outputs), shared_grad = grad(one_row, shared.norm)
    (same_value, same_outputs), rows = grad(two_rows, copied)
    assert toy.same(outputs, same_outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value, same_value, rtol=1e-5)
    for leaf, row in zip(
        jax.tree.leaves(shared_grad), jax.tree.leaves(rows), strict=True
    ):
        assert np.any(row[SOURCE])
        assert np.any(row[TARGET])
        np.testing.assert_allclose(leaf[0], row.sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("domain", [SOURCE, TARGET])
def test_a_stream_updates_only_the_moments_of_its_domain(domain):
    network, variables = make_network(shared_affine=True)
    _, after = network.encode(variables, images(1), (domain,), train=True)
    for name in ("mean", "variance"):
        old, new = variables.stats["bn"][name], after.stats["bn"][name]
        np.testing.assert_array_equal(old[1 - domain], new[1 - domain])
        assert (old[domain] != new[domain]).all()


def test_a_head_reads_the_embedding_and_the_logits_of_another():
    modules = {
        "classifier": heads.Linear(3),
        "domains": heads.ClasswiseDiscriminator(3, hidden=(7, 6), dropout=0.0),
    }
    network = model.make_model(toy.Flat(5), modules, 1)
    variables = toy.drawn(network, SHAPE)
    first = variables.params["domains"]["each"]["fc1"]["kernel"]
    assert first.shape == (3, 5, 7)  # it reads the embedding, not the logits
    features, _ = network.encode(variables, images(1), (0,), train=False)
    logits = network.head(variables, "classifier", features)
    direct = modules["domains"].apply(
        {"params": variables.params["domains"]}, features._replace(logits=logits)
    )
    output = network.head(variables, "domains", features)
    np.testing.assert_array_equal(output, direct)

    def total(params):
        changed = variables._replace(params=params)
        return network.head(changed, "domains", features).sum()

    grad = jax.grad(total)(variables.params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grad["classifier"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(grad["domains"]))


def test_a_head_that_reads_a_later_one_is_rejected():
    early = {"domains": heads.ClasswiseDiscriminator(3), "classifier": heads.Linear(3)}
    with pytest.raises(ValueError, match="'domains' reads 'classifier'"):
        model.make_model(toy.Flat(), early, 1)
    with pytest.raises(ValueError, match="'domains' reads 'classifier'"):
        model.make_model(toy.Flat(), {"domains": early["domains"]}, 1)
