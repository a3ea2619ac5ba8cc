"""Complete training steps of the methods against those of the reference codes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import keys, ops
from dact_jax.methods import aada, alda, clue_mme
from dact_jax.models import model
from dact_jax.training import optimizer, schedules, step
from dact_jax.types import Batch, Examples, Variables
from tests import toy

ALDA = toy.golden("alda_step")
ALDA_LAYERS = {  # our group and layer -> the fixture's name
    ("encoder", "fc"): "base_feature_layers",
    ("bottleneck", "fc"): "base_bottleneck",
    ("classifier", "fc"): "base_fc",
    ("discriminator", "fc1"): "ad_ad_layer1",
    ("discriminator", "fc2"): "ad_ad_layer2",
    ("discriminator", "logits"): "ad_ad_layer3",
}
CLUE_LAYERS = {
    ("encoder", "fc"): "body",
    ("classifier", "fc"): "classifier",
    ("discriminator", "fc1"): "disc.0",
    ("discriminator", "fc2"): "disc.2",
    ("discriminator", "logits"): "disc.4",
}


def read(fixture, layers, prefix, separator):
    """The params of our network that the fixture holds under a prefix."""
    params = {}
    for (group, name), theirs in layers.items():
        names = [f"{prefix}{theirs}{separator}{leaf}" for leaf in ("weight", "bias")]
        if names[0] in fixture:
            layer = toy.layer(*(fixture[name] for name in names))
            params.setdefault(group, {})[name] = layer
    return params


def close(actual, expected, **tolerance):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, **tolerance), actual, expected
    )


def test_iterations_of_alda_equal_the_reference_code(key):
    """train.py from iteration 1000 on, of 10 000: losses, gradients, parameters."""
    read_alda = functools.partial(read, ALDA, ALDA_LAYERS, separator="_")
    start = int(ALDA["start_iter"])
    method = alda.make(
        4, threshold=float(ALDA["threshold"]), bottleneck=6, hidden=7, dropout=0.0
    )
    network = model.make_model(toy.Flat(7, rectify=True), method.heads, 1)
    schedule = schedules.make("inverse", 1e-3, 1, gamma=1e-3)
    new = ("bottleneck", "classifier", "others")
    groups = optimizer.Groups(dict.fromkeys(new, 10.0), weight_decay=1e-3)
    sgd = optimizer.sgd(lambda i: schedule(i + start), groups=groups)
    state = step.init_state(Variables(read_alda("init_"), {}, {}), sgd)
    state = state._replace(step=jnp.int32(start))
    advance = jax.jit(step.make_step(network, method, sgd, 10_000))

    @jax.jit
    def gradients(state, batch):
        def loss(params):
            return method.losses[0](
                network,
                state.variables._replace(params=params),
                batch,
                keys.key(key, "loss", 0),
                state.step.astype(jnp.float32) / 10_000,
            )[0]

        return jax.grad(loss)(state.variables.params)

    for i in range(int(ALDA["n_steps"])):
        source = Examples(toy.vectors(ALDA[f"s{i}_xs"]), toy.labels(ALDA[f"s{i}_ys"]))
        batch = Batch(source, None, toy.vectors(ALDA[f"s{i}_xt"]))
        grads = gradients(state, batch)
        close(grads, read_alda(f"s{i}_grad_"), rtol=1e-4, atol=1e-6)
        state, metrics = advance(state, batch, key)
        losses = {
            "cls": metrics["cross_entropy"],
            "adv": metrics["adversarial"],
            "reg": metrics["regularization"],
            "correct": metrics["corrected"],
            "n_kept": metrics["kept"],
        }
        expected = {name: ALDA[f"s{i}_{name}"] for name in losses}
        close(losses, expected, rtol=1e-4, atol=1e-6)
        total = sum(expected[name] for name in ("cls", "adv", "reg"))
        total += ALDA[f"s{i}_trade_off"] * expected["correct"]
        np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)
        close(state.variables.params, read_alda(f"s{i}_"), rtol=1e-4, atol=1e-6)


def test_the_coefficients_of_alda_are_one_iteration_apart():
    for i in range(int(ALDA["n_steps"])):
        progress = jnp.float32((ALDA["start_iter"] + i) / 10_000)
        for name, lead in (("trade_off", 0.0), ("grl_coeff", 1e-4)):
            ours = ops.adaptation(progress + lead)
            np.testing.assert_allclose(ours, ALDA[f"s{i}_{name}"], rtol=1e-6)


@pytest.mark.parametrize(
    ("case", "method"),
    [
        ("mme_r0", clue_mme.make(4)),
        ("mme_r1", clue_mme.make(4)),
        ("dann_r1", aada.make(4, hidden=6)),
    ],
)
def test_an_epoch_of_clues_solvers_equals_the_reference_code(case, method, key):
    """Adam changes a weight by 2e-4 a step; the tolerance is 1/100 of that."""
    fixture = toy.golden("clue_solver")
    read_clue = functools.partial(read, fixture, CLUE_LAYERS, separator=".")
    labelled = fixture[f"{case}_da_round"] > 0
    # With labelled target images, their batches end the epoch.
    length = int(fixture[f"{case}_{'n_tl_batches' if labelled else 'n_batches'}"])

    network = model.make_model(toy.Flat(5, rectify=True), method.heads, 1)
    adam = optimizer.adam(
        schedules.make("constant", float(fixture[f"{case}_lr"]), 1),
        groups=optimizer.Groups(
            weight_decay=float(fixture[f"{case}_wd"]), undecayed=("others",)
        ),
        updates_per_iteration=len(method.losses),
    )
    params = read_clue(f"{case}_init_")
    state = step.init_state(Variables(params, {}, {}), adam)
    advance = jax.jit(step.make_step(network, method, adam, length))
    for i in range(length):

        def examples(name, i=i):
            images, label = (fixture[f"{case}_{name}{i}_{part}"] for part in "xy")
            return Examples(toy.vectors(images), toy.labels(label))

        target = examples("tl") if labelled else None
        batch = Batch(examples("src"), target, examples("tu").image)
        state, _ = advance(state, batch, key)
    final = read_clue(f"{case}_final_")
    assert set(final) == {"encoder", *method.heads}
    close(state.variables.params, final, rtol=0, atol=2e-6)
