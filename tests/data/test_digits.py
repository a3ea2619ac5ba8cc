"""Digits of scikit-learn, .npz files and TFDS, and errors for bad files."""

import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from PIL import Image
from sklearn import datasets

from dact_jax import errors
from dact_jax.data.readers import digits, pixels, tfds_sets


def arrays(shape=(28, 28), labels=range(10)):
    rng = np.random.default_rng(0)
    content = {}
    for part, count in (("train", 20), ("test", 10)):
        content[f"x_{part}"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        content[f"y_{part}"] = np.resize(np.array(labels), count)
    return content


def save(folder, **content):
    path = folder / "some.npz"
    np.savez(path, **content)
    return path


def test_uci():
    data = digits.uci()
    assert data.image.shape == (1797, 28, 28, 1)
    assert (data.image.dtype, data.label.dtype) == (np.uint8, np.int32)
    assert (data.id[1], data.split) == ("uci/0001", None)
    assert not data.image[:, :4].any()
    assert not data.image[:, :, -4:].any()
    assert (data.image.max((1, 2, 3)) > 200).all()
    prototypes = np.stack([data.image[data.label == k].mean(0) for k in range(10)])
    distance = np.linalg.norm(
        (data.image[:, None] - prototypes[None]).reshape(1797, 10, -1), axis=-1
    )
    assert np.mean(distance.argmin(1) == data.label) > 0.85  # 0.91 on 8x8 pixels


def test_uci_is_read_as_scikit_learn_does(monkeypatch):
    raw = datasets.load_digits()
    intensity, label = digits._uci_arrays()
    np.testing.assert_array_equal(intensity, raw.images)
    np.testing.assert_array_equal(label, raw.target)
    monkeypatch.setattr(pathlib.Path, "is_file", lambda path: False)
    intensity, label = digits._uci_arrays()  # where the file is not known
    np.testing.assert_array_equal(intensity, raw.images)
    np.testing.assert_array_equal(label, raw.target)


def test_uci_of_another_size():
    assert digits.uci(size=8, channels=3).image.shape == (1797, 8, 8, 3)
    with pytest.raises(errors.InputError, match="size"):
        digits.uci(size=-1)


def test_npz(tmp_path):
    content = arrays()
    data = digits.npz(save(tmp_path, **content), name="mnist")
    np.testing.assert_array_equal(data.image[:20, ..., 0], content["x_train"])
    np.testing.assert_array_equal(data.image[20:, ..., 0], content["x_test"])
    np.testing.assert_array_equal(data.label, np.arange(30) % 10)
    assert data.label.dtype == np.int32
    assert data.split.tolist() == ["train"] * 20 + ["test"] * 10
    assert (data.name, data.id[1], data.id[20]) == (
        "mnist",
        "mnist/train/00001",
        "mnist/test/00000",
    )


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (32, 32, 3)])
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (28, 3), (16, 1)])
def test_npz_is_resized_and_converted_as_pillow_does(tmp_path, shape, size, channels):
    content = arrays(shape)
    path = save(tmp_path, **content)
    data = digits.npz(path, name="any", size=size, channels=channels)
    assert data.image.shape == (30, size, size, channels)
    picture = Image.fromarray(content["x_train"][7].squeeze())
    if channels == 1:
        picture = picture.convert("L")
    picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    if channels == 3:
        picture = picture.convert("RGB")
    np.testing.assert_array_equal(data.image[7].squeeze(), np.asarray(picture))


def test_luma_equals_pillows():
    colors = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(colors).convert("L"))
    np.testing.assert_array_equal(pixels.luma(colors)[..., 0], grey)


def test_label_ten_stands_for_zero(tmp_path):
    data = digits.npz(save(tmp_path, **arrays(labels=range(1, 11))), name="svhn")
    np.testing.assert_array_equal(data.label, np.arange(1, 31) % 10)


def without(key):
    return {k: v for k, v in arrays().items() if k != key}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (without("y_test"), r"some\.npz .*y_test.*\['x_test', 'x_train'"),
        (
            arrays() | {"x_train": np.zeros((20, 28, 28))},
            r"x_train .*some\.npz .*uint8 .*0\.\.255.*float64",
        ),
        (
            arrays() | {"x_test": np.zeros((10, 784), np.uint8)},
            r"x_test .*\[N, H, W\].*\[N, H, W, 3\].*\(10, 784\)",
        ),
        (
            arrays() | {"x_test": np.zeros((10, 0, 8), np.uint8)},
            r"x_test .*without pixels.*\(10, 0, 8, 1\)",
        ),
        (
            arrays() | {"x_test": np.zeros((9, 8, 8, 4), np.uint8)},
            r"x_test .*\(9, 8, 8, 4\)",
        ),
        (arrays() | {"y_train": np.zeros(20)}, r"y_train .*20 .*float64\[20\]"),
        (arrays() | {"y_test": np.zeros(9, int)}, r"y_test .*10 .*int64\[9\]"),
        (arrays(labels=range(11)), r"y_train .*0\.\.9.* 10"),
        (arrays(labels=[-1]), r"y_train .*0\.\.9.* -1"),
    ],
)
def test_bad_arrays(tmp_path, content, message):
    with pytest.raises(errors.InputError, match=message):
        digits.npz(save(tmp_path, **content), name="any")


def test_bad_files(tmp_path):
    with pytest.raises(errors.InputError, match=r"no\.npz"):
        digits.npz(tmp_path / "no.npz", name="any")
    path = tmp_path / "text.npz"
    for content in (b"no arrays at all", b"", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(errors.InputError, match=r"text\.npz .*\.npz file"):
            digits.npz(path, name="any")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(errors.InputError, match=r"one\.npy .*\.npz file"):
        digits.npz(tmp_path / "one.npy", name="any")


def prepare(name, images, data_dir):
    """A prepared TFDS dataset in array_record form with all images in both parts."""
    builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    folder = pathlib.Path(builder.data_dir)
    folder.mkdir(parents=True)
    splits = []
    for part in ("train", "test"):
        path = folder / f"{name}-{part}.array_record-00000-of-00001"
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
        for i, image in enumerate(images):
            writer.write(record(builder, image, i % 10))
        writer.close()
        template = tfds.core.ShardedFileTemplate(
            dataset_name=name,
            data_dir=builder.data_dir,
            split=part,
            filetype_suffix="array_record",
        )
        splits.append(
            tfds.core.SplitInfo(
                name=part,
                shard_lengths=[len(images)],
                num_bytes=path.stat().st_size,
                filename_template=template,
            )
        )
    builder.info.set_splits(tfds.core.splits.SplitDict(splits))
    builder.info.write_to_directory(builder.data_dir)
    return folder


def record(builder, image, label):
    png = io.BytesIO()
    Image.fromarray(image.squeeze()).save(png, "png")
    png.seek(0)
    row = {"image": png, "label": label}
    features = builder.info.features
    if "id" in features:
        row["id"] = str(label)
    return features.serialize_example(features.encode_example(row))


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", (28, 28, 1)), ("svhn_cropped", (32, 32, 3))]
)
def test_tfds(tmp_path, name, shape):
    images = np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8)
    prepare(name, images, tmp_path)
    data = tfds_sets.load(name, data_dir=str(tmp_path), size=28, channels=1)
    want = pixels.fit(images, size=28, channels=1)
    np.testing.assert_array_equal(data.image, np.concatenate([want, want]))
    np.testing.assert_array_equal(data.label, np.tile(np.arange(12) % 10, 2))
    assert data.label.dtype == np.int32
    assert data.split.tolist() == ["train"] * 12 + ["test"] * 12
    assert data.id[13] == f"{name}/test/00001"
    assert data.class_names == tuple("0123456789")


def test_only_a_tfds_source_imports_tfds_and_none_imports_tensorflow(tmp_path):
    images = np.zeros((2, 28, 28, 1), np.uint8)
    prepare("mnist", images, tmp_path)
    program = f"""
import sys
from dact_jax.data import streams
from dact_jax.data.readers import sources
assert not {{"tensorflow_datasets", "grain"}} & set(sys.modules)
data = sources.load("tfds:mnist", size=28, channels=1, tfds_dir={str(tmp_path)!r})
assert data.image.shape == (4, 28, 28, 1)
assert "tensorflow_datasets" in sys.modules
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_tfds_errors(tmp_path):
    command = rf"tfds build mnist --file_format=array_record --data_dir={tmp_path}"
    with pytest.raises(errors.InputError, match=rf"'mnist'.*{command}$"):
        tfds_sets.load("mnist", data_dir=str(tmp_path))
    with pytest.raises(errors.InputError, match="'mnits'"):
        tfds_sets.load("mnits", data_dir=str(tmp_path))
    folder = prepare("mnist", np.zeros((1, 28, 28, 1), np.uint8), tmp_path)
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(errors.InputError, match=rf"{folder}.*{command}$"):
        tfds_sets.load("mnist", data_dir=str(tmp_path))
