"""The arithmetic of the optimizers by hand, group by group."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dact_jax.training import optimizer

NO_DECAY = optimizer.Groups(weight_decay=0.0)


def constant(rate):
    return lambda i: jnp.float32(rate)


def _trained():
    params = {"encoder": {"w": jnp.array([1.0, -2.0])}, "head": {"w": jnp.ones(2)}}
    return params, {"bn": {"scale": jnp.ones((2, 3))}}


def _grads(encoder=1.0, head=1.0, rows=(1.0, 1.0)):
    params = {
        "encoder": {"w": jnp.full(2, encoder)},
        "head": {"w": jnp.full(2, head)},
    }
    return params, {"bn": {"scale": jnp.outer(jnp.array(rows), jnp.ones(3))}}


def _run(transform, trained, all_grads):
    """Weights and state after some updates."""
    state = transform.init(trained)
    update = jax.jit(transform.update)
    for grads in all_grads:
        updates, state = update(grads, state, trained)
        trained = optax.apply_updates(trained, updates)
    return trained, state


def test_two_steps_of_nesterov_by_hand():
    groups = optimizer.Groups({"encoder": 0.1}, weight_decay=0.5)
    sgd = optimizer.sgd(constant(0.1), groups=groups)
    trained, _ = _run(sgd, _trained(), [_grads()] * 2)
    w, b = np.array([1.0, -2.0]), 0.0
    for _ in range(2):
        g = 1.0 + 0.5 * w
        b = 0.9 * b + g
        w = w - 0.1 * 0.1 * (g + 0.9 * b)
    np.testing.assert_allclose(trained[0]["encoder"]["w"], w, rtol=1e-6)


def test_plain_momentum_by_hand():
    sgd = optimizer.sgd(constant(0.1), nesterov=False, groups=NO_DECAY)
    trained = _trained()
    state = sgd.init(trained)
    for _ in range(2):
        updates, state = sgd.update(_grads(), state, trained)
    np.testing.assert_allclose(updates[0]["head"]["w"], -0.1 * 1.9, rtol=1e-6)


@pytest.mark.parametrize("make", [optimizer.sgd, optimizer.adam])
def test_parameters_without_gradient_keep_value_and_moments(make):
    transform = make(constant(0.1))
    trained = _trained()
    _, state = transform.update(_grads(), transform.init(trained), trained)
    (expected, expected_norm), _ = transform.update(_grads(), state, trained)
    unreached = _grads(head=0.0, rows=(0.0, 1.0))
    (params, norm), state = transform.update(unreached, state, trained)
    np.testing.assert_array_equal(params["head"]["w"], 0)
    np.testing.assert_array_equal(norm["bn"]["scale"][0], 0)
    assert (norm["bn"]["scale"][1] != 0).all()
    assert (params["encoder"]["w"] != 0).all()
    (params, norm), _ = transform.update(_grads(), state, trained)
    np.testing.assert_allclose(params["head"]["w"], expected["head"]["w"])
    scale, expected_scale = (n["bn"]["scale"][0] for n in (norm, expected_norm))
    np.testing.assert_allclose(scale, expected_scale)


@pytest.mark.parametrize("make", [optimizer.sgd, optimizer.adam])
def test_losses_of_one_iteration_share_its_learning_rate(make):
    momentum = {"momentum": 0.0} if make is optimizer.sgd else {"b1": 0.0}
    transform = make(
        lambda i: jnp.where(i == 0, 1.0, 0.5),
        groups=NO_DECAY,
        updates_per_iteration=2,
        **momentum,
    )
    trained = _trained()
    state = transform.init(trained)
    update, sizes = jax.jit(transform.update), []
    for _ in range(4):
        updates, state = update(_grads(), state, trained)
        sizes.append(-float(updates[0]["head"]["w"][0]))
    np.testing.assert_allclose(sizes, [1.0, 1.0, 0.5, 0.5], rtol=1e-5)


NAMES = ("encoder", "bottleneck", "classifier", "discriminator")


def _by_group(value):
    """A kernel and a bias in every group, all with the same value."""
    leaf = jnp.full(2, value)
    params = {name: {"fc": {"kernel": leaf, "bias": leaf}} for name in NAMES}
    return params, {"bn": {"scale": jnp.full((2, 2), value), "bias": leaf[None]}}


def _moved(groups, *, gradient, make=optimizer.sgd, **options):
    """How far one step at learning rate 1 moves each leaf from 1."""
    transform = make(constant(1.0), groups=groups, **options)
    trained, _ = _run(transform, _by_group(1.0), [_by_group(gradient)])
    return jax.tree.map(lambda w: round(1.0 - float(w.ravel()[0]), 6), trained)


def test_multipliers_by_group():
    """Norm has the encoder's multiplier; discriminators have that of "others"."""
    groups = optimizer.Groups(
        {"encoder": 0.5, "classifier": 2.0, "others": 3.0},
        bias_multiplier=2.0,
        weight_decay=0.0,
    )
    params, norm = _moved(groups, gradient=0.25, momentum=0.0)
    for name, expected in zip(NAMES, (0.5, 1.0, 2.0, 3.0), strict=True):
        layer = params[name]["fc"]
        assert layer["kernel"] == 0.25 * expected, name
        assert layer["bias"] == 0.25 * 2 * expected, name
    assert norm["bn"] == {"scale": 0.125, "bias": 0.125}  # not the bias multiplier


def test_without_multipliers_every_group_has_one_rate():
    params, norm = _moved(NO_DECAY, gradient=0.25, momentum=0.0)
    assert set(jax.tree.leaves((params, norm))) == {0.25}


@pytest.mark.parametrize("make", [optimizer.sgd, optimizer.adam])
def test_a_frozen_group_does_not_move(make):
    """Neither gradient, decay nor momentum move it."""
    groups = optimizer.Groups({"encoder": 0.0}, weight_decay=0.1)
    transform = make(constant(0.1), groups=groups)
    (params, norm), _ = _run(transform, _by_group(1.0), [_by_group(0.5)] * 3)
    for leaf in jax.tree.leaves((params["encoder"], norm)):
        np.testing.assert_array_equal(leaf, 1)
    for name in NAMES[1:]:
        assert (params[name]["fc"]["kernel"] != 1).all()


def test_undecayed_groups_do_not_decay():
    groups = optimizer.Groups(weight_decay=0.5, undecayed=("others", "bottleneck"))
    params, norm = _moved(groups, gradient=0.25, momentum=0.0)
    for name in NAMES:
        decayed = name in ("encoder", "classifier")
        expected = 0.75 if decayed else 0.25
        assert params[name]["fc"] == {"kernel": expected, "bias": expected}, name
    assert norm["bn"] == {"scale": 0.75, "bias": 0.75}


def test_adam_also_decays_by_group():
    """Decay is part of the gradient: if larger, it changes the sign of the step."""
    groups = optimizer.Groups(weight_decay=0.5, undecayed=("others",))
    params, _ = _moved(groups, gradient=-0.25, make=optimizer.adam)
    signs = {name: np.sign(params[name]["fc"]["kernel"]) for name in NAMES}
    assert signs == dict(zip(NAMES, (1, 1, 1, -1), strict=True))


def torch_adam(w, grads, *, rate, decay, b1=0.9, b2=0.999, epsilon=1e-8):
    """torch.optim.Adam in float64; None stands for a step without gradient."""
    w, m, v, n = np.array(w, np.float64), 0.0, 0.0, 0
    for grad in grads:
        if grad is None:
            continue
        n += 1
        g = grad + decay * w
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        root = np.sqrt(v) / np.sqrt(1 - b2**n) + epsilon
        w = w - rate / (1 - b1**n) * m / root
    return w


def _draws(count):
    """Gradients of several magnitudes and signs, some of them tiny."""
    random = np.random.default_rng(0)
    scales = [1.0, 1e-3, 10.0, 1e-6, 0.1, 1.0, 1e-2, 3.0][:count]
    return [scale * random.standard_normal(2) for scale in scales]


def test_adam_is_torchs():
    groups = optimizer.Groups({"encoder": 0.5}, weight_decay=0.1)
    adam = optimizer.adam(constant(0.01), groups=groups)
    draws = _draws(8)
    # "head" has no gradient in steps 0, 1, 2 and 6; row 1 of norm, in odd steps.
    head = [None, None, None, *draws[3:6], None, draws[7]]
    rows = [draws, [g if i % 2 == 0 else None for i, g in enumerate(draws)]]

    def tree(i):
        def leaf(g):
            return jnp.zeros(2) if g is None else jnp.asarray(g, jnp.float32)

        params = {"encoder": {"w": leaf(draws[i])}, "head": {"w": leaf(head[i])}}
        return params, {"bn": {"scale": jnp.stack([leaf(row[i]) for row in rows])}}

    start = jnp.array([1.0, -2.0])
    trained = (
        {"encoder": {"w": start}, "head": {"w": start}},
        {"bn": {"scale": jnp.stack([start, start])}},
    )
    (params, norm), state = _run(adam, trained, [tree(i) for i in range(8)])

    def expect(actual, grads, rate):
        expected = torch_adam(start, grads, rate=rate, decay=0.1)
        np.testing.assert_allclose(actual, expected, rtol=1e-5)

    expect(params["encoder"]["w"], draws, 0.005)
    expect(params["head"]["w"], head, 0.01)
    expect(norm["bn"]["scale"][0], rows[0], 0.005)
    expect(norm["bn"]["scale"][1], rows[1], 0.005)
    params_count, norm_count = state[0].count
    assert (params_count["encoder"]["w"], params_count["head"]["w"]) == (8, 4)
    np.testing.assert_array_equal(norm_count["bn"]["scale"], [[8], [4]])


def test_the_state_of_adam_keeps_its_types():
    adam = optimizer.adam(constant(0.01))
    state = adam.init(_trained())
    _, later = adam.update(_grads(), state, _trained())
    same = jax.tree.map(
        lambda a, b: a.shape == b.shape and a.dtype == b.dtype, state, later
    )
    assert all(jax.tree.leaves(same))
