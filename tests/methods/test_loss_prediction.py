"""Loss prediction: its equations by hand, whose labels count, where gradients stop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors, ops
from dact_jax.methods import loss_prediction
from dact_jax.types import UNLABELED, Batch, Examples
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
    each, gradient = jax.jit(
        lambda logits: (
            loss(logits, label),
            jax.grad(lambda logits: loss(logits, label).sum())(logits),
        )
    )(1e4 * LOGITS)
    np.testing.assert_array_equal(each[::2], 0)
    np.testing.assert_array_equal(gradient[::2], 0)
    assert np.isfinite(gradient).all()


def test_the_mean_cross_entropy_is_that_of_ops():
    label = jnp.array([0, UNLABELED, 2], jnp.int32)
    total = loss_prediction.cross_entropy(LOGITS, label).sum()
    np.testing.assert_allclose(total / 2, ops.cross_entropy(LOGITS, label), rtol=1e-6)


def test_the_farther_from_the_label_the_larger():
    """From a certain right answer to a certain wrong one."""
    logits = jnp.array([[50.0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 50, 0]])
    label = jnp.zeros(5, jnp.int32)
    brier = np.asarray(loss_prediction.brier(logits, label))
    assert (np.diff(brier) > 0).all()
    np.testing.assert_allclose(brier[[0, -1]], [0, 2], atol=1e-6)


# --- the ranking loss -----------------------------------------------------------


def ranking(predicted, actual, labelled=None, margin=1.0):
    """The value, and its gradients."""

    @jax.jit
    def both(predicted, actual, labelled):
        def loss(predicted, actual):
            return loss_prediction.ranking_loss(
                predicted, actual, margin=margin, labelled=labelled
            )

        return jax.value_and_grad(loss, (0, 1))(predicted, actual)

    arrays = (jnp.asarray(x, jnp.float32) for x in (predicted, actual))
    return both(*arrays, None if labelled is None else np.asarray(labelled))


def test_pairs_by_hand():
    value, (gradient, of_actual) = ranking([0.5, 3.0, 1.0, 2.0], [2.0, 5.0, 1.0, 1.0])
    # (0, 3): 2 > 1, so 1 - (0.5 - 2) = 2.5. (1, 2): 5 > 1, 1 - (3 - 1) < 0.
    np.testing.assert_allclose(value, 2.5 / 2)
    np.testing.assert_allclose(gradient, [-0.5, 0, 0, 0.5])
    np.testing.assert_array_equal(of_actual, 0)


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
    """Wherever they are: the others keep their order, and so their partners."""
    rng = np.random.default_rng(count)
    predicted, actual = rng.normal(size=(2, count)).astype(np.float32)
    value, (gradient, _) = ranking(predicted, actual)
    place = np.sort(rng.permutation(count + 5)[:count])
    labelled = np.isin(np.arange(count + 5), place)
    spread, truth = np.full((2, count + 5), 1e9, np.float32)
    spread[place], truth[place] = predicted, actual
    padded, (found, _) = ranking(spread, truth, labelled)
    np.testing.assert_allclose(padded, value, rtol=1e-6)
    np.testing.assert_allclose(found[place], gradient, rtol=1e-6)
    np.testing.assert_array_equal(found[~labelled], 0)


def test_streams_are_one_batch():
    rng = np.random.default_rng(0)
    predicted, actual = rng.normal(size=(2, 2, 4)).astype(np.float32)
    labelled = np.array([[1, 1, 1, 1], [0, 1, 0, 1]], bool)
    value, _ = ranking(predicted, actual, labelled)
    flat, _ = ranking(predicted.ravel(), actual.ravel(), labelled.ravel())
    np.testing.assert_allclose(value, flat, rtol=1e-6)


# --- the method -----------------------------------------------------------------


def made(**options):
    method = toy.small("loss_prediction", width=6, **options)
    network = toy.network(method, toy.Flat())
    return method, network, toy.drawn(network, (4, 4, 1))


def evaluate(method, network, variables, batch, progress=0.0):
    """The loss, its metrics, and the gradients of params."""

    def loss(params):
        now, key = variables._replace(params=params), jax.random.key(0)
        total, (_, metrics) = method.losses[0](
            network, now, batch, key, jnp.float32(progress)
        )
        return total, metrics

    (total, metrics), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables.params
    )
    return total, metrics, grads


@pytest.mark.parametrize("target_loss", loss_prediction.TARGET_LOSSES)
def test_both_terms_are_over_source_and_target_together(target_loss, key):
    method, network, variables = made(target_loss=target_loss, weight=0.3, margin=0.7)
    batch = toy.batch(key, side=4)
    label = jnp.array([1, -1, 2, -1], jnp.int32)
    batch = batch._replace(target=batch.target._replace(label=label))
    total, metrics, _ = evaluate(method, network, variables, batch)

    images = jnp.concatenate([batch.source.image, batch.target.image[::2]])
    labels = jnp.concatenate([batch.source.label, label[::2]])
    features, _ = network.encode(variables, images[None], (0,), train=False)
    logits = network.head(variables, "classifier", features)[0]
    each = loss_prediction.TARGET_LOSSES[target_loss](logits, labels)
    expected = loss_prediction.ranking_loss(
        network.head(variables, "predicted_loss", features)[0], each, margin=0.7
    )
    np.testing.assert_allclose(metrics["target_loss"], each.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["ranking_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(total, each.mean() + 0.3 * expected, rtol=1e-5)
    assert set(metrics) == {"target_loss", "ranking_loss"}


def test_padding_changes_neither_value_nor_gradient(key):
    method, network, variables = made()
    batch = toy.batch(key, side=4, target=False)
    padding = 100 * jnp.ones((4, 4, 4, 1))
    nobody = Examples(padding, jnp.full(4, UNLABELED, jnp.int32))
    alone, padded = (
        evaluate(method, network, variables, each)
        for each in (batch, batch._replace(target=nobody))
    )
    assert toy.same(padded, alone, rtol=1e-5, atol=1e-6)


def test_nobody_labelled_is_a_loss_of_zero(key):
    method, network, variables = made()
    images = jnp.ones((4, 4, 4, 1))
    nobody = Examples(images, jnp.full(4, UNLABELED, jnp.int32))
    batch = Batch(nobody, None, images)
    total, _, grads = evaluate(method, network, variables, batch)
    assert total == 0
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(grads))


def test_the_classifier_learns_nothing_from_the_ranking(key):
    """The actual losses are targets of the predictor, not to be moved by it."""
    batch = toy.batch(key, side=4)
    with_, without = (evaluate(*made(weight=weight), batch)[2] for weight in (1.0, 0.0))
    assert toy.same(with_["classifier"], without["classifier"], rtol=1e-6)
    assert not toy.same(with_["encoder"], without["encoder"], rtol=1e-3)
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
        (1.0, 1.5, False),  # progress goes on where the schedules have ended
    ],
)
def test_the_predictor_stops_moving_the_encoder(detach_after, progress, cut, key):
    batch = toy.batch(key, side=4)
    method, network, variables = made(detach_after=detach_after)
    now = evaluate(method, network, variables, batch, progress)
    start = evaluate(method, network, variables, batch)
    plain = evaluate(*made(weight=0.0), batch)[2]["encoder"]
    assert toy.same(now[:2], start[:2])  # forward nothing changes
    assert toy.same(now[2]["predicted_loss"], start[2]["predicted_loss"])
    assert all(np.any(each["kernel"]) for each in now[2]["predicted_loss"].values())
    of_encoder = now[2]["encoder"]
    assert toy.same(of_encoder, plain, rtol=1e-5, atol=1e-7) == cut
    assert toy.same(of_encoder, start[2]["encoder"]) != cut


def test_it_learns_to_rank(key):
    """A few hundred steps of plain descent on one batch."""
    method, network, variables = made(margin=0.1)
    batch = toy.batch(key, side=4, size=16)

    def loss(params):
        now = variables._replace(params=params)
        return method.losses[0](network, now, batch, key, jnp.float32(1))[0]

    def body(params, _):
        value, grads = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda w, g: w - 0.05 * g, params, grads), value

    _, values = jax.jit(lambda p: jax.lax.scan(body, p, length=300))(variables.params)
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target_loss": "mse"},
            r"methods\.loss_prediction\.target_loss='mse' is unknown; valid: 'brier', "
            "'cross_entropy'",
        ),
        ({"weight": -1.0}, r"methods\.loss_prediction\.weight=-1\.0 must be 0 or more"),
        ({"margin": -0.1}, r"methods\.loss_prediction\.margin=-0\.1 must be 0 or more"),
        ({"margin": np.nan}, r"margin=nan must be 0 or more, and finite"),
        ({"weight": np.inf}, r"weight=inf must be 0 or more, and finite"),
        ({"width": 0}, r"methods\.loss_prediction\.width=0 must be 1 or more"),
        (
            {"detach_after": 1.1},
            r"loss_prediction\.detach_after=1\.1 must be in \[0, 1",
        ),
        ({"detach_after": -0.1}, r"detach_after=-0\.1 must be in"),
        ({"detach_after": np.nan}, r"detach_after=nan must be in"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(errors.InputError, match=message):
        loss_prediction.make(3, **options)
