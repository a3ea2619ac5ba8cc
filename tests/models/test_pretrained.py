"""Weights files of every kind, written byte by byte, and models that load them."""

import collections
import io
import json
import os
import pickle
import sys
import types
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from dact_jax import errors
from dact_jax.models import heads, lenet, model, pretrained, resnet, torch_files
from tests import toy

STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
}


class Storage:
    """Stands for torch's storage while a file is written."""

    def __init__(self, key, values):
        self.key, self.values = key, values


class Tensor:
    """Stands for torch's tensor: a strided view of a storage, in elements."""

    def __init__(self, storage, offset, shape, strides):
        self.view = storage, offset, shape, strides


@pytest.fixture
def torch(monkeypatch):
    """The part of torch's module tree that its pickles refer to."""
    package, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    package._utils = utils
    for name in STORAGES.values():
        setattr(package, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"):

        def rebuild():
            raise NotImplementedError

        rebuild.__module__, rebuild.__qualname__ = "torch._utils", name
        setattr(utils, name, rebuild)
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return package


def pickled(torch, content, *, legacy):
    """The pickle of content, and its storages in order of appearance."""
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            storages[item.key] = item.values
            kind = getattr(torch, STORAGES[item.values.dtype.name])
            view = (None,) if legacy else ()
            return ("storage", kind, item.key, "cpu", len(item.values), *view)

        def reducer_override(self, item):
            if not isinstance(item, Tensor):
                return NotImplemented
            hooks = False, collections.OrderedDict()
            return torch._utils._rebuild_tensor_v2, (*item.view, *hooks)

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue(), storages


def write_zip(torch, path, content, order=b"little"):
    data, storages = pickled(torch, content, legacy=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", data)
        archive.writestr("net/byteorder", order)
        for key, values in storages.items():
            archive.writestr(f"net/data/{key}", values.tobytes())
        archive.writestr("net/version", b"3\n")


def write_legacy(torch, path, content):
    data, storages = pickled(torch, content, legacy=True)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    with open(path, "wb") as file:
        for header in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(header, file, protocol=2)
        file.write(data)
        pickle.dump(list(storages), file, protocol=2)
        for values in storages.values():
            file.write(len(values).to_bytes(8, "little") + values.tobytes())


WRITERS = {"zip": write_zip, "legacy": write_legacy}


def contiguous(key, values):
    """A tensor that covers its storage."""
    values = np.asarray(values)
    strides = tuple(stride // values.itemsize for stride in values.strides)
    return Tensor(Storage(key, values.reshape(-1)), 0, values.shape, strides)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_torch_file(write, torch, tmp_path):
    """Views, several types, and content other than the state dict."""
    shared = Storage("7", np.arange(12, dtype=np.float32))
    half = np.array([0.5, -2.0], jnp.bfloat16)
    state = collections.OrderedDict(
        {
            "module.plain": Tensor(shared, 0, (3, 4), (4, 1)),
            "module.turned": Tensor(shared, 1, (2, 3), (1, 4)),
            "module.half": contiguous("8", half),
            "module.count": Tensor(Storage("9", np.array([41])), 0, (), ()),
        }
    )
    state._metadata = {"": {"version": 1}}
    momentum = contiguous("10", np.ones(3, np.float16))
    content = {"epoch": 3, "best": 91.5, "optimizer": [momentum], "state_dict": state}
    write(torch, tmp_path / "net.pth", content)

    weights = pretrained.load_weights(tmp_path / "net.pth")
    tensors = weights.tensors
    assert weights.path == str(tmp_path / "net.pth")
    np.testing.assert_array_equal(tensors["plain"], np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(tensors["turned"], [[1, 5, 9], [2, 6, 10]])
    np.testing.assert_array_equal(tensors["half"].astype(np.float32), [0.5, -2.0])
    assert tensors["count"] == 41
    assert list(tensors) == ["plain", "turned", "half", "count"]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_cannot_run_code(write, torch, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    write(torch, tmp_path / "evil.pth", {"w": Evil()})
    with pytest.raises(errors.InputError, match=r"evil\.pth .*posix\.mkdir"):
        torch_files.load(tmp_path / "evil.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_view_beyond_its_storage_is_rejected(write, torch, tmp_path):
    storage = Storage("0", np.zeros(4, np.float32))
    write(torch, tmp_path / "net.pth", {"w": Tensor(storage, 1, (2, 2), (2, 1))})
    with pytest.raises(errors.InputError, match=r"net\.pth .*buffer"):
        torch_files.load(tmp_path / "net.pth")


def test_other_byte_order_is_rejected(torch, tmp_path):
    content = {"w": contiguous("0", np.zeros(2, np.float32))}
    write_zip(torch, tmp_path / "net.pth", content, order=b"big")
    with pytest.raises(errors.InputError, match="big-endian"):
        torch_files.load(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.npz"])
@pytest.mark.parametrize(
    "content", [b"", b"hello\n" * 9, b"\x80\x02}q\x00.", b"PK\x03\x04"]
)
def test_broken_file(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(errors.InputError, match=name.replace(".", r"\.")):
        pretrained.load_weights(tmp_path / name)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_truncated_file(write, torch, tmp_path):
    path = tmp_path / "net.pth"
    write(torch, path, {"w": contiguous("0", np.zeros(200, np.float32))})
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(errors.InputError, match=r"net\.pth"):
        torch_files.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(errors.InputError, match=r"no\.pth"):
        pretrained.load_weights(tmp_path / "no.pth")


def test_safetensors_and_npz(tmp_path):
    tensors = {"module.conv1.weight": np.ones((2, 3), np.float32)}
    safetensors.numpy.save_file(tensors, tmp_path / "net.safetensors")
    np.savez(tmp_path / "net.npz", **tensors)
    for name in ("net.safetensors", "net.npz"):
        loaded = pretrained.load_weights(tmp_path / name).tensors
        assert list(loaded) == ["conv1.weight"]
        np.testing.assert_array_equal(loaded["conv1.weight"], 1)


# Models that load them


def shapes(encoder, num_norms, side, channels):
    network = model.make_model(encoder, {"classifier": heads.Linear(10)}, num_norms)
    return jax.eval_shape(
        lambda key: network.init(key, (side, side, channels)), jax.random.key(0)
    )


def named(names_and_shapes):
    random = np.random.default_rng(0)
    tensors = {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in names_and_shapes
    }
    return pretrained.Weights("net.pth", tensors)


LENET = [
    ("conv_params.0.weight", (20, 1, 5, 5)),
    ("conv_params.0.bias", (20,)),
    ("conv_params.3.weight", (50, 20, 5, 5)),
    ("conv_params.3.bias", (50,)),
    ("fc_params.weight", (500, 200)),
    ("fc_params.bias", (500,)),
    ("classifier.2.weight", (10, 500)),
    ("classifier.2.bias", (10,)),
]
LENET_SIDE = 20  # so that 2x2 pixels of 50 channels enter the fully connected layer


def resnet_names():
    """Of a ResNet-18 that ends behind the first block of its second stage."""
    names = toy.GOLDEN / "state_dict_names.json"
    prefixes = ("conv1.", "bn1.", "layer1.0.", "layer2.0.", "fc.")
    names_and_shapes = json.loads(names.read_text())["torchvision_resnet18_K10"]
    return [
        (name, shape) for name, shape in names_and_shapes if name.startswith(prefixes)
    ]


def test_resnet_fills_every_row():
    small = resnet.ResNet((1, 1), resnet.basic)
    weights = named(resnet_names())
    started = pretrained.apply_weights(shapes(small, 3, 32, 3), weights, "resnet18")
    conv = started.params["encoder"]["layer2_0"]["downsample_conv"]["kernel"]
    expected = weights.tensors["layer2.0.downsample.0.weight"]
    np.testing.assert_array_equal(conv.transpose(3, 2, 0, 1), expected)
    for collection, leaf, name in (
        (started.norm, "scale", "weight"),
        (started.norm, "bias", "bias"),
        (started.stats, "mean", "running_mean"),
        (started.stats, "variance", "running_var"),
    ):
        rows = collection["layer2_0"]["downsample_bn"][leaf]
        expected = weights.tensors[f"layer2.0.downsample.1.{name}"]
        np.testing.assert_array_equal(rows, np.broadcast_to(expected, (3, 128)))


def test_lenet_pixels_are_reordered():
    """Torch flattens (C, h, w), we (h, w, C)."""
    weights = named(LENET)
    start = shapes(lenet.LeNet(), 1, LENET_SIDE, 1)
    started = pretrained.apply_weights(start, weights, "lenet")
    feature = np.random.default_rng(1).standard_normal((50, 2, 2))
    expected = weights.tensors["fc_params.weight"] @ feature.reshape(-1)
    kernel = np.asarray(started.params["encoder"]["fc1"]["kernel"])
    actual = feature.transpose(1, 2, 0).reshape(-1) @ kernel
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_classifier_only_if_asked():
    weights, start = named(LENET), shapes(lenet.LeNet(), 1, LENET_SIDE, 1)
    without = pretrained.apply_weights(start, weights, "lenet")
    assert without.params["classifier"] is start.params["classifier"]
    with_ = pretrained.apply_weights(start, weights, "lenet", classifier=True)
    np.testing.assert_array_equal(
        with_.params["classifier"]["fc"]["kernel"],
        weights.tensors["classifier.2.weight"].T,
    )


def test_errors_name_the_wrong_tensor():
    start = shapes(lenet.LeNet(), 1, LENET_SIDE, 1)
    tensors = named(LENET).tensors

    def apply(tensors, **options):
        weights = pretrained.Weights("net.pth", tensors)
        pretrained.apply_weights(start, weights, "lenet", **options)

    missing = {name: t for name, t in tensors.items() if name != "fc_params.bias"}
    with pytest.raises(errors.InputError, match=r"net\.pth .*fc_params\.bias"):
        apply(missing)
    with pytest.raises(errors.InputError, match=r"extra\.weight .*net\.pth"):
        apply(tensors | {"extra.weight": np.zeros(1)})
    color = {"conv_params.0.weight": np.zeros((20, 3, 5, 5), np.float32)}
    with pytest.raises(
        errors.InputError,
        match=r"conv_params\.0\.weight .*net\.pth .*\[20, 3, 5, 5\].*\[20, 1, 5, 5\]",
    ):
        apply(tensors | color)
    seven = {"classifier.2.weight": np.zeros((7, 500), np.float32)}
    apply(tensors | seven)
    with pytest.raises(
        errors.InputError, match=r"classifier\.2\.weight .*\[7, 500\].*\[10, 500\]"
    ):
        apply(tensors | seven, classifier=True)
