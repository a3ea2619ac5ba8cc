"""Learning rates and weights of adaptation against the reference codes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dact_jax import errors, ops
from dact_jax.training import optimizer, schedules
from tests import toy

GOLDEN = toy.golden("schedules")
STEPS = GOLDEN["steps"].tolist()
CLOSE = {"rtol": 1e-5, "atol": 1e-12}


def rates(schedule, steps=STEPS):
    return np.array([schedule(step) for step in steps])


@pytest.mark.parametrize(
    ("column", "base", "gamma"),
    [
        ("tll_dann_lr", 0.01, 1e-3),
        ("tll_jan_lr", 0.003, 3e-4),
        ("tll_adda_lr", 0.001, 3e-4),
        ("mada_lr", 0.001, 3e-4),
    ],
)
def test_inverse_decay_is_that_of_the_references(column, base, gamma):
    schedule = schedules.make("inverse", base, 1, gamma=gamma)
    np.testing.assert_allclose(rates(schedule), GOLDEN[column], **CLOSE)


def moves(groups, schedule, step, gradient=0.0):
    """Change of weights 1 in encoder and classifier, at one step of plain SGD."""
    ones = ({name: {"w": jnp.ones(1)} for name in ("encoder", "classifier")}, {})
    sgd = optimizer.sgd(lambda i: schedule(i + step), momentum=0.0, groups=groups)
    grads = jax.tree.map(lambda w: jnp.full_like(w, gradient), ones)
    updates, _ = sgd.update(grads, sgd.init(ones), ones)
    return [-float(updates[0][name]["w"][0]) for name in ("encoder", "classifier")]


@pytest.mark.parametrize(
    ("column", "base", "gamma", "multipliers"),
    [
        ("mme_lr", 0.01, 1e-4, {"encoder": 0.1}),
        ("alda_lr", 0.001, 1e-3, {"classifier": 10.0}),
    ],
)
def test_groups_have_the_references_rates(column, base, gamma, multipliers):
    schedule = schedules.make("inverse", base, 1, gamma=gamma)
    groups = optimizer.Groups(multipliers, weight_decay=0.0)
    moved = [moves(groups, schedule, step, gradient=1.0) for step in STEPS]
    np.testing.assert_allclose(moved, GOLDEN[column], **CLOSE)


def test_groups_have_aldas_weight_decay():
    """A step adds rate x decay x weight to the gradient's part."""
    groups = optimizer.Groups({"classifier": 10.0}, weight_decay=1e-3)
    plain = groups._replace(weight_decay=0.0)
    constant = schedules.make("constant", 1.0, 1)
    for step, expected in zip(STEPS, GOLDEN["alda_wd"], strict=True):
        decayed, undecayed = (
            np.array(moves(variant, constant, step, gradient=1e-3))
            for variant in (groups, plain)
        )
        np.testing.assert_allclose((decayed - undecayed) / [1, 10], expected, rtol=1e-5)


@pytest.mark.parametrize("column", ["alda_calc_coeff", "tll_grl_coeff", "mada_coeff"])
def test_adaptation_rises_as_in_the_references(column):
    """All count 10 000 iterations; only MADA's stops there."""
    progress = np.float32(STEPS) / np.float32(10_000)
    if column == "mada_coeff":
        progress = np.minimum(progress, 1)
    ours = ops.adaptation(jnp.asarray(progress))
    np.testing.assert_allclose(ours, GOLDEN[column], rtol=1e-5, atol=1e-7)


def test_annealed_decay_after_dsbns_warm_up():
    """5e-6 for 20 000 iterations; then 70 000 of annealing from 1e-5."""
    schedule = schedules.make("annealed", 1e-5, 70_000)
    joined = optax.join_schedules([lambda i: 5e-6, schedule], [20_000])
    np.testing.assert_allclose(rates(joined), GOLDEN["dsbn_lr"], **CLOSE)
    later = np.maximum(np.float32(STEPS) - 20_000, 0) / 70_000
    ours = ops.adaptation(jnp.asarray(later))
    np.testing.assert_allclose(ours, GOLDEN["dsbn_adapt"], atol=1e-7)


def test_step_decay_is_clues():
    """Every 20 of 60 epochs, also if an epoch has several iterations."""
    epochs = GOLDEN["clue_steplr_epoch"].tolist()
    for per_epoch in (1, 7):
        schedule = schedules.make("step", 2e-4, 60 * per_epoch)
        for offset in (0, per_epoch - 1):
            iterations = [epoch * per_epoch + offset for epoch in epochs]
            ours = rates(schedule, iterations)
            np.testing.assert_allclose(ours, GOLDEN["clue_steplr_lr"], **CLOSE)


def test_annealed_is_inverse_with_gamma_by_length():
    """alpha / num_steps: the two forms of ALDA's rate agree where N = 10 000."""
    annealed = schedules.make("annealed", 0.01, 10_000)
    np.testing.assert_allclose(rates(annealed), GOLDEN["alda_lr"][:, 1], **CLOSE)
    inverse = schedules.make("inverse", 0.01, 500, gamma=10 / 500)
    shorter = schedules.make("annealed", 0.01, 500)
    np.testing.assert_allclose(rates(shorter), rates(inverse), **CLOSE)
    ends = schedules.make("annealed", 1.0, 100, alpha=3.0, power=0.5)(100)
    np.testing.assert_allclose(ends, 0.5, rtol=1e-6)


def test_constant_is_constant():
    np.testing.assert_array_equal(rates(schedules.make("constant", 0.5, 1)), 0.5)


@pytest.mark.parametrize("kind", ["inverse", "annealed", "step", "constant"])
def test_schedules_take_a_traced_iteration(kind):
    schedule = schedules.make(kind, 0.01, 300)
    traced = jax.jit(schedule)
    for iteration in (0, 100, 299):
        rate = traced(jnp.int32(iteration))
        assert (rate.shape, rate.dtype) == ((), jnp.float32)
        np.testing.assert_allclose(rate, schedule(iteration), rtol=1e-6)


def test_adaptation_starts_at_zero_and_saturates_at_one():
    ends = ops.adaptation(jnp.array([0.0, 10.0]))
    np.testing.assert_array_equal(ends, [0, 1])


def test_an_unknown_kind_is_rejected():
    with pytest.raises(errors.InputError, match=r"schedule='cosine'.*'step'"):
        schedules.make("cosine", 0.01, 1)
