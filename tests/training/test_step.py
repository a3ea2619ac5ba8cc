import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import devices, keys, plugins
from dact_jax.models import model
from dact_jax.training import optimizer, schedules, step
from dact_jax.types import Batch, Examples, Variables
from tests import toy

GOLDEN = toy.golden("mme_step")


def _made(name="mme", **options):
    method = plugins.load("methods", name, 3, **options)
    network = toy.network(method, num_norms=2)
    schedule = schedules.make("inverse", 0.01, 10)
    sgd = optimizer.sgd(schedule, updates_per_iteration=len(method.losses))
    variables = network.init(jax.random.key(1), (16, 16, 1))
    state = step.init_state(variables, sgd)
    return state, step.make_step(network, method, sgd, num_steps=10)


def _identity(resident, drawn, key):
    del resident, key
    return drawn


def _batches(count):
    drawn = [toy.batch(jax.random.key(i)) for i in range(count)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)


def test_scan_equals_a_loop_of_steps(key):
    state, one = _made()
    many = jax.jit(step.scan_steps(one, _identity))
    drawn = _batches(3)
    scanned, metrics = many(state, (), drawn, key)
    looped, losses = state, []
    for i in range(3):
        now = keys.key(key, "iteration", i)
        part = jax.tree.map(lambda leaf, i=i: leaf[i], drawn)
        looped, found = jax.jit(one)(looped, part, keys.key(now, "step"))
        losses.append(found["loss"])
    assert scanned.step == 3
    assert toy.same(scanned, looped, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-4)


def test_two_devices_equal_one(key):
    assert jax.device_count() == 2
    state, one = _made()
    many = jax.jit(step.scan_steps(one, _identity))
    drawn = _batches(2)
    alone, _ = many(state, (), drawn, key)
    split = jax.device_put(drawn, devices.batched(devices.make_mesh(), axis=1))
    everywhere = jax.device_put(state, devices.replicated(devices.make_mesh()))
    shared, _ = many(everywhere, (), split, key)
    assert toy.same(alone, jax.device_get(shared), rtol=1e-4, atol=1e-5)


def test_the_second_step_does_not_compile_again(key):
    state, one = _made()
    compiled = jax.jit(one)
    for i in range(3):
        state, _ = compiled(state, toy.batch(jax.random.key(i)), key)
    assert compiled._cache_size() == 1


def test_iterations_of_mme_equal_the_reference_code():
    """golden mme_step: main.py with a linear encoder; our target batch is padded."""
    method = plugins.load("methods", "mme", GOLDEN["init_fc2_weight"].shape[0])
    width = GOLDEN["init_G_weight"].shape[0]
    network = model.make_model(toy.Flat(width), method.heads, 1)
    start = int(GOLDEN["start_step"])
    schedule = schedules.make("inverse", 0.01, 1, gamma=1e-4)
    sgd = optimizer.sgd(
        lambda i: schedule(i + start),
        groups=optimizer.Groups({"encoder": 0.1}),
        updates_per_iteration=2,
    )
    params = {
        "encoder": {"fc": {"kernel": _w("init_G_weight"), "bias": _b("init_G_bias")}},
        "classifier": {
            "fc1": {"kernel": _w("init_fc1_weight"), "bias": _b("init_fc1_bias")},
            "fc2": {"kernel": _w("init_fc2_weight")},
        },
    }
    state = step.init_state(Variables(params, {}, {}), sgd)
    one = jax.jit(step.make_step(network, method, sgd, 100))
    for i in range(int(GOLDEN["n_steps"])):
        state, metrics = one(state, _golden_batch(i), jax.random.key(0))
        loss = {"rtol": 1e-3, "atol": 1e-5}
        np.testing.assert_allclose(
            metrics["cross_entropy"], GOLDEN[f"s{i}_loss"], **loss
        )
        entropy = -0.1 * metrics["entropy"]
        np.testing.assert_allclose(entropy, GOLDEN[f"s{i}_loss_t"], **loss)
        now = state.variables.params
        for name, leaf in {
            "G_weight": now["encoder"]["fc"]["kernel"].T,
            "G_bias": now["encoder"]["fc"]["bias"],
            "fc1_weight": now["classifier"]["fc1"]["kernel"].T,
            "fc1_bias": now["classifier"]["fc1"]["bias"],
            "fc2_weight": now["classifier"]["fc2"]["kernel"].T,
        }.items():
            np.testing.assert_allclose(
                leaf, GOLDEN[f"s{i}_{name}"], rtol=1e-3, atol=1e-5
            )


def _w(name):
    return jnp.asarray(GOLDEN[name].T)


def _b(name):
    return jnp.asarray(GOLDEN[name])


def _golden_batch(i):
    def images(name):
        return jnp.asarray(GOLDEN[f"s{i}_{name}"])[:, None, None, :]

    source, target = images("xs"), images("xt")
    missing = len(source) - len(target)  # the reference's batch is smaller: pad ours
    target = jnp.concatenate([target, target[:missing]])
    label = np.concatenate([GOLDEN[f"s{i}_yt"], np.full(missing, -1)])
    return Batch(
        Examples(source, jnp.asarray(GOLDEN[f"s{i}_ys"], jnp.int32)),
        Examples(target, jnp.asarray(label, jnp.int32)),
        images("xu"),
    )
