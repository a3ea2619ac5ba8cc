"""The equations of each method, worked by hand, and the direction of its steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors, keys, ops, plugins
from dact_jax.methods import aada, jan
from dact_jax.models import model
from dact_jax.types import SOURCE, TARGET, Batch, Examples, Variables
from tests import toy

IMAGES = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32).reshape(2, 1, 1, 2)
LABELS = np.array([0, 2], np.int32)


def _identity(name, **options):
    """An identity encoder with prototypes (1, 0), (0, 1), (0, 0) as its classifier."""
    method = plugins.load("methods", name, 3, **options)
    network = model.make_model(toy.Flat(2), method.heads, 1)
    prototypes = jnp.array([[1.0, 0, 0], [0, 1.0, 0]])
    variables = network.init(jax.random.key(0), (1, 1, 2))
    classifier = jax.tree.map(jnp.zeros_like, variables.params["classifier"])
    (layer,) = classifier
    classifier[layer]["kernel"] = prototypes
    encoder = {"fc": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}}
    params = {"encoder": encoder, "classifier": classifier}
    return method, network, Variables(params, {}, {})


def _batch():
    target = Examples(jnp.asarray(IMAGES), jnp.array([1, -1], jnp.int32))
    return Batch(Examples(jnp.asarray(IMAGES), jnp.asarray(LABELS)), target, IMAGES)


def _evaluate(number, method, network, variables):
    """Value, variables and metrics of the method's loss of that number."""
    loss = method.losses[number]
    return loss(network, variables, _batch(), jax.random.key(0), jnp.float32(0))


def test_source_only_by_hand():
    """Logits are (1, 0, 0) and (0, 1, 0); of the target only the first is labelled."""
    value, (_, metrics) = _evaluate(0, *_identity("source_only"))
    # -log p: source rows 0 (its label has logit 1) and 1 (0), target row 0 (0)
    expected = np.log(np.e + 2) - 1 / 3
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["cross_entropy"], expected, rtol=1e-5)


def test_minimax_entropy_by_hand():
    options = {"head": "cosine", "temperature": 0.5, "weight": 0.2}
    value, (_, metrics) = _evaluate(1, *_identity("mme", **options))
    p = np.exp([2.0, 0, 0]) / np.exp([2.0, 0, 0]).sum()  # cosine 1 over T = 0.5
    entropy = -(p * np.log(p + 1e-5)).sum()
    np.testing.assert_allclose(metrics["entropy"], entropy, rtol=1e-5)
    np.testing.assert_allclose(value, -0.2 * entropy, rtol=1e-5)


@pytest.mark.parametrize("head", ["cosine", "two_layer"])
def test_classifier_steps_raise_target_entropy_and_encoder_steps_lower_it(head, key):
    method = plugins.load("methods", "mme", 3, head=head, temperature=0.5)
    network = toy.network(method, toy.Normed())
    variables = toy.drawn(network, (4, 4, 1))
    batch = toy.batch(key, side=4, size=16)

    @jax.jit
    @jax.grad
    def gradient(params):
        changed = variables._replace(params=params)
        return method.losses[1](network, changed, batch, key, jnp.float32(0))[0]

    @jax.jit
    def entropy(params):
        changed = variables._replace(params=params)
        # Training mode with the key of the loss: exactly what the loss computes.
        features, _ = network.encode(
            changed,
            batch.unlabeled[None],
            (TARGET,),
            train=True,
            key=keys.key(key, "encoder"),
        )
        return ops.entropy(network.head(changed, "classifier", features))

    before, grads = entropy(variables.params), gradient(variables.params)
    for name, sign in _groups(head):
        moved = _descend(variables.params, grads, name)
        assert np.sign(entropy(moved) - before) == sign, name


def _groups(head):
    """Parameter groups, and the sign of the entropy's change after a step on them."""
    yield ("encoder",), -1
    if head == "two_layer":
        yield ("classifier", "fc1"), -1  # reversal is after fc1: it moves with F
        yield ("classifier", "fc2"), 1
    else:
        yield ("classifier",), 1


def _descend(params, grads, name):
    """Parameters after a small step on those below a name."""

    def move(path, w, g):
        inside = tuple(part.key for part in path)[: len(name)] == name
        return w - 1e-2 * g / (np.linalg.norm(g) + 1e-12) if inside else w

    return jax.tree_util.tree_map_with_path(move, params, grads)


def test_source_only_updates_the_moments_of_the_source(key):
    method = plugins.load("methods", "source_only", 3)
    network = toy.network(method, toy.Normed(), num_norms=2)
    variables = toy.drawn(network, (4, 4, 1))
    batch = toy.batch(key, side=4, target=False)
    _, (after, _) = method.losses[0](network, variables, batch, key, jnp.float32(0))
    for old, new in zip(
        jax.tree.leaves(variables.stats), jax.tree.leaves(after.stats), strict=True
    ):
        assert not np.allclose(old[SOURCE], new[SOURCE])
        np.testing.assert_array_equal(old[TARGET], new[TARGET])


def test_losses_of_mme_update_the_moments_of_their_domains(key):
    method = plugins.load("methods", "mme", 3)
    network = toy.network(method, toy.Normed(), num_norms=2)
    variables = toy.drawn(network, (4, 4, 1))
    for loss, moved in zip(method.losses, [(SOURCE, TARGET), (TARGET,)], strict=True):
        _, (after, _) = loss(
            network, variables, toy.batch(key, side=4), key, jnp.float32(0)
        )
        for old, new in zip(
            jax.tree.leaves(variables.stats), jax.tree.leaves(after.stats), strict=True
        ):
            changed = [row for row in (SOURCE, TARGET) if (old[row] != new[row]).any()]
            assert tuple(changed) == moved


def test_an_unknown_head_is_rejected():
    with pytest.raises(errors.InputError, match=r"methods\.mme\.head='cosin'"):
        plugins.load("methods", "mme", 3, head="cosin")


def _jan_sample(seed, shift=0.0):
    random = np.random.default_rng(seed)
    embedding = random.standard_normal((12, 4)) + shift
    logits = 2 * random.standard_normal((12, 3)) + [shift, 0, 0]
    return jnp.asarray(embedding, jnp.float32), jax.nn.softmax(
        jnp.asarray(logits, "f4")
    )


@pytest.mark.parametrize("estimator", ["full", "linear"])
def test_jans_discrepancy_grows_with_the_shift(estimator):
    discrepancies = [
        float(jan.joint_mmd(_jan_sample(0), _jan_sample(1, shift), estimator))
        for shift in (0.0, 1.0, 3.0)
    ]
    assert discrepancies == sorted(discrepancies)
    assert discrepancies[0] + 0.1 < discrepancies[1]


def test_jan_by_hand():
    """Two samples a domain; all embeddings are 0 in the source, 1 in the target."""
    embedding = jnp.zeros((2, 1))
    certain = jax.nn.one_hot(jnp.array([0, 1]), 2)
    # Mean of squared distances: 8 of 16 pairs are 1 apart. p: 0 or 2 apart.
    apart = sum(np.exp(-1 / (2 * a * 0.5)) for a in (0.125, 0.25, 0.5, 1, 2))
    differ = np.exp(-2 / (2 * 0.92**2))
    expected = {
        "full": 2 * 5 * differ - 2 * (1 + differ) / 2 * apart + 2,
        "linear": 2 * (5 - apart) * differ + 2,
    }
    source, target = (embedding, certain), (embedding + 1, certain)
    for estimator, value in expected.items():
        discrepancy = jan.joint_mmd(source, target, estimator)
        np.testing.assert_allclose(discrepancy, value, rtol=1e-5)


def test_jans_kernel_width_has_no_gradient():
    """A common scale of all embeddings cancels in the value, not in the gradient."""
    source, target = _jan_sample(0), _jan_sample(1, 1.0)

    def scaled(scale):
        pairs = [(scale * embedding, p) for embedding, p in (source, target)]
        return jan.joint_mmd(*pairs, "full")

    np.testing.assert_allclose(scaled(1.0), scaled(3.0), rtol=1e-4)
    assert abs(jax.grad(scaled)(1.0)) > 1e-2


def _values(name, labelled, **options):
    """The value of each loss of a method, and the metrics of all."""
    method, network, variables = _small(name, **options)
    batch = _batch() if labelled else _batch()._replace(target=None)
    values, metrics = [], {}
    for loss in method.losses:
        progress = jnp.float32(0)
        key = jax.random.key(0)
        value, (_, of_loss) = loss(network, variables, batch, key, progress)
        values.append(value)
        metrics |= of_loss
    assert ("target" in metrics) == labelled
    return values, metrics


def _small(name, **options):
    method = toy.small(name, **options)
    network = model.make_model(toy.Flat(2), method.heads, 1)
    return method, network, toy.drawn(network, (1, 1, 2))


def test_weights_of_clues_mme():
    (supervised, minimax), metrics = _values("clue_mme", True, entropy_weight=0.3)
    np.testing.assert_allclose(supervised, 0.1 * metrics["source"] + metrics["target"])
    np.testing.assert_allclose(minimax, -0.3 * metrics["entropy"], rtol=1e-6)
    options = {"entropy_weight": 0.3, "first_source_weight": 0.7}
    (supervised, minimax), metrics = _values("clue_mme", False, **options)
    np.testing.assert_allclose(supervised, 0.7 * metrics["source"], rtol=1e-6)
    np.testing.assert_allclose(minimax, -metrics["entropy"], rtol=1e-6)


def test_weights_of_aada():
    (value,), metrics = _values("aada", True, entropy_weight=0.3)
    expected = 0.1 * metrics["source"] + metrics["target"]
    expected += metrics["domain_loss"] + 0.3 * metrics["entropy"]
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    (value,), metrics = _values("aada", False, entropy_weight=0.3)
    expected = (
        metrics["source"] + 0.1 * metrics["domain_loss"] + 0.01 * metrics["entropy"]
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_each_domain_of_aada_weighs_by_its_samples():
    """One source sample has p(class 1) = 3/4, three target samples have 1/2."""
    source, target = jnp.array([[0.0, np.log(3)]], jnp.float32), jnp.zeros((3, 2))
    expected = (np.log(4 / 3) + 3 * np.log(2)) / 4
    np.testing.assert_allclose(aada.domain_loss(source, target), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["dann", "mada", "jan", "alda"])
def test_labels_of_both_domains_are_one_mean(name, key):
    """Three of four target rows have no label: the mean is over five rows."""
    method = toy.small(name)
    network = toy.network(method, toy.Flat())
    variables = toy.drawn(network, (4, 4, 1))
    batch = toy.batch(key, side=4)
    target_label = jnp.array([1, -1, -1, -1], jnp.int32)
    batch = batch._replace(target=batch.target._replace(label=target_label))

    def logits(images, domain):
        features, _ = network.encode(variables, images[None], (domain,), train=False)
        return network.head(variables, "classifier", features)[0]

    labelled = jnp.concatenate(
        [logits(batch.source.image, SOURCE), logits(batch.target.image[:1], TARGET)]
    )
    label = jnp.concatenate([jnp.asarray(batch.source.label), target_label[:1]])
    expected = ops.cross_entropy(labelled, label)
    loss = jax.jit(functools.partial(method.losses[0], network))
    _, (_, metrics) = loss(variables, batch, key, jnp.float32(0))
    np.testing.assert_allclose(metrics["cross_entropy"], expected, rtol=1e-5)
