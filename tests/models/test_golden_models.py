"""Models against the numbers of the reference implementations (golden/README)."""

import functools
import json
import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import ops
from dact_jax.models import heads, lenet, model, norm, pretrained, resnet
from dact_jax.types import Features, Variables
from tests import toy

GRADIENT = {"rtol": 1e-3, "atol": 1e-5}
COLD = {"rtol": 1e-3, "atol": 5e-5}  # gradients of the cross entropy at T = 0.05


def close(actual, expected, **tolerance):
    np.testing.assert_allclose(actual, expected, **(tolerance or GRADIENT))


def close_to_largest(actual, expected, part):
    """Differs by no more than a part of the largest value."""
    close(actual, expected, rtol=0, atol=part * np.abs(expected).max())


def recipe(shapes, seed):
    """The fixtures' weights: every tensor depends on its name and a seed only."""
    return {
        name: np.asarray(_draw(name, tuple(shape), seed), np.float32)
        for name, shape in shapes
    }


def _draw(name, shape, seed):
    random = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape)
    if last in ("running_mean", "bias"):
        return 0.1 * random.standard_normal(shape)
    if last == "running_var":
        return random.uniform(0.5, 1.5, shape)
    if len(shape) == 1:
        return 1 + 0.1 * random.standard_normal(shape)
    gain = 2 if len(shape) == 4 else 1
    return random.standard_normal(shape) * np.sqrt(gain / np.prod(shape[1:]))


def state_dict(name, seed):
    shapes = json.loads((toy.GOLDEN / "state_dict_names.json").read_text())[name]
    return recipe(shapes, seed)


def inputs(fixture, net):
    size = int(fixture[f"{net}_S"])
    random = np.random.RandomState(int(fixture[f"{net}_recipe_seed"]))
    images = random.standard_normal((int(fixture[f"{net}_B"]), 3, size, size))
    return jnp.asarray(images, jnp.float32).transpose(0, 2, 3, 1)


def shapes_of(network, side, channels=3):
    """Variables whose leaves are shapes."""
    return jax.eval_shape(
        lambda key: network.init(key, (side, side, channels)), jax.random.key(0)
    )


def loaded(shapes, tensors, encoder, **options):
    weights = pretrained.Weights("recipe", tensors)
    return pretrained.apply_weights(shapes, weights, encoder, **options)


class OnlyNorm(nn.Module):
    """An encoder that is one batch-norm layer."""

    @nn.compact
    def __call__(self, images, *, train):
        return norm.BatchNorm(name="bn")(images, train=train), ()


def dsbn_rows(fixture, **names):
    return {
        "bn": {
            ours: jnp.stack([fixture[f"init{row}_{theirs}"] for row in (0, 1)])
            for ours, theirs in names.items()
        }
    }


def channels_last(array):
    return jnp.asarray(array.transpose(0, 2, 3, 1))


def channels_first(array):
    return np.asarray(array).transpose(0, 3, 1, 2)


def test_dsbn():
    fixture = toy.golden("dsbn")
    network = model.make_model(OnlyNorm(), {}, num_norms=2)
    variables = Variables(
        {"encoder": {}},
        dsbn_rows(fixture, scale="gamma", bias="beta"),
        dsbn_rows(fixture, mean="running_mean", variance="running_var"),
    )

    @functools.partial(jax.jit, static_argnums=3)
    def training(variables, x, cotangent, domain):
        def encode(rows, x):
            features, updated = network.encode(
                variables._replace(norm=rows), x[None], (domain,), train=True
            )
            return features.embedding[0], updated

        y, back, updated = jax.vjp(encode, variables.norm, x, has_aux=True)
        return y, back(cotangent), updated

    for step, domain in enumerate(fixture["domain_order"].tolist()):
        data = {
            name.removeprefix(f"s{step}_"): array
            for name, array in fixture.items()
            if name.startswith(f"s{step}_")
        }
        y, (rows, x), variables = training(
            variables, channels_last(data["x"]), channels_last(data["R"]), domain
        )
        close(channels_first(y), data["y"])
        close(channels_first(x), data["grad_x"])
        close(rows["bn"]["scale"][domain], data["grad_gamma"])
        close(rows["bn"]["bias"][domain], data["grad_beta"])
        assert not np.any(rows["bn"]["scale"][1 - domain])
        for row in (0, 1):
            close(variables.stats["bn"]["mean"][row], data[f"running_mean{row}"])
            close(variables.stats["bn"]["variance"][row], data[f"running_var{row}"])
    for row in (0, 1):
        x = channels_last(fixture["eval_x"])
        features, _ = network.encode(variables, x[None], (row,), train=False)
        close(channels_first(features.embedding[0]), fixture[f"eval_y{row}"])


def mme_head(fixture, case):
    """The head of a case, its parameters, and torch's name of each of them."""
    classes = fixture[f"{case}_logits"].shape[-1]
    temperature = float(fixture[f"{case}_temp"])
    if f"{case}_fc_weight" in fixture:
        head = heads.Cosine(classes, temperature)
        names = {("fc", "kernel"): "fc_weight"}
    else:
        head = heads.TwoLayer(classes, temperature)
        names = {
            ("fc1", "kernel"): "fc1_weight",
            ("fc1", "bias"): "fc1_bias",
            ("fc2", "kernel"): "fc2_weight",
        }
    params = {}
    for (layer, leaf), name in names.items():
        params.setdefault(layer, {})[leaf] = jnp.asarray(fixture[f"{case}_{name}"].T)
    return head, params, names


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_mme_losses(case):
    fixture = toy.golden("mme_losses")
    head, params, names = mme_head(fixture, case)
    label = jnp.asarray(fixture[f"{case}_labels"], jnp.int32)
    weight, strength = float(fixture[f"{case}_lamda"]), float(fixture[f"{case}_eta"])

    def logits(params, feat, reverse=None):
        return head.apply({"params": params}, Features(feat, ()), reverse=reverse)

    losses = {
        "adent": lambda *at: -weight * ops.entropy(logits(*at, reverse=strength)),
        "ent": lambda *at: weight * ops.entropy(logits(*at)),
        "ce": lambda *at: ops.cross_entropy(logits(*at), label),
    }
    feat = jnp.asarray(fixture[f"{case}_feat"])
    close(logits(params, feat), fixture[f"{case}_logits"])
    for loss, function in losses.items():
        tolerance = COLD if loss == "ce" else GRADIENT
        grad = jax.jit(jax.value_and_grad(function, (0, 1)))
        value, (d_params, d_feat) = grad(params, feat)
        close(value, fixture[f"{case}_{loss}_loss"])
        close(d_feat, fixture[f"{case}_{loss}_grad_feat"], **tolerance)
        for (layer, leaf), name in names.items():
            expected = fixture[f"{case}_{loss}_grad_{name}"]
            close(d_params[layer][leaf].T, expected, **tolerance)


@pytest.mark.parametrize("implementation", ["stock", "tiled", "by_shape"])
def test_clue_lenet(implementation):
    fixture = toy.golden("clue_lenet")
    network = model.make_model(
        lenet.LeNet(implementation=implementation), {"classifier": heads.Linear(10)}, 1
    )
    shapes = [
        (
            str(name),
            json.loads(shape.replace("(", "[").replace(",)", "]").replace(")", "]")),
        )
        for name, shape in zip(
            fixture["param_names"], fixture["param_shapes"], strict=True
        )
    ]
    tensors = recipe(shapes, int(fixture["recipe_seed"]))
    variables = loaded(shapes_of(network, 28, 1), tensors, "lenet", classifier=True)
    x = channels_last(fixture["x"])
    label = jnp.asarray(fixture["labels"], jnp.int32)

    @jax.jit
    def logits(params, reverse=None):
        features, _ = network.encode(
            variables._replace(params=params), x[None], (0,), train=False
        )
        return network.head(
            variables._replace(params=params), "classifier", features, reverse=reverse
        )[0], features

    out, features = logits(variables.params)
    close(out, fixture["logits"])
    close(features.embedding[0], fixture["emb"])
    close(features.taps[1][0], np.maximum(fixture["conv_out"], 0).mean((2, 3)))

    losses = {
        "ce": lambda params: ops.cross_entropy(logits(params)[0], label),
        "adent": lambda params: -0.1 * ops.entropy(logits(params, 1.0)[0]),
    }
    for loss, function in losses.items():
        value, grad = jax.jit(jax.value_and_grad(function))(variables.params)
        encoder = grad["encoder"]
        if loss == "adent":
            close(value, fixture["adent_loss"])
        else:
            close(encoder["conv2"]["bias"], fixture["ce_grad_conv2_bias"])
        conv1 = encoder["conv1"]["kernel"].transpose(3, 2, 0, 1)
        close(conv1, fixture[f"{loss}_grad_conv1_weight"])
        close(encoder["fc1"]["bias"], fixture[f"{loss}_grad_fc1_bias"])
        classifier = grad["classifier"]["fc"]["kernel"]
        close(classifier.T, fixture[f"{loss}_grad_cls_weight"])


@pytest.mark.parametrize("net", ["resnet18", "resnet34", "resnet50"])
def test_resnet_torchvision(net):
    fixture = toy.golden("resnet_torchvision")
    classes = int(fixture[f"{net}_num_classes"])
    network = model.make_model(
        getattr(resnet, net)(), {"classifier": heads.Linear(classes)}, 1
    )
    tensors = state_dict(
        f"torchvision_{net}_K{classes}", int(fixture[f"{net}_recipe_seed"])
    )
    x = inputs(fixture, net)
    shapes = shapes_of(network, x.shape[1])
    variables = loaded(shapes, tensors, net, classifier=True)

    close_to_largest(stem(variables, x), fixture[f"{net}_stem_mean_c"], 1e-4)
    features, _, logits = run(network, variables, x[None], (0,), train=False)
    for stage, tap in enumerate(features.taps, 1):
        close_to_largest(tap[0], fixture[f"{net}_layer{stage}_mean_c"], 1e-4)
    close_to_largest(features.embedding[0], fixture[f"{net}_feat"], 1e-4)
    close_to_largest(logits[0], fixture[f"{net}_logits"], 1e-4)

    _, updated, logits = run(network, variables, x[None], (0,), train=True)
    close_to_largest(logits[0], fixture[f"{net}_train_logits"], 1e-2)
    norms = {
        "bn1": updated.stats["bn1"],
        "layer2.0.downsample.1": updated.stats["layer2_0"]["downsample_bn"],
        "layer4.1.bn2": updated.stats["layer4_1"]["bn2"],
    }
    for name, stats in norms.items():
        close(stats["mean"][0], fixture[f"{net}_rm_{name}"])
        close(stats["variance"][0], fixture[f"{net}_rv_{name}"])


def run(network, variables, images, domains, *, train):
    @jax.jit
    def forward(variables, images):
        features, updated = network.encode(variables, images, domains, train=train)
        return features, updated, network.head(updated, "classifier", features)

    return forward(variables, images)


def stem(variables, x, variant="torchvision"):
    """Spatial means of the pooled stem: the embedding of a network without blocks."""
    network = model.make_model(resnet.ResNet((0,), resnet.basic, variant), {}, 1)

    @jax.jit
    def encode(variables, images):
        return network.encode(variables, images, (0,), train=False)[0].embedding

    return encode(variables, x[None])[0]


def pixels_after_stem(variables, x):
    def blocks(variables):
        _, captured = resnet.ResNet((1,), resnet.basic, "mme").apply(
            {
                "params": variables.params["encoder"],
                "norm": variables.norm,
                "stats": variables.stats,
            },
            x,
            train=False,
            capture_intermediates=True,
            mutable=["intermediates"],
        )
        return captured["intermediates"]["layer1_0"]["__call__"][0]

    return jax.eval_shape(blocks, variables).shape[1:3]


@pytest.mark.parametrize("net", ["resnet18", "resnet34"])
def test_resnet_mme(net):
    fixture = toy.golden("resnet_mme")
    network = model.make_model(getattr(resnet, net)(variant="mme"), {}, 1)
    tensors = state_dict(f"mme_{net}", int(fixture[f"{net}_recipe_seed"]))
    x = inputs(fixture, net)
    variables = loaded(shapes_of(network, x.shape[1]), tensors, net)

    @jax.jit
    def encode(variables, images):
        return network.encode(variables, images, (0,), train=False)[0].embedding

    close_to_largest(encode(variables, x[None])[0], fixture[f"{net}_feat"], 1e-4)
    stem_mean = fixture[f"{net}_stem_mean_c"]
    close_to_largest(stem(variables, x, "mme"), stem_mean, 1e-4)
    assert pixels_after_stem(variables, x) == tuple(fixture[f"{net}_stem_hw"])


@pytest.mark.parametrize("net", ["resnet18", "resnet50"])
def test_resnet_dsbn(net):
    fixture = toy.golden("resnet_dsbn")
    classes, width = (
        int(fixture[f"{net}_{name}"]) for name in ("num_classes", "in_features")
    )
    network = model.make_model(
        getattr(resnet, net)(),
        {"bottleneck": heads.Bottleneck(width), "classifier": heads.Linear(classes)},
        2,
    )
    tensors = state_dict(
        f"dsbn_{net}dsbn_K{classes}_in{width}", int(fixture[f"{net}_recipe_seed"])
    )
    x = inputs(fixture, net)
    variables = dsbn_variables(shapes_of(network, x.shape[1]), tensors, net)

    images = jnp.stack([x, x])
    features, _, logits = run(network, variables, images, (0, 1), train=False)
    for row in (0, 1):
        feat = fixture[f"{net}_dom{row}_feat"]
        close_to_largest(features.embedding[row], feat, 1e-4)
        close_to_largest(logits[row], fixture[f"{net}_dom{row}_logits"], 1e-4)

    _, updated, logits = run(network, variables, x[None], (1,), train=True)
    close_to_largest(logits[0], fixture[f"{net}_train_dom1_logits"], 1e-2)
    for row in (0, 1):
        bn1 = updated.stats["bn1"]
        close(bn1["mean"][row], fixture[f"{net}_after_bn1_rm{row}"])
        close(bn1["variance"][row], fixture[f"{net}_after_bn1_rv{row}"])


def dsbn_variables(shapes, tensors, net):
    """One set of variables from a state dict with two branches in each norm."""
    branches = []
    for row in (0, 1):
        branch = {
            name.replace(f".bns.{row}.", "."): tensor
            for name, tensor in tensors.items()
            if f".bns.{1 - row}." not in name and not name.startswith(("fc1", "fc2"))
        }
        branches.append(loaded(shapes, branch, net))
    encoder = branches[0].params["encoder"]
    norm_rows, stats = jax.tree.map(
        lambda first, second: jnp.stack([first[0], second[1]]),
        *((branch.norm, branch.stats) for branch in branches),
    )
    bottleneck, classifier = (
        {
            "fc": {
                "kernel": jnp.asarray(tensors[f"{name}.weight"].T),
                "bias": jnp.asarray(tensors[f"{name}.bias"]),
            }
        }
        for name in ("fc1", "fc2")
    )
    params = {"encoder": encoder, "bottleneck": bottleneck, "classifier": classifier}
    return Variables(params, norm_rows, stats)
