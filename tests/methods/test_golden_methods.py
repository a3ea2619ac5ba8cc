"""Losses of the methods against the numbers of the reference codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import ops
from dact_jax.methods import adda, alda, dann, jan, mada
from dact_jax.models import heads, model
from dact_jax.types import UNLABELED, Batch, Examples, Features, Variables
from tests import toy

PER_ROUND = 10_000  # iterations over which the references' schedules run


def close(actual, expected, **tolerance):
    tolerance = {"rtol": 1e-4, "atol": 1e-6, **tolerance}
    np.testing.assert_allclose(actual, expected, **tolerance)


def case(fixture, prefix):
    return {
        name.removeprefix(prefix): array
        for name, array in toy.golden(fixture).items()
        if name.startswith(prefix)
    }


@pytest.mark.parametrize("number", [0, 1, 2])
def test_alda_loss(number):
    data = case("alda_loss", f"c{number}_")
    size = len(data["labels_source"])
    label = toy.labels(data["labels_source"])

    def losses(score, constant_score, logits):
        return alda.losses(
            score[:size],
            score[size:],
            constant_score[:size],
            logits[:size],
            logits[size:],
            label,
            threshold=float(data["threshold"]),
        )

    score, logits = jnp.asarray(data["disc_score"]), jnp.asarray(data["cls_logits"])
    terms = jax.jit(losses)(score, score, logits)
    assert int(terms.kept) == data["n_kept"] == data["target_mask"].sum()
    grad = jax.jit(jax.jacrev(losses, (0, 1, 2)))(score, score, logits)
    for ours, theirs in {
        "adversarial": "adv",
        "regularization": "reg",
        "corrected": "correct",
    }.items():
        expected = np.nan_to_num(data[f"{theirs}_loss"])  # 0 / 0 of an empty mask
        close(getattr(terms, ours), expected)
        score_grad, constant_grad, logits_grad = getattr(grad, ours)
        close(score_grad + constant_grad, data[f"{theirs}_grad_disc_score"])
        close(logits_grad, data[f"{theirs}_grad_cls_logits"])


def test_the_empty_mask_is_among_the_cases_of_alda():
    data = case("alda_loss", "c2_")
    assert data["n_kept"] == 0
    assert np.isnan(data["correct_loss"])
    assert not data["correct_grad_cls_logits"].any()


LAYERS = {"fc1": 1, "fc2": 2, "logits": 3}  # our name -> the fixtures' number


def adversarial(method, data):
    """A method's loss without labels, so without cross entropy, on given embeddings.

    Returns:
      The metrics, and the gradients of params, source and unlabelled images.
    """
    network = model.make_model(toy.Same(), method.heads, 1)
    source, unlabeled = toy.vectors(data["f_s"]), toy.vectors(data["f_t"])
    discriminator = {
        ours: toy.layer(data[f"W{theirs}"], data[f"b{theirs}"])
        for ours, theirs in LAYERS.items()
    }
    classifier = {
        "fc": toy.layer(np.zeros((2, source.shape[-1]), "f4"), np.zeros(2, "f4"))
    }
    params = {
        "encoder": {},
        "classifier": classifier,
        "discriminator": discriminator,
    }
    variables = toy.start(method, Variables(params, {}, {}))
    label = jnp.full(len(source), UNLABELED, jnp.int32)
    progress = jnp.float32(data["iter_num"] / PER_ROUND)

    @jax.jit
    def gradients(params, source, unlabeled):
        def loss(params, source, unlabeled):
            value, (_, metrics) = method.losses[0](
                network,
                variables._replace(params=params),
                Batch(Examples(source, label), None, unlabeled),
                jax.random.key(0),
                progress,
            )
            return value, metrics

        return jax.grad(loss, (0, 1, 2), has_aux=True)(params, source, unlabeled)

    (params, source, unlabeled), metrics = gradients(
        variables.params, source, unlabeled
    )
    width = data["f_s"].shape
    return metrics, params, source.reshape(width), unlabeled.reshape(width)


def hidden(data):
    return len(data["W1"])


@pytest.mark.parametrize("number", [0, 1])
def test_dann_of_the_transfer_learning_library(number):
    data = case("dann_adda", f"c{number}_")
    method = dann.make(2, form="tll", hidden=hidden(data), dropout=0.0)
    metrics, params, source, unlabeled = adversarial(method, data)
    close(metrics["domain_loss"], data["tll_loss"])
    close(100 * metrics["domain_accuracy"], data["tll_domain_acc"])
    close(source, data["tll_grad_f_s"])
    close(unlabeled, data["tll_grad_f_t"])
    for name, layer_number in LAYERS.items():
        layer = params["discriminator"][name]
        close(layer["kernel"].T, data[f"tll_grad_W{layer_number}"])
        close(layer["bias"], data[f"tll_grad_b{layer_number}"])


@pytest.mark.parametrize("number", [0, 1])
def test_dann_of_cdan(number):
    data = case("dann_adda", f"c{number}_")
    method = dann.make(2, form="cdan", hidden=hidden(data), dropout=0.0)
    metrics, params, source, unlabeled = adversarial(method, data)
    close(metrics["domain_loss"], data["cdan_loss"])
    # At iteration 0 the reversal is 5e-4: gradients of 1e-5, so no absolute tolerance.
    expected = np.split(data["cdan_grad_f"], 2)
    close(source, expected[0], rtol=1e-3, atol=1e-9)
    close(unlabeled, expected[1], rtol=1e-3, atol=1e-9)
    for name, layer_number in LAYERS.items():
        kernel = params["discriminator"][name]["kernel"]
        close(kernel.T, data[f"cdan_grad_W{layer_number}"])


@pytest.mark.parametrize("number", [0, 1])
def test_adda_with_inverted_labels(number):
    data = case("dann_adda", f"c{number}_")
    width = (hidden(data),) * 2
    method = adda.make(2, form="inverted", hidden=width)
    metrics, params, _, unlabeled = adversarial(method, data)
    close(metrics["domain_loss"], data["adda_disc_loss"])
    close(metrics["mapping_loss"], data["adda_map_loss"])
    close(unlabeled, data["adda_map_grad_f_t"])
    # The discriminator's loss is that of DANN.
    for name, layer_number in LAYERS.items():
        layer = params["discriminator"][name]
        close(layer["kernel"].T, data[f"tll_grad_W{layer_number}"])
        close(layer["bias"], data[f"tll_grad_b{layer_number}"])


@pytest.mark.parametrize("number", [0, 1])
def test_adda_by_reversal(number):
    """The library's loss is that of its DANN, but its final coefficient is 2."""
    data = case("dann_adda", f"c{number}_")
    method = adda.make(2, form="reversal", hidden=(hidden(data),) * 2)
    metrics, params, _, unlabeled = adversarial(method, data)
    close(metrics["domain_loss"], data["tll_loss"])
    close(unlabeled, 2 * data["tll_grad_f_t"])
    for name, layer_number in LAYERS.items():
        kernel = params["discriminator"][name]["kernel"]
        close(kernel.T, data[f"tll_grad_W{layer_number}"])


def test_mada():
    data = toy.golden("mada")
    size = len(data["labels_s"])
    head = heads.ClasswiseDiscriminator(3, hidden=(4, 4), dropout=0.0)
    params = {
        "each": {
            ours: toy.layer(data[f"D_W{theirs}"], data[f"D_b{theirs}"])
            for ours, theirs in LAYERS.items()
        }
    }
    progress = jnp.float32(data["iter_num"] / PER_ROUND)
    strength = ops.adaptation(progress)
    close(strength, data["coeff"])

    def loss(params, features, logits):
        out = head.apply(
            {"params": params}, Features(features, (), logits), reverse=strength
        )
        per_class = mada.per_class_loss(out[:size], out[size:])
        return data["loss_weight"] * per_class.sum(), per_class

    features, logits = jnp.asarray(data["features"]), jnp.asarray(data["logits"])
    value_and_grad = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
    (value, per_class), grads = value_and_grad(params, features, logits)
    close(per_class, data["per_class_loss"])
    close(value, data["domain_loss_weighted"])
    close(grads[1], data["grad_features"])
    np.testing.assert_array_equal(grads[2], 0)
    np.testing.assert_array_equal(data["grad_logits"], 0)
    for ours, theirs in LAYERS.items():
        layer = grads[0]["each"][ours]
        close(jnp.swapaxes(layer["kernel"], 1, 2), data[f"D_grad_W{theirs}"])
        close(layer["bias"], data[f"D_grad_b{theirs}"])
    supervised = ops.cross_entropy(logits[:size], toy.labels(data["labels_s"]))
    close(supervised, data["cls_loss"])


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("estimator", ["full", "linear"])
def test_jan(number, estimator):
    data = case("jan", f"c{number}_")
    names = ["f_s", "f_t", "logits_s", "logits_t"]

    @jax.jit
    @jax.value_and_grad
    def discrepancy(inputs):
        source, target = (
            (inputs[f"f_{domain}"], jax.nn.softmax(inputs[f"logits_{domain}"]))
            for domain in "st"
        )
        return jan.joint_mmd(source, target, estimator)

    value, grad = discrepancy({name: jnp.asarray(data[name]) for name in names})
    close(value, data[f"{estimator}_loss"])
    for name in names:
        close(grad[name], data[f"{estimator}_grad_{name}"])
