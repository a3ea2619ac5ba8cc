"""DUC's losses beside a float64 oracle, and what a step on each of them changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from dact_jax import plugins
from dact_jax.acquisitions import dirichlet
from dact_jax.methods import duc
from dact_jax.models import model
from dact_jax.types import Batch, Examples
from tests import toy

WEIGHT = np.array([[1.5, -0.5, 0.2, 0.4], [0.3, 0.8, -1.0, -0.1]])


def _divergence(z, label):
    """E_p[log density of Dir(a)] - log density of Dir(1), a row at a time."""
    found = []
    for row, y in zip(z, label, strict=True):
        a = np.exp(row)
        if y >= 0:
            a[y] = 1
        log_p = special.digamma(a) - special.digamma(a.sum())  # its expectation
        log_constant = special.gammaln(a.sum()) - special.gammaln(a).sum()
        log_uniform = special.gammaln(len(a))
        found.append(log_constant + ((a - 1) * log_p).sum() - log_uniform)
    return np.array(found)


def _uncertainties(z):
    """(mutual information, expected entropy) of label and prediction."""
    a = np.exp(z)
    m = a / a.sum(1, keepdims=True)
    entropy = -(m * np.log(m)).sum(1)
    change = special.digamma(a + 1) - special.digamma(a.sum(1, keepdims=True) + 1)
    data = -(m * change).sum(1)
    return entropy - data, data


def _setup(seed, *, target, **options):
    method = plugins.load("methods", "duc", 4, **options)
    network = model.make_model(toy.Same(), method.heads, 1)
    variables = network.init(jax.random.key(0), (1, 1, 2))
    layer = {"kernel": jnp.asarray(WEIGHT, jnp.float32), "bias": jnp.zeros(4)}
    (name,) = variables.params["classifier"]
    params = {**variables.params, "classifier": {name: layer}}
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(3, 6, 2))
    label = rng.integers(0, 4, size=(2, 6)).astype(np.int32)
    label[1, 4:] = -1
    source, bought, unlabeled = map(toy.vectors, points)
    labelled = Examples(bought, label[1]) if target else None
    batch = Batch(Examples(source, label[0]), labelled, unlabeled)
    return method, network, variables._replace(params=params), batch, points, label


@pytest.mark.parametrize("target", [True, False])
def test_the_loss_is_that_of_float64(target):
    options = {"distribution_weight": 1.3, "data_weight": 0.4, "divergence_weight": 0.7}
    method, network, variables, batch, points, label = _setup(
        0, target=target, **options
    )
    value, (_, metrics) = method.losses[0](
        network, variables, batch, jax.random.key(0), jnp.float32(0)
    )
    source, bought, unlabeled = (x @ WEIGHT for x in points)
    distributional, data = (x.mean() for x in _uncertainties(unlabeled))
    expected, excess = 1.3 * distributional + 0.4 * data, 0.0
    for z, y in ((source, label[0]), (bought, label[1]))[: 1 + target]:
        z, y = z[y >= 0], y[y >= 0]
        a = np.exp(z)
        nll = np.log(a.sum(1)) - np.log(a[np.arange(len(y)), y])
        excess += _divergence(z, y).mean() / 4
        expected += nll.mean()
    np.testing.assert_allclose(value, expected + 0.7 * excess, rtol=1e-5)
    np.testing.assert_allclose(metrics["divergence"], excess, rtol=1e-5)
    np.testing.assert_allclose(
        metrics["distributional_uncertainty"], distributional, rtol=1e-4
    )
    np.testing.assert_allclose(metrics["data_uncertainty"], data, rtol=1e-5)
    assert ("target" in metrics) == target


def test_the_divergence_is_that_of_the_densities():
    """Its definition, as a mean over draws, beside the closed form."""
    z = np.array([[0.5, 1.0, -0.3]])
    a = np.array([np.exp(0.5), 1.0, np.exp(-0.3)])  # the label is class 1
    p = np.random.default_rng(0).dirichlet(a, 200_000).T
    p /= p.sum(0)
    ratio = stats.dirichlet(a).logpdf(p) - np.log(2.0)
    found = duc.divergence(jnp.asarray(z), jnp.array([1]))
    np.testing.assert_allclose(found, ratio.mean(), atol=5 * ratio.std() / 200_000**0.5)


def test_method_and_acquisition_mean_the_same_uncertainties():
    z = np.random.default_rng(1).normal(scale=2, size=(50, 6)).astype(np.float32)
    z[0] = [30, -30, 0, 5, -5, 25]  # clipped
    found = duc.uncertainties(jnp.asarray(z))
    for one, other in zip(found, dirichlet.uncertainties(z), strict=True):
        np.testing.assert_allclose(one, other.mean(), rtol=1e-4)


def test_steps_lower_each_uncertainty():
    z = jnp.asarray(np.random.default_rng(2).normal(size=(8, 4)), jnp.float32)
    for part in (0, 1):
        gradient = jax.grad(lambda z, part=part: duc.uncertainties(z)[part])(z)
        before, after = _uncertainties(z)[part], _uncertainties(z - gradient)[part]
        assert (after < before).all()
        if part == 0:  # mutual information falls as evidence of any class rises
            assert (gradient.sum(1) < 0).all()


def test_a_step_on_the_divergence_spares_the_label_and_lowers_evidence_for_others():
    z, label = jnp.array([[1.0, 2.0, 1.5], [0.0, 2.0, 0.0]]), jnp.array([0, 0])
    gradient = jax.grad(lambda z: duc.divergence(z, label).sum())(z)
    assert not gradient[:, 0].any()
    assert gradient[0, 1] > 0
    assert gradient[1, 1] > 0
    np.testing.assert_allclose(
        duc.divergence(jnp.zeros((1, 3)), label[:1]), 0, atol=1e-5
    )


@pytest.mark.parametrize("scale", [10.0, 100.0])
def test_huge_logits_have_finite_losses_and_gradients(scale):
    z = scale * jnp.asarray(np.random.default_rng(3).normal(size=(16, 5)), jnp.float32)

    def value(z):
        return duc.divergence(z, jnp.zeros(16, jnp.int32)).sum() + sum(
            duc.uncertainties(z)
        )

    found, gradient = jax.value_and_grad(value)(z)
    assert np.isfinite(found)
    assert np.isfinite(gradient).all()
