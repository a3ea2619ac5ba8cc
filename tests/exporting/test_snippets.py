"""The programs in an exported folder: they read images as we do, and print classes."""

import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from dact_jax.data.readers import decoding
from dact_jax.exporting import record, samples, writing
from tests.exporting import made


@pytest.fixture(autouse=True)
def imports(monkeypatch):
    """What a program imports by a short name is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in ("inputs", "network", "load_model"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """One file of every kind that becomes pixels in its own way."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (60, 90, 4)).astype(np.uint8)
    rgb, rgba = Image.fromarray(pixels[..., :3]), Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb.save(folder / "turned ä.jpg", exif=turned)
    rgb.resize((900, 600)).save(folder / "large.jpg", quality=80)
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgba.save(folder / "transparent.png")
    rgb.quantize(8).save(folder / "palette.gif", transparency=3)
    rgb.convert("L").save(folder / "gray.png")
    deep = random.integers(0, 65536, (40, 30)).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    return sorted(folder.iterdir())


def written(kind, form, folder, monkeypatch):
    """A folder with a model of a classifier that is of no run."""
    classifier, stored, _ = made.computed(kind)
    monkeypatch.setattr(record, "_provenance", lambda *_: {})
    given = samples.Samples(stored, "that were drawn", "random")
    with made.small(kind):
        return writing.write(classifier, folder, form, folder / "model", given)


@pytest.mark.parametrize("kind", ["lenet", "vit"])
def test_images_are_read_as_we_read_them(kind, pictures, tmp_path, monkeypatch):
    classifier, _, _ = made.computed(kind)
    done = written(kind, "torch", tmp_path, monkeypatch)
    assert "inputs.py" in done.files
    read = runpy.run_path(str(tmp_path / "model" / "inputs.py"))["read"]
    names, found = read(list(map(str, pictures)))
    assert names == list(map(str, pictures))
    side, channels, filter = classifier.image_shape[0], 1, "bilinear"
    if classifier.backbone is not None:
        side, channels, filter = classifier.backbone.side, 3, "bicubic"
    for path, pixels in zip(pictures, found, strict=True):
        ours = decoding.decode(str(path), side, channels, filter=filter)
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), ours, str(path))


@pytest.mark.parametrize("form", ["onnx", "stablehlo", "torch"])
def test_the_program_prints_the_class_of_each_file(
    form, pictures, tmp_path, monkeypatch, capsys
):
    for name in {"onnx": ["onnx", "onnxruntime"], "stablehlo": ["flatbuffers"]}.get(
        form, [form]
    ):
        pytest.importorskip(name)
    classifier, _, _ = made.computed("lenet")
    written("lenet", form, tmp_path, monkeypatch)
    folder = tmp_path / "model"
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "argv", ["load_model.py", *map(str, pictures)])
    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
    capsys.readouterr()
    runpy.run_path(str(folder / "load_model.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    expected = classifier.predict(pictures)
    for path, line, p in zip(pictures, lines, expected, strict=True):
        name, label, confidence = line.split("\t")
        assert name == str(path)
        assert label == made.CLASSES[p.argmax()]
        assert float(confidence) == pytest.approx(p.max(), abs=2e-4)


def test_the_program_reads_vectors(tmp_path, monkeypatch):
    written("mlp", "torch", tmp_path, monkeypatch)
    read = runpy.run_path(str(tmp_path / "model" / "inputs.py"))["read"]
    x = np.arange(10.0).reshape(2, 5)
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "b.npz", features=x[:1])
    paths = [str(tmp_path / name) for name in ("a.npy", "b.npz")]
    names, found = read(paths)
    assert names == [f"{paths[0]}:0", f"{paths[0]}:1", f"{paths[1]}:0"]
    np.testing.assert_array_equal(found, np.concatenate([x, x[:1]]).astype(np.float32))
    assert found.dtype == np.float32
