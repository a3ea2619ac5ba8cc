"""Loss prediction: its equations by hand, which rows count, where gradients stop."""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors, ops, plugins
from dact_jax.methods import loss_prediction
from dact_jax.types import UNLABELED, Batch, Examples, Model, Variables
from tests import toy

# Softmax (1/2, 1/4, 1/4) and (1/3, 1/3, 1/3).
LOGITS = jnp.log(jnp.array([[2.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.0, 1.0, 1.0]]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # (1/2)^2 + 2 (1/4)^2; (2/3)^2 + 2 (1/3)^2; (1/2)^2 + (1/4)^2 + (3/4)^2
        ("brier", [6 / 16, 6 / 9, 14 / 16]),
        ("cross_entropy", np.log([2, 3, 4])),
    ],
)
def test_target_losses_by_hand(name, expected):
    loss = loss_prediction.TARGET_LOSSES[name]
    label = jnp.array([0, 1, 2], jnp.int32)
    np.testing.assert_allclose(loss(LOGITS, label), expected, rtol=1e-6)
    stacked = loss(jnp.stack([LOGITS, LOGITS]), jnp.stack([label, label]))
    np.testing.assert_allclose(stacked, [expected, expected], rtol=1e-6)


@pytest.mark.parametrize("name", loss_prediction.TARGET_LOSSES)
def test_rows_without_label_have_no_target_loss(name):
    loss = loss_prediction.TARGET_LOSSES[name]
    label = jnp.array([UNLABELED, 1, UNLABELED], jnp.int32)
    values, gradient = jax.jit(
        lambda logits: (
            loss(logits, label),
            jax.grad(lambda logits: loss(logits, label).sum())(logits),
        )
    )(1e4 * LOGITS)
    np.testing.assert_array_equal(values[::2], 0)
    np.testing.assert_array_equal(gradient[::2], 0)
    assert np.isfinite(gradient).all()


def test_the_mean_cross_entropy_is_that_of_ops():
    label = jnp.array([0, UNLABELED, 2], jnp.int32)
    total = loss_prediction.cross_entropy(LOGITS, label).sum()
    np.testing.assert_allclose(total / 2, ops.cross_entropy(LOGITS, label), rtol=1e-6)


def test_brier_grows_with_the_distance_from_the_label():
    """From certainty of the label to certainty of another class."""
    logits = jnp.array([[50.0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 50, 0]])
    label = jnp.zeros(5, jnp.int32)
    brier = np.asarray(loss_prediction.brier(logits, label))
    assert (np.diff(brier) > 0).all()
    np.testing.assert_allclose(brier[[0, -1]], [0, 2], atol=1e-6)


# --- the ranking loss -----------------------------------------------------------


@functools.partial(jax.jit, static_argnames="margin")
def value_and_gradients(predicted, actual, labelled, margin):
    def loss(predicted, actual):
        return loss_prediction.ranking_loss(
            predicted, actual, margin=margin, labelled=labelled
        )

    return jax.value_and_grad(loss, (0, 1))(predicted, actual)


def ranking(predicted, actual, labelled=None, margin=1.0):
    """The value, and the gradients with respect to predicted and actual."""
    predicted, actual = (np.asarray(x, np.float32) for x in (predicted, actual))
    labelled = None if labelled is None else np.asarray(labelled)
    return value_and_gradients(predicted, actual, labelled, margin)


def test_pairs_by_hand():
    value, (gradient, actual_gradient) = ranking(
        [0.5, 3.0, 1.0, 2.0], [2.0, 5.0, 1.0, 1.0]
    )
    # (0, 3): 2 > 1, so 1 - (0.5 - 2) = 2.5. (1, 2): 5 > 1, 1 - (3 - 1) < 0.
    np.testing.assert_allclose(value, 2.5 / 2)
    np.testing.assert_allclose(gradient, [-0.5, 0, 0, 0.5])
    np.testing.assert_array_equal(actual_gradient, 0)


def test_ties_are_ranked_as_if_the_first_were_smaller():
    for predicted, expected in (([3.0, 1.0], 3.0), ([1.0, 3.0], 0.0)):
        value, _ = ranking(predicted, [2.0, 2.0])
        np.testing.assert_allclose(value, expected)


def test_a_pair_on_the_margin_has_the_gradient_of_torchs_clamp():
    value, (gradient, _) = ranking([2.0, 1.0], [5.0, 0.0])
    assert value == 0
    np.testing.assert_array_equal(gradient, [-1, 1])


@pytest.mark.parametrize("margin", [0.0, 0.25, 2.0])
def test_the_margin(margin):
    value, _ = ranking([1.0, 1.5], [2.0, 1.0], margin=margin)
    np.testing.assert_allclose(value, 0.5 + margin)


def test_the_middle_of_an_odd_batch_is_left_out():
    value, (gradient, _) = ranking([0.5, 100.0, 2.0], [2.0, 7.0, 1.0])
    np.testing.assert_allclose(value, 2.5)
    np.testing.assert_array_equal(gradient, [-1, 0, 1])


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_pair_it_is_zero(count):
    labelled = np.arange(4) < count
    value, (gradient, _) = ranking(np.arange(4), np.arange(4), labelled)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    value, _ = ranking(np.ones(count), np.ones(count))
    assert value == 0


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_rows_without_label_change_nothing(count):
    """Wherever they are: the others keep their order, and thus their partners."""
    rng = np.random.default_rng(count)
    predicted, actual = rng.normal(size=(2, count)).astype(np.float32)
    value, (gradient, _) = ranking(predicted, actual)
    rows = np.sort(rng.permutation(count + 5)[:count])
    labelled = np.isin(np.arange(count + 5), rows)
    padded_predicted, padded_actual = np.full((2, count + 5), 1e9, np.float32)
    padded_predicted[rows], padded_actual[rows] = predicted, actual
    padded, (padded_gradient, _) = ranking(padded_predicted, padded_actual, labelled)
    np.testing.assert_allclose(padded, value, rtol=1e-6)
    np.testing.assert_allclose(padded_gradient[rows], gradient, rtol=1e-6)
    np.testing.assert_array_equal(padded_gradient[~labelled], 0)


def test_streams_are_one_batch():
    rng = np.random.default_rng(0)
    predicted, actual = rng.normal(size=(2, 2, 4)).astype(np.float32)
    labelled = np.array([[1, 1, 1, 1], [0, 1, 0, 1]], bool)
    value, _ = ranking(predicted, actual, labelled)
    flat, _ = ranking(predicted.ravel(), actual.ravel(), labelled.ravel())
    np.testing.assert_allclose(value, flat, rtol=1e-6)


# --- the method -----------------------------------------------------------------


class Built(NamedTuple):
    network: Model
    variables: Variables
    evaluate: Callable  # (params, batch, progress) -> (total, metrics), grads


@functools.cache
def build(**options):
    """A small network with its loss, compiled once for the same options."""
    method = toy.small("loss_prediction", width=6, **options)
    network = toy.network(method, toy.Flat())
    variables = toy.drawn(network, (4, 4, 1))

    def loss(params, batch, progress):
        total, (_, metrics) = method.losses[0](
            network,
            variables._replace(params=params),
            batch,
            jax.random.key(0),
            progress,
        )
        return total, metrics

    return Built(network, variables, jax.jit(jax.value_and_grad(loss, has_aux=True)))


def evaluate(batch, progress=0.0, **options):
    """The loss, its metrics, and the gradients of params."""
    built = build(**options)
    (total, metrics), grads = built.evaluate(
        built.variables.params, batch, jnp.float32(progress)
    )
    return total, metrics, grads


@pytest.mark.parametrize("target_loss", loss_prediction.TARGET_LOSSES)
def test_both_terms_are_over_source_and_target_together(target_loss, key):
    options = {"target_loss": target_loss, "weight": 0.3, "margin": 0.7}
    network, variables, _ = build(**options)
    batch = toy.batch(key, side=4)
    label = jnp.array([1, -1, 2, -1], jnp.int32)
    batch = batch._replace(target=batch.target._replace(label=label))
    total, metrics, _ = evaluate(batch, **options)

    images = jnp.concatenate([batch.source.image, batch.target.image[::2]])
    labels = jnp.concatenate([batch.source.label, label[::2]])
    features, _ = network.encode(variables, images[None], (0,), train=False)
    logits = network.head(variables, "classifier", features)[0]
    actual = loss_prediction.TARGET_LOSSES[target_loss](logits, labels)
    expected = loss_prediction.ranking_loss(
        network.head(variables, "predicted_loss", features)[0], actual, margin=0.7
    )
    np.testing.assert_allclose(metrics["target_loss"], actual.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["ranking_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(total, actual.mean() + 0.3 * expected, rtol=1e-5)
    assert set(metrics) == {"target_loss", "ranking_loss"}


def test_padding_changes_neither_value_nor_gradient(key):
    batch = toy.batch(key, side=4, target=False)
    images = 100 * jnp.ones((4, 4, 4, 1))
    padding = Examples(images, jnp.full(4, UNLABELED, jnp.int32))
    unpadded = evaluate(batch)
    padded = evaluate(batch._replace(target=padding))
    assert toy.same(padded, unpadded, rtol=1e-5, atol=1e-6)


def test_without_labels_loss_and_gradient_are_zero():
    images = jnp.ones((4, 4, 4, 1))
    unlabelled = Examples(images, jnp.full(4, UNLABELED, jnp.int32))
    total, _, grads = evaluate(Batch(unlabelled, None, images))
    assert total == 0
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(grads))


def test_the_ranking_loss_does_not_train_the_classifier(key):
    """The actual losses are constant targets of the predictions."""
    batch = toy.batch(key, side=4)
    ranked, without = (evaluate(batch, weight=weight)[2] for weight in (1.0, 0.0))
    assert toy.same(ranked["classifier"], without["classifier"], rtol=1e-6)
    assert not toy.same(ranked["encoder"], without["encoder"], rtol=1e-3)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(without["predicted_loss"]))


@pytest.mark.parametrize(
    ("detach_after", "progress", "cut"),
    [
        (0.6, 0.0, False),
        (0.6, 0.6, False),
        (0.6, 0.61, True),
        (0.6, 1.5, True),
        (0.0, 0.0, False),
        (0.0, 0.01, True),
        (1.0, 1.0, False),
        (1.0, 1.5, False),  # progress can exceed 1
    ],
)
def test_the_ranking_loss_stops_training_the_encoder(detach_after, progress, cut, key):
    batch = toy.batch(key, side=4)
    *values, grads = evaluate(batch, progress, detach_after=detach_after)
    *first_values, first = evaluate(batch, detach_after=detach_after)
    unranked = evaluate(batch, weight=0.0)[2]
    assert toy.same(values, first_values)  # only gradients change
    assert toy.same(grads["predicted_loss"], first["predicted_loss"])
    assert all(np.any(layer["kernel"]) for layer in grads["predicted_loss"].values())
    assert toy.same(grads["encoder"], unranked["encoder"], rtol=1e-5, atol=1e-7) == cut
    assert toy.same(grads["encoder"], first["encoder"]) != cut


def test_it_learns_to_rank(key):
    """In 300 steps of gradient descent on one batch."""
    _, variables, loss = build(margin=0.1)
    batch = toy.batch(key, side=4, size=16)

    def descend(params, _):
        (value, _), grads = loss(params, batch, jnp.float32(1))
        return jax.tree.map(lambda w, g: w - 0.05 * g, params, grads), value

    scan = jax.jit(lambda params: jax.lax.scan(descend, params, length=300))
    _, values = scan(variables.params)
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize(
    ("option", "value", "valid"),
    [
        ("target_loss", "mse", r"'brier'.*'cross_entropy'"),
        ("weight", -1.0, "from 0 to"),
        ("weight", np.inf, "from 0 to"),
        ("margin", -0.1, "from 0 to"),
        ("margin", np.nan, "from 0 to"),
        ("width", 0, "from 1 to"),
        ("detach_after", 1.1, "from 0 to 1"),
        ("detach_after", -0.1, "from 0 to 1"),
        ("detach_after", np.nan, "from 0 to 1"),
    ],
)
def test_options_out_of_range_are_rejected(option, value, valid):
    field = re.escape(f"methods.loss_prediction.{option}={value!r} ")
    with pytest.raises(errors.InputError, match=f"{field}.*{valid}"):
        plugins.load("methods", "loss_prediction", 3, **{option: value})
