"""Loss prediction, and D_AcT's selection by it, against their reference codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax.acquisitions import predicted_loss
from dact_jax.methods import loss_prediction
from dact_jax.models import heads
from dact_jax.types import Features
from tests import toy

STAGES = (0, 1, 2, 3)
CLOSE = {"rtol": 1e-4, "atol": 1e-6}
SCORES = ("pair", "mean_pair", "pred", "actual", "absdiff")


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_the_loss_of_pairs(case):
    data = toy.golden("losspred")
    predicted, actual = data[f"{case}_pred_loss"], data[f"{case}_target_loss"]
    i, j = data[f"{case}_pair_i"], data[f"{case}_pair_j"]
    losses = loss_prediction.pair_losses(
        (jnp.asarray(predicted[i]), jnp.asarray(predicted[j])),
        (jnp.asarray(actual[i]), jnp.asarray(actual[j])),
        margin=float(data[f"{case}_margin"]),
    )
    np.testing.assert_allclose(losses, data[f"{case}_per_pair"], **CLOSE)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("case", ["c0", "c1"])
def test_the_ranking_loss_and_its_gradient(case, padding):
    """Also with unlabelled rows inserted into the reference's full batch."""
    data = toy.golden("losspred")
    size = len(data[f"{case}_pred_loss"])
    rows = np.sort(np.random.default_rng(0).permutation(size + padding)[:size])
    predicted, actual = np.full((2, size + padding), 7.0, np.float32)
    predicted[rows], actual[rows] = (
        data[f"{case}_{name}_loss"] for name in ("pred", "target")
    )
    labelled = np.isin(np.arange(size + padding), rows)

    @jax.jit
    @jax.value_and_grad
    def loss(predicted, actual, labelled):
        return loss_prediction.ranking_loss(
            predicted, actual, margin=float(data[f"{case}_margin"]), labelled=labelled
        )

    value, gradient = loss(jnp.asarray(predicted), jnp.asarray(actual), labelled)
    np.testing.assert_allclose(value, data[f"{case}_loss"], **CLOSE)
    np.testing.assert_allclose(gradient[rows], data[f"{case}_grad_pred"], **CLOSE)
    np.testing.assert_array_equal(gradient[~labelled], 0)


def test_the_network_that_predicts_losses():
    """The reference's taps are maps (B, C, h, w); ours are their spatial means."""
    data = toy.golden("losspred")
    head = heads.PredictedLoss(width=5)
    taps = tuple(jnp.asarray(data[f"net_feat{i}"]).mean((2, 3)) for i in STAGES)
    names = {"linear": "linear"} | {f"fc{i + 1}": f"FC{i + 1}" for i in STAGES}
    params = {
        ours: toy.layer(data[f"net_p_{theirs}_weight"], data[f"net_p_{theirs}_bias"])
        for ours, theirs in names.items()
    }

    @jax.jit
    def gradients(params, taps):
        def total(params, taps):
            out = head.apply({"params": params}, Features(jnp.zeros((4, 1)), taps))
            return out.sum(), out

        return jax.grad(total, (0, 1), has_aux=True)(params, taps)

    (params_grad, taps_grad), out = gradients(params, taps)
    assert out.shape == (4,)
    np.testing.assert_allclose(out, data["net_out"][:, 0], **CLOSE)
    for ours, theirs in names.items():
        kernel, bias = (data[f"net_g_{theirs}_{name}"].T for name in ("weight", "bias"))
        np.testing.assert_allclose(params_grad[ours]["kernel"], kernel, **CLOSE)
        np.testing.assert_allclose(params_grad[ours]["bias"], bias, **CLOSE)
    for stage, tap_grad in zip(STAGES, taps_grad, strict=True):
        theirs = data[f"net_grad_feat{stage}"]
        ours = np.broadcast_to(tap_grad[..., None, None], theirs.shape)
        pixels = theirs.shape[2] * theirs.shape[3]  # a mean divides its gradient
        np.testing.assert_allclose(ours / pixels, theirs, **CLOSE)


def scored(data, case, score):
    return predicted_loss.scores(
        score,
        data[f"{case}_pred_loss"],
        data[f"{case}_actual_loss"],
        order=data[f"{case}_perm"],
        margin=float(data[f"{case}_margin"]),
    )


@pytest.mark.parametrize("case", ["c0", "c1"])
@pytest.mark.parametrize("score", ["pair", "mean_pair"])
def test_scores_of_pairs(score, case):
    data = toy.golden("dact_select")
    expected = data[f"{case}_{score}_score"]
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if score == "pair" else {"rtol": 1e-9}
    np.testing.assert_allclose(scored(data, case, score), expected, **tolerance)


@pytest.mark.parametrize("case", ["c0", "c1"])
@pytest.mark.parametrize("score", SCORES)
def test_selections(score, case):
    data = toy.golden("dact_select")
    value = scored(data, case, score)
    order = predicted_loss.ranked(value, data[f"{case}_pred_loss"])
    expected = data[f"{case}_select_{score}"]
    np.testing.assert_array_equal(order[: int(data[f"{case}_Bs"])], expected)
