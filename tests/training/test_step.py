"""Steps of a method: in a loop, on several devices, and as MME's reference code."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import devices, keys, plugins
from dact_jax.models import lenet, model
from dact_jax.training import optimizer, schedules, step
from dact_jax.types import Batch, Examples, TrainState, Variables
from tests import toy

GOLDEN = toy.golden("mme_step")


class Dropped(nn.Module):
    """A layer with batch norm and dropout: keys and norm rows matter."""

    @nn.compact
    def __call__(self, images, *, train):
        x, taps = toy.Normed(name="normed")(images, train=train)
        return nn.Dropout(0.5, deterministic=not train)(x), taps


class Compiled(NamedTuple):
    state: TrainState  # the first
    advance: Callable  # (state, batch, key) -> state, metrics
    loop: Callable  # (state, drawn, key) -> state, metrics of all iterations
    drawn: Batch  # a chunk of three batches


def _drawn(resident, drawn, key):
    return drawn


def compile_steps(name, encoder, side):
    """The jitted steps of a method; a compilation serves all of its tests."""
    method = plugins.load("methods", name, 3)
    network = toy.network(method, encoder, num_norms=2)
    schedule = schedules.make("inverse", 0.01, 10)
    sgd = optimizer.sgd(schedule, updates_per_iteration=len(method.losses))
    state = step.init_state(toy.drawn(network, (side, side, 1)), sgd)
    advance = step.make_step(network, method, sgd, num_steps=10)
    some = jax.jit(step.loop_steps(advance, _drawn))

    def loop(state, drawn, key):
        empty = step.no_metrics(advance, _drawn)(state, (), drawn, key)
        return some(state, empty, (), drawn, key, 0, 3)

    batches = [toy.batch(jax.random.key(i), side=side) for i in range(3)]
    drawn = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
    return Compiled(state, jax.jit(advance), loop, drawn)


@pytest.fixture(scope="module")
def mme():
    return compile_steps("mme", Dropped(), 4)


@pytest.fixture(scope="module")
def convolutions():
    """Without dropout, which would take longest to compile and which `mme` has."""
    encoder = lenet.LeNet(
        width=16, batch_norm=True, implementation="tiled", dropout=0.0
    )
    return compile_steps("source_only", encoder, 16)


def test_a_compiled_loop_equals_steps(mme, key):
    at_once, metrics = mme.loop(mme.state, mme.drawn, key)
    looped, losses = mme.state, []
    for i in range(3):
        batch = jax.tree.map(lambda leaf, i=i: leaf[i], mme.drawn)
        step_key = keys.key(keys.key(key, "iteration", i), "step")
        looped, step_metrics = mme.advance(looped, batch, step_key)
        losses.append(step_metrics["loss"])
    assert at_once.step == 3
    assert toy.same(at_once, looped, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-4)


@pytest.mark.parametrize("name", ["mme", "convolutions"])
def test_two_devices_equal_one(name, request, key):
    assert jax.device_count() == 2
    compiled = request.getfixturevalue(name)
    one_device, _ = compiled.loop(compiled.state, compiled.drawn, key)
    mesh = devices.make_mesh()
    drawn = jax.device_put(compiled.drawn, devices.batched(mesh, axis=1))
    state = jax.device_put(compiled.state, devices.replicated(mesh))
    two_devices, _ = compiled.loop(state, drawn, key)
    assert toy.same(one_device, jax.device_get(two_devices), rtol=1e-4, atol=1e-5)


def test_the_second_step_does_not_compile_again(mme, key):
    state = mme.state
    for i in range(3):
        state, _ = mme.advance(state, toy.batch(jax.random.key(i), side=4), key)
    assert mme.advance._cache_size() == 1


def test_iterations_of_mme_equal_the_reference_code():
    """Golden mme_step: main.py with a linear encoder; our target batch is padded."""
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
        "encoder": {
            "fc": {"kernel": kernel("init_G_weight"), "bias": bias("init_G_bias")}
        },
        "classifier": {
            "fc1": {"kernel": kernel("init_fc1_weight"), "bias": bias("init_fc1_bias")},
            "fc2": {"kernel": kernel("init_fc2_weight")},
        },
    }
    state = step.init_state(Variables(params, {}, {}), sgd)
    advance = jax.jit(step.make_step(network, method, sgd, 100))
    for i in range(int(GOLDEN["n_steps"])):
        state, metrics = advance(state, golden_batch(i), jax.random.key(0))
        loss = {"rtol": 1e-3, "atol": 1e-5}
        np.testing.assert_allclose(
            metrics["cross_entropy"], GOLDEN[f"s{i}_loss"], **loss
        )
        entropy = -0.1 * metrics["entropy"]
        np.testing.assert_allclose(entropy, GOLDEN[f"s{i}_loss_t"], **loss)
        trained = state.variables.params
        for name, leaf in {
            "G_weight": trained["encoder"]["fc"]["kernel"].T,
            "G_bias": trained["encoder"]["fc"]["bias"],
            "fc1_weight": trained["classifier"]["fc1"]["kernel"].T,
            "fc1_bias": trained["classifier"]["fc1"]["bias"],
            "fc2_weight": trained["classifier"]["fc2"]["kernel"].T,
        }.items():
            np.testing.assert_allclose(
                leaf, GOLDEN[f"s{i}_{name}"], rtol=1e-3, atol=1e-5
            )


def kernel(name):
    return jnp.asarray(GOLDEN[name].T)


def bias(name):
    return jnp.asarray(GOLDEN[name])


def golden_batch(i):
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
