"""ALDA's terms by hand, and which parameters each of them trains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.methods import alda
from dact_jax.types import UNLABELED
from tests import toy


def by_hand(scores, logits, label, *, threshold, scale, mean):
    """L_adv, L_reg and L_T sample by sample, from the equations; float64."""
    num_classes = scores[0].shape[1]

    def softmax(x):
        return np.exp(x) / np.exp(x).sum()

    def corrected(score, guess):
        xi = 1 / (1 + np.exp(-score[guess]))
        c = np.full(num_classes, (1 - xi) / (num_classes - 1))
        c[guess] = xi
        return c

    def cross_entropy(c, label):
        return -(label * np.log(c) + (1 - label) * np.log(1 - c)).sum()

    source, target, transfer, regular = [], [], [], []
    for score, logit, y in zip(scores[0], logits[0], label, strict=True):
        if y == UNLABELED:
            continue
        c = corrected(score, logit.argmax())
        source.append(cross_entropy(c, np.eye(num_classes)[y]))
        regular.append(-np.log(softmax(score)[y]))
    for score, logit in zip(scores[1], logits[1], strict=True):
        p, guess = softmax(logit), logit.argmax()
        if p.max() <= threshold:
            continue
        c = corrected(score, guess)
        noise = np.full(num_classes, 1 / (num_classes - 1))
        noise[guess] = 0
        target.append(cross_entropy(c, noise))
        unhinged = (c * (1 - p)).sum()
        transfer.append(unhinged if scale == "paper" else -(c * p).sum() / num_classes)
    if mean == "pooled":
        adversarial = np.mean(source + target)
    else:
        adversarial = np.mean(source) + np.mean(target)
    return adversarial, np.mean(regular), np.mean(transfer), len(target)


def draw(num_classes, sizes=(5, 7), seed=0):
    random = np.random.default_rng(seed)
    scores, logits = (
        [3 * random.standard_normal((size, num_classes)) for size in sizes]
        for _ in range(2)
    )
    label = random.integers(0, num_classes, sizes[0])
    return scores, logits, label


def losses(scores, logits, label, **options):
    source, target = (jnp.asarray(x, jnp.float32) for x in scores)
    source_logits, target_logits = (jnp.asarray(x, jnp.float32) for x in logits)
    return alda.losses(
        source,
        target,
        source,
        source_logits,
        target_logits,
        toy.labels(label),
        **options,
    )


@pytest.mark.parametrize("num_classes", [2, 3, 6])
@pytest.mark.parametrize("scale", ["code", "paper"])
@pytest.mark.parametrize("mean", ["pooled", "sum"])
def test_terms_by_hand(num_classes, scale, mean):
    scores, logits, label = draw(num_classes, (5, 20))
    label[1] = UNLABELED
    terms = losses(
        scores,
        logits,
        label,
        threshold=0.8,
        target_loss_scale=scale,
        adversarial_mean=mean,
    )
    expected = by_hand(scores, logits, label, threshold=0.8, scale=scale, mean=mean)
    assert 0 < expected[-1] < 20
    np.testing.assert_allclose(terms, expected, rtol=1e-5)


def test_the_scales_differ_by_a_constant_and_the_number_of_classes():
    scores, logits, label = draw(4)
    code, paper = (
        losses(scores, logits, label, threshold=0.5, target_loss_scale=scale)
        for scale in ("code", "paper")
    )
    np.testing.assert_allclose(paper.corrected, 1 + 4 * code.corrected, rtol=1e-5)


@pytest.mark.parametrize("mean", ["pooled", "sum"])
def test_padded_source_rows_do_not_count(mean):
    scores, logits, label = draw(3)
    options = {"threshold": 0.5, "adversarial_mean": mean}
    unpadded = losses(scores, logits, label, **options)
    noise = np.full((2, 3), 50.0)
    padded = (np.concatenate([x[0], noise]) for x in (scores, logits))
    scores, logits = ([x, y[1]] for x, y in zip(padded, (scores, logits), strict=True))
    label = np.append(label, [UNLABELED] * 2)
    np.testing.assert_allclose(
        losses(scores, logits, label, **options), unpadded, rtol=1e-6
    )

    def total(source):
        return sum(losses([source, scores[1]], logits, label, **options)[:2])

    grad = jax.jit(jax.grad(total))(jnp.asarray(scores[0], jnp.float32))
    np.testing.assert_array_equal(grad[-2:], 0)
    assert (grad[:-2] != 0).any()


@pytest.mark.parametrize("scale", ["code", "paper"])
@pytest.mark.parametrize("mean", ["pooled", "sum"])
def test_without_confident_samples_the_target_has_no_gradient(scale, mean):
    scores, logits, label = draw(3)

    def terms(target_score, target_logits):
        return losses(
            [scores[0], target_score],
            [logits[0], target_logits],
            label,
            threshold=0.999999,
            target_loss_scale=scale,
            adversarial_mean=mean,
        )

    target = [jnp.asarray(x[1], jnp.float32) for x in (scores, logits)]
    values = terms(*target)
    assert (values.kept, values.corrected) == (0, 0)
    assert np.isfinite(values).all()
    grads = jax.jit(jax.jacrev(terms, (0, 1)))(*target)
    for grad in jax.tree.leaves(grads):
        np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize("size", [1e3, 1e5])
def test_a_saturated_discriminator_is_finite(size):
    scores, logits, label = draw(2)
    scores = [jnp.asarray(size * x, jnp.float32) for x in scores]

    @jax.jit
    @jax.value_and_grad
    def adversarial(scores):
        return losses(scores, logits, label, threshold=0.5).adversarial

    value, grad = adversarial(scores)
    assert np.isfinite(value)
    assert value <= 200  # each of two logarithms stops at -100
    assert all(np.isfinite(leaf).all() for leaf in grad)


def test_each_term_trains_its_parameters_only(key):
    """L_reg D; L_adv D and, reversed, the encoder; L_T all but D."""
    method = toy.small("alda", threshold=0.34, dropout=0.0)
    network = toy.network(method, toy.Flat())
    variables, batch = toy.drawn(network, (4, 4, 1)), toy.batch(key, side=4)

    @jax.jit
    @jax.jacrev
    def gradients(params):
        changed = variables._replace(params=params)
        progress = jnp.float32(0.5)
        _, (_, metrics) = method.losses[0](network, changed, batch, key, progress)
        assert metrics.keys() >= {"kept"}
        return {name: metrics[name] for name in TRAINED}

    for term, grads in gradients(variables.params).items():
        trained = {
            name
            for name, leaves in grads.items()
            if any(np.any(leaf) for leaf in jax.tree.leaves(leaves))
        }
        assert trained == TRAINED[term], term


TRAINED = {
    "cross_entropy": {"encoder", "classifier"},
    "adversarial": {"encoder", "discriminator"},
    "regularization": {"discriminator"},
    "corrected": {"encoder", "classifier"},
}


def test_bad_options_are_rejected():
    with pytest.raises(errors.InputError, match=r"target_loss_scale='codes'.*'paper'"):
        plugins.load("methods", "alda", 3, target_loss_scale="codes")
    with pytest.raises(errors.InputError, match=r"adversarial_mean='all'.*'pooled'"):
        plugins.load("methods", "alda", 3, adversarial_mean="all")
    with pytest.raises(errors.InputError, match=r"'alda'.*2 classes.*1"):
        alda.make(1)


def test_a_sample_at_the_threshold_is_not_confident():
    logits = jnp.zeros((4, 2))  # both probabilities are exactly 0.5
    label = np.zeros(4, np.int32)
    for threshold, kept in ((0.5, 0), (0.4999, 4)):
        terms = alda.losses(*[logits] * 5, label, threshold=threshold)
        assert terms.kept == kept


def test_an_unscheduled_target_loss_counts_in_full_from_the_start(key):
    batch = toy.batch(key, side=4, size=16)
    losses = {}
    for scheduled in (True, False):
        options = {"threshold": 0.1, "schedule_target_loss": scheduled}
        method = toy.small("alda", **options)
        network = toy.network(method, toy.Flat())
        variables = toy.drawn(network, (4, 4, 1))
        loss = jax.jit(functools.partial(method.losses[0], network))
        losses[scheduled], (_, metrics) = loss(variables, batch, key, jnp.float32(0))
    # At progress 0 the scheduled weight of L_T is 0.
    difference = losses[False] - losses[True]
    np.testing.assert_allclose(difference, metrics["corrected"], rtol=1e-4, atol=1e-6)
    assert abs(difference) > 0.01
