import jax
import jax.numpy as jnp
import numpy as np
import optax

from dact_jax import optimizer

GOLDEN = np.load("tests/golden/schedules_dev.npz")


def _trained():
    params = {"encoder": {"w": jnp.array([1.0, -2.0])}, "head": {"w": jnp.ones(2)}}
    return params, {"bn": {"scale": jnp.ones((2, 3))}}


def _grads(encoder=1.0, head=1.0, rows=(1.0, 1.0)):
    params = {
        "encoder": {"w": jnp.full(2, encoder)},
        "head": {"w": jnp.full(2, head)},
    }
    return params, {"bn": {"scale": jnp.outer(jnp.array(rows), jnp.ones(3))}}


def test_inverse_decay_is_that_of_the_reference():
    for group, multiplier in enumerate((0.1, 1.0)):
        schedule = optimizer.inverse_decay(0.01 * multiplier, 1e-4)
        ours = [schedule(int(step)) for step in GOLDEN["steps"]]
        np.testing.assert_allclose(ours, GOLDEN["mme_lr"][:, group], rtol=1e-6)


def test_two_steps_of_nesterov_by_hand():
    sgd = optimizer.sgd(
        lambda i: jnp.float32(0.1), weight_decay=0.5, encoder_multiplier=0.1
    )
    trained = _trained()
    state = sgd.init(trained)
    w, b = np.array([1.0, -2.0]), 0.0
    for _ in range(2):
        updates, state = sgd.update(_grads(), state, trained)
        trained = optax.apply_updates(trained, updates)
        g = 1.0 + 0.5 * w
        b = 0.9 * b + g
        w = w - 0.1 * 0.1 * (g + 0.9 * b)
    np.testing.assert_allclose(trained[0]["encoder"]["w"], w, rtol=1e-6)


def test_plain_momentum_by_hand():
    sgd = optimizer.sgd(lambda i: jnp.float32(0.1), nesterov=False, weight_decay=0.0)
    trained = _trained()
    state = sgd.init(trained)
    for _ in range(2):
        updates, state = sgd.update(_grads(), state, trained)
    np.testing.assert_allclose(updates[0]["head"]["w"], -0.1 * 1.9, rtol=1e-6)


def test_what_a_loss_does_not_reach_keeps_its_value_and_momentum():
    sgd = optimizer.sgd(lambda i: jnp.float32(0.1))
    trained = _trained()
    _, state = sgd.update(_grads(), sgd.init(trained), trained)
    once, _ = sgd.update(_grads(), state, trained)
    idle, state = sgd.update(_grads(head=0.0, rows=(0.0, 1.0)), state, trained)
    np.testing.assert_array_equal(idle[0]["head"]["w"], 0)
    np.testing.assert_array_equal(idle[1]["bn"]["scale"][0], 0)
    assert (idle[1]["bn"]["scale"][1] != 0).all()
    assert (idle[0]["encoder"]["w"] != 0).all()
    after, _ = sgd.update(_grads(), state, trained)
    np.testing.assert_allclose(after[0]["head"]["w"], once[0]["head"]["w"])
    np.testing.assert_allclose(after[1]["bn"]["scale"][0], once[1]["bn"]["scale"][0])


def test_losses_of_one_iteration_share_its_learning_rate():
    sgd = optimizer.sgd(
        lambda i: jnp.where(i == 0, 1.0, 0.5),
        momentum=0.0,
        weight_decay=0.0,
        updates_per_iteration=2,
    )
    trained = _trained()
    state = sgd.init(trained)
    sizes = []
    for _ in range(4):
        updates, state = jax.jit(sgd.update)(_grads(), state, trained)
        sizes.append(-float(updates[0]["head"]["w"][0]))
    assert sizes == [1.0, 1.0, 0.5, 0.5]
