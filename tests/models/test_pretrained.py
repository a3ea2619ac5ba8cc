"""Weights files of every kind, written byte by byte, and models that load them."""

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import re
import shutil
import sys
import tracemalloc
import types
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from dact_jax import errors
from dact_jax.models import heads, lenet, model, pretrained, resnet
from dact_jax.models.weight_files import torch_files
from tests import toy

STORAGES = {
    "float64": "DoubleStorage",
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
    with pytest.raises(errors.InputError, match=r"net\.pth .*needs 5 numbers.*holds 4"):
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
    shutil.copy(tmp_path / "net.npz", tmp_path / "NET.NPZ")
    for name in ("net.safetensors", "net.npz", "NET.NPZ"):
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
    with pytest.raises(errors.InputError, match=r"extra\.weight' .*net\.pth"):
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


# Files of other tools


WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network", "encoder")
PREFIXES = ("module.", "_orig_mod.", "module._orig_mod.", "module.module.", "backbone.")


def lenet_state(prefix="", **changed):
    tensors = named(LENET).tensors | changed
    return {
        prefix + name: contiguous(f"{prefix}{key}", tensor)
        for key, (name, tensor) in enumerate(tensors.items())
    }


def load_lenet(path, prefix=""):
    """Applies the weights of a file; returns the message of an InputError, or ""."""
    start, message = shapes(lenet.LeNet(), 1, LENET_SIDE, 1), ""
    try:
        pretrained.apply_weights(start, pretrained.load_weights(path, prefix), "lenet")
    except errors.InputError as error:
        message = str(error)
    assert path.name in message or not message
    assert message.isprintable()
    return message


@pytest.mark.parametrize("prefix", [*PREFIXES, "model.", "encoder."])
def test_prefixes_of_all_names_are_removed(prefix, torch, tmp_path):
    write_zip(torch, tmp_path / "net.pth", lenet_state(prefix))
    assert not load_lenet(tmp_path / "net.pth")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("key", WRAPPERS)
def test_a_state_dict_is_found_in_a_checkpoint(key, write, torch, tmp_path):
    count = contiguous("count", np.array(7.0, np.float32))
    moments = {0: {"exp_avg": contiguous("moment", np.ones(3, np.float32))}}
    by_name = {"module.fc.weight": {"exp_avg": moments[0]["exp_avg"]}}
    content = {
        "best": count,
        "epoch": 3,
        "optimizer": {"state": moments, "param_groups": [{"betas": (0.9, 0.99)}] * 40},
        "optimizer_by_name": by_name,
        key: lenet_state("module."),
    }
    write(torch, tmp_path / "net.pth", content)
    assert not load_lenet(tmp_path / "net.pth")


def test_settings_beside_the_weights_are_skipped(torch, tmp_path):
    """Command lines, as torchvision's scripts save them, and NumPy's scalars."""
    content = {
        "args": argparse.Namespace(lr=0.1, output=pathlib.PurePosixPath("out")),
        "accuracy": np.float64(71.5),
        "seen": {"a", "b"},
        "best": collections.defaultdict(list, x=[1]),
        "model": lenet_state(),
    }
    write_zip(torch, tmp_path / "net.pth", content)
    assert not load_lenet(tmp_path / "net.pth")


@pytest.mark.parametrize("nested", [False, True])
def test_one_of_two_networks_is_chosen_by_prefix(nested, torch, tmp_path):
    path = tmp_path / "net.pth"
    if nested:
        content = {"student": lenet_state(), "teacher": lenet_state("backbone.")}
        first, second = "student.", "teacher."
        found = ("student.", "teacher.backbone.")
    else:
        content = lenet_state("src_net.") | lenet_state("tgt_net.")
        first, second = found = ("src_net.", "tgt_net.")
    write_zip(torch, path, content)
    message = load_lenet(path)
    for start in found:
        assert repr(start) in message
    assert f"model.weights_prefix={first!r}" in message
    assert not load_lenet(path, first)
    assert not load_lenet(path, second.removesuffix("."))
    assert "no name in" in load_lenet(path, "src")
    assert repr(next(iter(content))) in load_lenet(path, "src") or nested


def test_one_network_beside_others_is_named(torch, tmp_path):
    state = {"head.weight": contiguous("h", np.ones((2, 3), np.float32))}
    write_zip(torch, tmp_path / "net.pth", lenet_state("encoder.") | state)
    assert "model.weights_prefix='encoder.'" in load_lenet(tmp_path / "net.pth")
    assert not load_lenet(tmp_path / "net.pth", "encoder.")


def test_a_missing_name_lists_those_that_are_there(torch, tmp_path):
    state = {f"stem.{k}.weight": contiguous(str(k), np.ones(2)) for k in range(11)}
    write_zip(torch, tmp_path / "net.pth", state)
    message = load_lenet(tmp_path / "net.pth")
    assert re.search(
        r"lacks conv_params\.\S+, .*'stem\.0\.weight'.*and 3 more", message
    )


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        (np.full(20, np.nan, np.float32), "NaN"),
        (np.full(20, 1e39, np.float64), "infinite"),
        (np.ones(20, np.int8), "int8"),
        (np.ones(20, np.complex64), "complex64"),
    ],
)
def test_values_that_are_no_weights(bias, words, tmp_path):
    changed = {"conv_params.0.bias": bias}
    np.savez(tmp_path / "net.npz", **named(LENET).tensors | changed)
    message = load_lenet(tmp_path / "net.npz")
    assert "conv_params.0.bias" in message
    assert words in message


def test_numbers_for_names(torch, tmp_path):
    write_zip(torch, tmp_path / "net.pth", {1: contiguous("1", np.ones(2, np.float32))})
    assert "entry 1 is a tensor without a name" in load_lenet(tmp_path / "net.pth")


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "F4", "E8"])
def test_types_that_numpy_lacks(kind, tmp_path):
    header = {"w": {"dtype": kind, "shape": [2], "data_offsets": [0, 2]}}
    if kind == "F4":
        header["w"]["data_offsets"] = [0, 1]
    text = json.dumps(header).encode()
    content = (
        len(text).to_bytes(8, "little") + text + bytes(header["w"]["data_offsets"][1])
    )
    (tmp_path / "net.safetensors").write_bytes(content)
    message = load_lenet(tmp_path / "net.safetensors")
    assert kind in message
    assert ("'w'" in message) == (kind != "E8")


# Files that lie


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (2**29,), (0,)),
        (0, (2**40,), (0,)),
        (0, (2**33 + 1,), (2**33,)),
        (0, (2**62, 2**62, 0, 2**62), (1, 1, 1, 1)),
        (-1, (2,), (1,)),
        (1, (2,), (-1,)),
        (0, (2,), ()),
        (0, ("2",), (1,)),
        (0, (1.0,), (1,)),
    ],
)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_shapes_that_the_storage_does_not_hold(
    write, offset, shape, strides, torch, tmp_path
):
    storage = Storage("0", np.zeros(4, np.float32))
    write(torch, tmp_path / "net.pth", {"w": Tensor(storage, offset, shape, strides)})
    tracemalloc.start()
    with pytest.raises(errors.InputError, match=r"net\.pth cannot be read"):
        torch_files.load(tmp_path / "net.pth")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def legacy_with(content):
    """A file of torch before 1.6 with this pickle in the place of the state dict."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    headers = (0x1950A86A20F9469CFC6C, 1001, system)
    return b"".join(pickle.dumps(header, 2) for header in headers) + content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x02]r\xff\xff\xff\x7f.", "memo"),
        (b"\x80\x04]p4000000000\n.", "memo"),
        (b"\x80\x02)" + b"\x85" * 2_000_000 + b".", "levels"),
        (b"\x80\x02(" + b"(" * 90_000 + b")" + b"\x86t" * 90_000 + b".", "levels"),
        (
            b"\x80\x02}"
            + b")q\x00"
            + b"".join(b"h%c\x86q%c" % (k, k + 1) for k in range(80))
            + b"K\x01s.",
            "share",
        ),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", ""),
        (b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.", ""),
        (b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f].", ""),
        (b"\x80\x02.", ""),
        (b"", ""),
    ],
)
def test_pickles_that_would_take_memory_or_time(content, words, tmp_path):
    (tmp_path / "net.pth").write_bytes(legacy_with(content))
    with pytest.raises(errors.InputError, match=rf"net\.pth cannot be read.*{words}"):
        torch_files.load(tmp_path / "net.pth")


def test_containers_that_hold_themselves_or_share(torch, tmp_path):
    state = lenet_state()
    inner = state
    for _ in range(7):
        inner = {f"part{k}": inner for k in range(9)}
    state["again"] = inner["self"] = inner
    write_zip(torch, tmp_path / "net.pth", {"net": inner, "model_ema": state})
    message = load_lenet(tmp_path / "net.pth")
    assert "prefix" in message or not message


def test_members_that_claim_more_than_the_file(torch, tmp_path):
    content = {"w": contiguous("0", np.zeros(2000, np.float32))}
    write_zip(torch, tmp_path / "net.pth", content)
    with zipfile.ZipFile(tmp_path / "net.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "zip.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    with pytest.raises(errors.InputError, match=r"zip\.pth .*compressed"):
        torch_files.load(tmp_path / "zip.pth")
    raw = (tmp_path / "net.pth").read_bytes()
    size, more = (8000).to_bytes(4, "little"), b"\xff\xff\xff\x7f"
    for lie, words in ((2 * more, "claim more bytes"), (more + size, "compressed")):
        (tmp_path / "net.pth").write_bytes(raw.replace(2 * size, lie))
        tracemalloc.start()
        with pytest.raises(errors.InputError, match=rf"net\.pth .*{words}"):
            torch_files.load(tmp_path / "net.pth")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
