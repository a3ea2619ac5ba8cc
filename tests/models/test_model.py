"""Functions of a model: streams, batch-norm rows, keys and heads."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dact_jax.models import conv, heads, lenet, model, norm, resnet
from dact_jax.types import SOURCE, TARGET
from tests import toy

SHAPE = (6, 6, 2)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class Tiny(nn.Module):
    """Two convolutions with batch norm."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, images, *, train):
        x = conv.Conv(4, (3, 3), use_bias=False, name="conv1")(images)
        x = nn.relu(norm.BatchNorm(name="bn1")(x, train=train))
        y = conv.Conv(3, (2, 2), use_bias=False, name="conv2")(x)
        y = norm.BatchNorm(name="bn2")(y, train=train)
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return y.reshape(len(y), -1), (x.mean((1, 2)), y.mean((1, 2)))


def images(streams, batch=4, seed=0):
    """Streams that differ in mean and scale, as domains do."""
    normal = np.random.default_rng(seed).standard_normal((streams, batch, *SHAPE))
    offset = np.arange(streams).reshape(-1, 1, 1, 1, 1)
    return jnp.asarray((1 + offset) * normal + offset, jnp.float32)


CLASSIFIER = (("classifier", heads.Linear(3)),)


@functools.cache
def build(num_norms, *, dropout=0.0, head_items=CLASSIFIER):
    """A model with variables, all positive and different in every norm row."""
    network = model.make_model(Tiny(dropout), dict(head_items), num_norms)
    return network, positive(lambda key: network.init(key, SHAPE))


def positive(init):
    """Leaves shaped as init returns them, from U(0.1, 0.9): nothing to compile."""
    shapes = jax.eval_shape(init, jax.random.key(0))
    random = np.random.default_rng(1)

    def draw(leaf):
        return jnp.asarray(random.uniform(0.1, 0.9, leaf.shape), leaf.dtype)

    return jax.tree.map(draw, shapes)


def build_heads(num_norms, **head_modules):
    return build(num_norms, head_items=tuple(head_modules.items()))


def encode(network, *args, **options):
    compiled = jax.jit(network.encode, static_argnums=(2,), static_argnames=("train",))
    return compiled(*args, **options)


@jax.jit
def bare(variables, images):
    return Tiny().apply(variables, images, train=True, mutable=["stats"])


def assert_close(one, other):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **CLOSE), one, other)


def test_init_gives_equal_rows(key):
    network = model.make_model(Tiny(), {"classifier": heads.Linear(3)}, 3)
    variables = network.init(key, SHAPE)
    assert set(variables.params) == {"encoder", "classifier"}
    for leaf in jax.tree.leaves((variables.norm, variables.stats)):
        assert leaf.shape in ((3, 4), (3, 3))
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[0], leaf.shape))


def test_another_head_does_not_change_other_initial_values(key):
    classifier, more = heads.Linear(3), heads.Linear(5)
    one, both = (
        model.make_model(toy.Flat(4), modules, 1).init(key, SHAPE).params
        for modules in (
            {"classifier": classifier},
            {"more": more, "classifier": classifier},
        )
    )
    for name, params in one.items():
        jax.tree.map(np.testing.assert_array_equal, params, both[name])


@pytest.mark.parametrize("domains", [(SOURCE, TARGET), (TARGET, SOURCE), (2, SOURCE)])
def test_streams_equal_separate_calls(domains, key):
    """Values, statistics and gradients of one call with two domains."""
    network, variables = build(3)
    x = images(2)

    def together(params, rows):
        start = variables._replace(params=params, norm=rows)
        features, updated = network.encode(start, x, domains, train=True)
        return jnp.sum(jnp.sin(features.embedding)), (features, updated.stats)

    def apart(params, rows):
        state = variables._replace(params=params, norm=rows)
        parts = []
        for stream, domain in zip(x, domains, strict=True):
            features, state = network.encode(state, stream[None], (domain,), train=True)
            parts.append(features)
        features = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
        return jnp.sum(jnp.sin(features.embedding)), (features, state.stats)

    one, other = (
        jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
            variables.params, variables.norm
        )
        for loss in (together, apart)
    )
    assert_close(one, other)


def test_a_stream_is_the_bare_encoder_with_its_row(key):
    network, variables = build(2)
    x = images(2)
    features, updated = encode(network, variables, x, (SOURCE, TARGET), train=True)
    for row in (SOURCE, TARGET):
        norm_row, stats = jax.tree.map(
            lambda leaf, row=row: leaf[row], (variables.norm, variables.stats)
        )
        (embedding, taps), changed = bare(
            {"params": variables.params["encoder"], "norm": norm_row, "stats": stats},
            x[row],
        )
        assert_close(features.embedding[row], embedding)
        assert_close([tap[row] for tap in features.taps], list(taps))
        new = jax.tree.map(lambda leaf, row=row: leaf[row], updated.stats)
        assert_close(new, changed["stats"])


def test_other_rows_stay_untouched(key):
    network, variables = build(3)
    _, updated = encode(network, variables, images(1), (TARGET,), train=True)
    for old, new in zip(
        jax.tree.leaves(variables.stats), jax.tree.leaves(updated.stats), strict=True
    ):
        np.testing.assert_array_equal(new[::2], old[::2])
        assert np.all(new[TARGET] != old[TARGET])


def test_one_row_is_plain_batch_norm_of_all_streams(key):
    network, variables = build(1)
    x = images(2)
    features, updated = encode(network, variables, x, (SOURCE, TARGET), train=True)
    norm_row, stats = jax.tree.map(
        lambda leaf: leaf[0], (variables.norm, variables.stats)
    )
    (embedding, _), changed = bare(
        {"params": variables.params["encoder"], "norm": norm_row, "stats": stats},
        x.reshape(-1, *SHAPE),
    )
    assert_close(features.embedding.reshape(8, -1), embedding)
    assert_close(jax.tree.map(lambda leaf: leaf[0], updated.stats), changed["stats"])


@pytest.mark.parametrize("num_norms", [1, 2])
def test_evaluation_changes_nothing_and_treats_images_separately(num_norms, key):
    network, variables = build(num_norms, dropout=0.5)
    x = images(2)
    features, same = network.encode(variables, x, (SOURCE, TARGET), train=False)
    assert same is variables
    one, _ = network.encode(variables, x[1:, 2:3], (TARGET,), train=False)
    assert_close(features.embedding[1:, 2:3], one.embedding)
    assert_close([tap[1:, 2:3] for tap in features.taps], list(one.taps))


@pytest.mark.parametrize("num_norms", [1, 2])
def test_split_over_devices_equals_one_device(num_norms, key):
    """Moments are those of the whole batch, and the batch stays split."""
    network, variables = build(num_norms)

    @jax.jit
    def step(params, x):
        def loss(params):
            features, updated = network.encode(
                variables._replace(params=params), x, (SOURCE, TARGET), train=True
            )
            return jnp.sum(jnp.sin(features.embedding)), updated.stats

        return jax.value_and_grad(loss, has_aux=True)(params)

    x = images(2)
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    split = jax.device_put(x, NamedSharding(mesh, PartitionSpec(None, "data")))
    params = jax.device_put(variables.params, NamedSharding(mesh, PartitionSpec()))
    assert_close(step(params, split), step(variables.params, x))
    program = step.lower(params, split).compile().as_text()
    assert "all-reduce" in program
    assert "all-gather" not in program


def test_invalid_domains_images_and_heads_are_rejected(key):
    network, variables = build(2)
    with pytest.raises(ValueError, match=r"domains=\(1, 1\)"):
        network.encode(variables, images(2), (TARGET, TARGET), train=True)
    network.encode(variables, images(2), (TARGET, TARGET), train=False)
    with pytest.raises(ValueError, match=r"domains=\(2,\).*num_norms=2"):
        network.encode(variables, images(1), (2,), train=True)
    with pytest.raises(ValueError, match=r"\[1, B, h, w, C\].*\[2, 4, 6, 6, 2\]"):
        network.encode(variables, images(2), (TARGET,), train=True)
    late = {"early": heads.Linear(2, on="late"), "late": heads.Linear(2)}
    with pytest.raises(ValueError, match="'early' reads 'late'"):
        model.make_model(Tiny(), late, 1)


def test_dropout_follows_the_key(key):
    network, variables = build(2, dropout=0.5)
    x = images(1, seed=3).repeat(2, axis=0)  # the same images in both streams

    def dropped(seed):
        features, _ = encode(
            network,
            variables,
            x,
            (SOURCE, TARGET),
            train=True,
            key=jax.random.key(seed),
        )
        return np.asarray(features.embedding) == 0

    np.testing.assert_array_equal(dropped(1), dropped(1))
    assert np.any(dropped(1) != dropped(2))
    assert np.any(dropped(1)[SOURCE] != dropped(1)[TARGET])
    assert 0.3 < dropped(1).mean() < 0.7


def test_head_uses_dropout_only_with_a_key(key):
    network, variables = build_heads(1, domain=heads.Discriminator(1, hidden=(64,)))
    features, _ = encode(network, variables, images(1), (SOURCE,), train=False)
    call = functools.partial(network.head, variables, "domain", features)
    assert call().shape == (1, 4, 1)
    np.testing.assert_array_equal(call(), call())
    one, other = (call(key=jax.random.key(seed)) for seed in (1, 2))
    assert np.all(one != other)


def test_bottleneck_makes_the_embedding(key):
    network, variables = build_heads(
        2, classifier=heads.Linear(3), bottleneck=heads.Bottleneck(5)
    )
    features, _ = encode(network, variables, images(2), (0, 1), train=False)
    assert features.embedding.shape == (2, 4, 5)
    assert network.head(variables, "classifier", features).shape == (2, 4, 3)
    narrow = network.head(variables, "bottleneck", features)
    np.testing.assert_array_equal(narrow, features.embedding)


def test_a_head_reads_another(key):
    """AADA's discriminator reads logits, and their gradient is reversed."""
    network, variables = build_heads(
        1,
        classifier=heads.Linear(3),
        domain=heads.Discriminator(2, hidden=(7,), on="classifier"),
    )
    assert variables.params["domain"]["fc1"]["kernel"].shape == (3, 7)
    features, _ = encode(network, variables, images(1), (0,), train=False)
    logits = network.head(variables, "classifier", features)
    direct = heads.Discriminator(2, hidden=(7,)).apply(
        {"params": variables.params["domain"]}, features._replace(embedding=logits)
    )
    np.testing.assert_array_equal(network.head(variables, "domain", features), direct)

    def total(params, reverse):
        return network.head(
            variables._replace(params=params), "domain", features, reverse=reverse
        ).sum()

    plain, reversed = (jax.grad(total)(variables.params, r) for r in (None, 1.0))
    assert_close(reversed["domain"], plain["domain"])
    assert_close(
        reversed["classifier"], jax.tree.map(jnp.negative, plain["classifier"])
    )


def test_lenet_needs_no_norm(key):
    network = model.make_model(lenet.LeNet(), {}, 2)
    variables = positive(lambda key: network.init(key, (16, 20, 3)))
    assert (variables.norm, variables.stats) == ({}, {})
    x = jnp.zeros((2, 3, 16, 20, 3))
    features, updated = encode(network, variables, x, (0, 1), train=True, key=key)
    assert features.embedding.shape == (2, 3, 500)
    assert [tap.shape for tap in features.taps] == [(2, 3, 20), (2, 3, 50), (2, 3, 500)]
    assert jax.tree.structure(updated) == jax.tree.structure(variables)


def test_lenet_rejects_tiny_images(key):
    with pytest.raises(ValueError, match="16x16"):
        lenet.LeNet().init(key, jnp.zeros((1, 8, 8, 1)), train=False)


def test_lenet_with_batch_norm_has_rows():
    network = model.make_model(lenet.LeNet(batch_norm=True), {}, 2)
    variables = positive(lambda key: network.init(key, (16, 16, 1)))
    assert jax.tree.map(jnp.shape, variables.norm) == {
        "norm1": {"scale": (2, 20), "bias": (2, 20)},
        "norm2": {"scale": (2, 50), "bias": (2, 50)},
    }


@pytest.mark.parametrize(
    ("block", "variant"),
    [(resnet.basic, "torchvision"), (resnet.bottleneck, "mme")],
)
def test_resnet_implementations_agree(block, variant):
    """Stem, strides and projections; gradients are compared in test_conv."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 32, 32, 3)), "f4")
    stock, *others = (
        resnet.ResNet((1, 1), block, variant, how)
        for how in ("stock", "tiled", "by_shape")
    )
    variables = positive(functools.partial(stock.init, images=x, train=False))
    expected, *found = (
        jax.jit(functools.partial(encoder.apply, train=False))(variables, x)
        for encoder in (stock, *others)
    )
    for outputs in found:
        assert_close(expected, outputs)
