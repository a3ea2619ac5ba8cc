"""DANN, ADDA, MADA: which parameters each loss lowers, raises and leaves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.methods import adda, dann
from dact_jax.models import heads
from dact_jax.training import optimizer, schedules, step
from dact_jax.types import SOURCE, TARGET, Features
from tests import toy

SHAPE = (4, 4, 1)


def build(name, encoder=None, rows=1, **options):
    method = toy.small(name, **options)
    network = toy.network(method, encoder or toy.Flat(), num_norms=rows)
    return method, network, toy.start(method, toy.drawn(network, SHAPE))


def measure(method, network, variables, batch, key, progress, name):
    """One metric of the loss with its gradient, as a function of params."""

    def metric(params):
        _, (_, metrics) = method.losses[0](
            network,
            variables._replace(params=params),
            batch,
            key,
            jnp.float32(progress),
        )
        return metrics[name]

    return jax.jit(jax.value_and_grad(metric))


def moved(params, grads, group):
    """One small step down the gradient of one group."""
    scale = 1e-2 / sum(jnp.sum(g * g) for g in jax.tree.leaves(grads[group])) ** 0.5
    step = jax.tree.map(lambda w, g: w - scale * g, params[group], grads[group])
    return params | {group: step}


@pytest.mark.parametrize(
    ("name", "options", "metric", "head"),
    [
        ("dann", {"form": "cdan"}, "domain_loss", "discriminator"),
        ("dann", {"form": "tll"}, "domain_loss", "discriminator"),
        ("adda", {"form": "reversal"}, "domain_loss", "discriminator"),
        ("mada", {}, "domain_loss", "discriminators"),
        ("alda", {"threshold": 0.4}, "adversarial", "discriminator"),
        ("aada", {}, "domain_loss", "discriminator"),
    ],
)
def test_discriminators_descend_and_encoders_ascend(name, options, metric, head, key):
    method, network, variables = build(name, **options)
    batch = toy.batch(key, side=4, size=16)
    loss = measure(method, network, variables, batch, key, 0.5, metric)
    before, grads = loss(variables.params)
    for group, sign in ((head, -1), ("encoder", 1)):
        after, _ = loss(moved(variables.params, grads, group))
        assert np.sign(after - before) == sign, group


def test_addas_mapping_loss_trains_the_encoder_only(key):
    method, network, variables = build("adda", form="inverted")
    batch = toy.batch(key, side=4, size=16)
    mapping, domain = (
        measure(method, network, variables, batch, key, 0.5, name)
        for name in ("mapping_loss", "domain_loss")
    )
    before, grads = mapping(variables.params)
    after, _ = mapping(moved(variables.params, grads, "encoder"))
    assert after < before
    assert not any(np.any(g) for g in jax.tree.leaves(grads["discriminator"]))
    before, grads = domain(variables.params)
    after, _ = domain(moved(variables.params, grads, "discriminator"))
    assert after < before
    assert not any(np.any(g) for g in jax.tree.leaves(grads["encoder"]))


def value_and_gradients(name, batch, key, progress, **options):
    method, network, variables = build(name, **options)

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        changed = variables._replace(params=params)
        return method.losses[0](network, changed, batch, key, jnp.float32(progress))[0]

    return loss(variables.params)


def test_the_forms_of_dann_agree_without_batch_norm(key):
    batch = toy.batch(key, side=4)
    options = {"dropout": 0.0, "reversal_lead": 0.0}
    cdan, tll = (
        value_and_gradients("dann", batch, key, 0.1, form=form, **options)
        for form in ("cdan", "tll")
    )
    assert toy.same(cdan, tll, rtol=1e-4, atol=1e-6)


def test_the_means_of_dann_by_hand():
    """One source sample with logit log 3, three target samples with logit 0."""
    source, target = jnp.array([[jnp.log(3.0)]]), jnp.zeros((3, 1))
    parts = np.log(4 / 3), np.log(2)  # of the source, of each target
    expected = {"cdan": (parts[0] + 3 * parts[1]) / 4, "tll": sum(parts) / 2}
    for form, value in expected.items():
        domain = dann.domain_loss(source, target, form)
        np.testing.assert_allclose(domain, value, rtol=1e-6)


def test_batches_of_two_sizes_need_separate_passes(key):
    batch = toy.batch(key, side=4)
    batch = batch._replace(unlabeled=batch.unlabeled[:3])
    value, _ = value_and_gradients("dann", batch, key, 0.1, form="cdan")
    assert np.isfinite(value)
    fields = r"train\.batch_source=4.*train\.batch_unlabeled=3"
    for name, options in (
        ("dann", {"form": "tll"}),
        ("mada", {"joint": True}),
        ("alda", {"joint": True}),
        ("jan", {}),
    ):
        with pytest.raises(errors.InputError, match=fields):
            value_and_gradients(name, batch, key, 0.1, **options)


def test_only_madas_reversal_clips_progress_at_one(key):
    batch = toy.batch(key, side=4)
    for name, clips in (("mada", True), ("dann", False)):
        method, network, variables = build(name, dropout=0.0)
        encoder = [
            measure(method, network, variables, batch, key, progress, "domain_loss")(
                variables.params
            )[1]["encoder"]
            for progress in (1.0, 3.0)
        ]
        assert toy.same(*encoder) == clips, name


def test_an_unknown_form_is_rejected():
    with pytest.raises(errors.InputError, match=r"dann\.form='tl'.*'tll'"):
        plugins.load("methods", "dann", 3, form="tl")
    with pytest.raises(errors.InputError, match=r"adda\.form='grl'.*'reversal'"):
        plugins.load("methods", "adda", 3, form="grl")


@pytest.mark.parametrize("form", ["inverted", "reversal"])
def test_adda_trains_the_target_encoder_only(form, key):
    """Also with weight decay and momentum; only labels move the classifier."""
    method, network, variables = build(
        "adda", toy.Normed(), rows=2, form=form, bottleneck=5
    )
    sgd = optimizer.sgd(schedules.make("constant", 0.05, 1))
    advance = jax.jit(step.make_step(network, method, sgd, num_steps=4))
    start = step.init_state(variables, sgd)
    labelled, _ = advance(start, toy.batch(key, side=4), key)
    assert changed(start, labelled) == {
        "encoder",
        "bottleneck",
        "classifier",
        "discriminator",
    }
    state = labelled
    for _ in range(2):
        state, _ = advance(state, toy.batch(key, side=4, target=False), key)
    assert changed(labelled, state) == {"encoder", "bottleneck", "discriminator"}
    for old, new in zip(*map(rows_of, (start, state)), strict=True):
        np.testing.assert_array_equal(old[SOURCE], new[SOURCE])
        assert (old[TARGET] != new[TARGET]).any()


def changed(before, after):
    old, new = before.variables.params, after.variables.params
    return {name for name in old if not toy.same(old[name], new[name])}


def rows_of(state):
    return jax.tree.leaves((state.variables.norm, state.variables.stats))


def test_adda_encodes_the_source_with_the_encoder_of_the_first_stage(key):
    """In evaluation mode, and also after the target encoder has changed."""
    method, network, variables = build("adda", toy.Normed(), bottleneck=5)
    batch = toy.batch(key, side=4, target=False)
    frozen = variables.params[adda.SOURCE_ENCODER]
    assert toy.same(frozen["params"]["encoder"], variables.params["encoder"])
    zeros = jax.tree.map(jnp.zeros_like, variables.params["encoder"])
    later = variables._replace(params=variables.params | {"encoder": zeros})
    features, _ = network.encode(
        variables, batch.source.image[None], (SOURCE,), train=False
    )
    source_logits = network.head(variables, "discriminator", features)
    features, _ = network.encode(later, batch.unlabeled[None], (TARGET,), train=True)
    target_logits = network.head(later, "discriminator", features)
    compiled = jax.jit(functools.partial(method.losses[0], network))
    _, (_, metrics) = compiled(later, batch, key, jnp.float32(0))
    expected = adda.discriminator_loss(source_logits, target_logits)
    np.testing.assert_allclose(metrics["domain_loss"], expected, rtol=1e-5)


def test_madas_discriminators_equal_a_loop_over_single_ones():
    head = heads.ClasswiseDiscriminator(3, hidden=(7, 6), dropout=0.0)
    random = np.random.default_rng(0)
    features = Features(
        jnp.asarray(random.standard_normal((2, 4, 5)), jnp.float32),
        (),
        jnp.asarray(random.standard_normal((2, 4, 3)), jnp.float32),
    )
    params = head.init(jax.random.key(0), features)["params"]["each"]
    params = jax.tree.map(lambda w: w + 0.1, params)  # biases start at 0
    logits = head.apply({"params": {"each": params}}, features)
    p = jax.nn.softmax(features.logits)
    single = heads.Discriminator(1, hidden=(7, 6), dropout=0.0)
    for k in range(3):
        params_k = jax.tree.map(lambda w, k=k: w[k], params)
        weighted = p[..., k : k + 1] * features.embedding
        inputs = features._replace(embedding=weighted)
        expected = single.apply({"params": params_k}, inputs)[..., 0]
        np.testing.assert_allclose(logits[..., k], expected, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2])
def test_joint_passes_share_moments_only_with_one_norm_row(rows, key):
    """The domains' means differ; in separate passes each is centered by its own."""
    batch = toy.batch(key, side=4, size=16)
    batch = batch._replace(unlabeled=batch.unlabeled + 3.0, target=None)
    losses = []
    for joint in (True, False):
        method, network, variables = build("mada", toy.Normed(), rows, joint=joint)
        loss = jax.jit(functools.partial(method.losses[0], network))
        losses.append(loss(variables, batch, key, jnp.float32(0.5))[0])
    same = np.allclose(*losses, rtol=1e-4)
    assert same == (rows == 2)
