"""Valid files of every form that the library reads, small enough for thousands."""

import functools
import io
import json
import pathlib
import zipfile
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import safetensors.numpy
import yaml
from PIL import Image
from pyarrow import parquet

from tests.fuzz import answer_seeds, torch_seeds

_METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
_CLASSES = ("cat", "dog")
_PHOTOS = [f"{name}/{k}.png" for name in _CLASSES for k in range(3)]
ROWS = 6  # of a pool


class Seed(NamedTuple):
    name: str  # of the file; its suffix says how it is mutated
    content: bytes
    readers: str  # names in `readers.READERS`, separated by blanks
    beside: dict[str, bytes]  # other files of the folder, which stay as they are


def _npz(arrays, method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", _METHODS[method]) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            archive.writestr(member, _npy(array), _METHODS[method])
    return buffer.getvalue()


def _npy(array, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), version)
    return buffer.getvalue()


def _embeddings():
    random = np.random.default_rng(0)
    return {
        "features": random.normal(size=(ROWS, 3)).astype(np.float32),
        "label": np.array([0, 1, -1, 1, 0, -1]),
        "path": np.array([f"{row}.jpg" for row in range(ROWS)]),
        "classes": np.array(_CLASSES),
    }


def _digits():
    images = np.zeros((4, 5, 5), np.uint8)
    label = np.array([0, 1, 9, 3])
    return {"x_train": images, "y_train": label, "x_test": images, "y_test": label}


def _parquet(**options):
    """The vectors as a table, whose labels are text or numbers."""
    arrays = _embeddings()
    label = arrays["label"].tolist()
    if "compression" not in options:
        label = [_CLASSES[k] if k >= 0 else None for k in label]
    columns = {
        "path": arrays["path"].tolist(),
        "label": label,
        "embedding": arrays["features"].tolist(),
    }
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink, row_group_size=4, **options)
    return sink.getvalue()


def weights(prefix=""):
    """The tensors of a convolution of one channel."""
    kernel = np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3)
    return {f"{prefix}conv1.weight": kernel, f"{prefix}conv1.bias": np.ones(2, "f4")}


def _arrays():
    for method in _METHODS:
        for what, arrays in (("embeddings", _embeddings()), ("digits", _digits())):
            readers = "source pool" if what == "embeddings" else "source"
            yield f"{what}_{method}.npz", _npz(arrays, method), readers
        yield f"weights_{method}.npz", _npz(weights("module."), method), "weights"
    yield "embeddings.parquet", _parquet(), "source pool"
    checked = {"compression": "gzip", "write_page_checksum": True}
    yield "embeddings_checked.parquet", _parquet(**checked), "source pool"
    for version in ((1, 0), (2, 0), (3, 0)):
        name = f"v{version[0]}.npy"
        yield f"pool_{name}", _npy(np.ones((ROWS, 2)), version), "pool logits"
        yield f"rows_{name}", _npy(np.arange(3), version), "labelled"
        yield f"mask_{name}", _npy(np.arange(ROWS) > 3, version), "labelled"


def _weights():
    tensors = weights()
    plain = torch_seeds.state(tensors)
    nested = torch_seeds.wrapped("model", torch_seeds.state(weights("module.")))
    both = weights("src_net.") | weights("tgt_net.")
    for name, content, arrays in (
        ("plain", plain, tensors),
        ("nested", nested, tensors),
        ("two", torch_seeds.state(both), both),
    ):
        yield f"{name}_zip.pth", torch_seeds.zipped(content, arrays), "weights"
        yield f"{name}_legacy.pth", torch_seeds.legacy(content, arrays), "weights"
    yield "net.safetensors", safetensors.numpy.save(weights("net.")), "weights"


def _texts():
    rows = [f"{path},{path.split('/')[0]}" for path in _PHOTOS]
    splits = ("train", "train", "test", "", "val", "train")
    split = [f"{row},{part}" for row, part in zip(rows, splits, strict=True)]
    yield "plain.csv", "path,label\n" + "\n".join(rows) + "\n", "source"
    yield "split.csv", "path,label,split\n" + "\n".join(split) + "\n", "source"
    other = "filename;class\r\n" + "\r\n".join(rows).replace(",", ";") + "\r\n"
    yield "other.csv", other, "source"
    lines = [f"{path} {k // 3}" for k, path in enumerate(_PHOTOS)]
    yield "numbers.txt", "\n".join(lines) + "\n", "source ids"
    names = [f"{path} {path.split('/')[0]}" for path in _PHOTOS]
    yield "names.txt", "\n".join(names), "source ids"
    yield "rows.txt", "0\n2\n5\n", "labelled"
    yield "rows.csv", "order,row,score\n0,3,1.5\n1,1,0.5\n", "labelled"


def _run():
    head = "round,order,side,id,score,acquisition,checkpoint\n"
    picks = [
        f'{k},0,"target","{p}",{k / 2},"k_center","0/3"' for k, p in enumerate("ab")
    ]
    yield "picks.csv", head + "\n".join(picks) + "\n", "picks report"
    rows = [
        {"event": "train", "round": 0, "step": 2, "total": 1.5, "seconds": 0.1},
        {
            "event": "eval",
            "round": 0,
            "step": 2,
            "test_accuracy": 0.5,
            "val_accuracy": 0.5,
        },
        {
            "event": "select",
            "round": 0,
            "step": 2,
            "seconds_scoring": 0.1,
            "labels_target": 4,
        },
        {
            "event": "round",
            "round": 0,
            "step": 2,
            "labels_target": 4,
            "labels_val": 2,
            "source_samples": 9,
            "source_pool": 9,
            "seconds": 1.0,
            "test_images": 7,
            "test_accuracy": 0.25,
            "val_accuracy": None,
            "labels_per_class": {"cat": 2, "dog": 2},
        },
    ]
    yield "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in rows), "rows report"
    record = {
        "config": {"seed": 0, "train": {"steps": 3, "mean": [0.5]}, "name": "run"},
        "data": {"source": "sha256:00"},
        "classes": list(_CLASSES),
        "image_shape": [8, 8, 3],
        "versions": {"jax": "0.10"},
        "devices": ["cpu"],
    }
    yield "config.yaml", yaml.safe_dump(record), "record claim"
    text = (
        "from dact_jax.configuration import defaults\n\n\ndef get_config(preset='x'):"
    )
    text += (
        "\n    config = defaults.get_config()\n    config.seed = 3\n    return config\n"
    )
    yield "tried.py", text, "config"


def _picture(mode="RGB", side=12):
    random = np.random.default_rng(1)
    if mode == "I;16":
        return Image.fromarray(random.integers(0, 2**16, (side, side), np.uint16))
    return Image.fromarray(random.integers(0, 255, (side, side, 3), np.uint8)).convert(
        mode
    )


def _encoded(form, mode="RGB", **options):
    buffer = io.BytesIO()
    _picture(mode).save(buffer, form, **options)
    return buffer.getvalue()


def _images():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[282] = 6, "Maker", 72.0
    for form in ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM", "JPEG2000"):
        ending = {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}.get(
            form, form.lower()
        )
        mode = "P" if form == "GIF" else "RGB"
        yield f"image.{ending}", _encoded(form, mode)
        if form in ("JPEG", "PNG", "WEBP", "TIFF"):
            yield f"exif.{ending}", _encoded(form, exif=exif)
    yield "gray.png", _encoded("PNG", "L")
    yield "alpha.png", _encoded("PNG", "RGBA")
    yield "palette.png", _encoded("PNG", "P")
    yield "deep.png", _encoded("PNG", "I;16")
    yield "cmyk.jpg", _encoded("JPEG", "CMYK")
    yield "progressive.jpg", _encoded("JPEG", progressive=True)
    yield "packed.tif", _encoded("TIFF", compression="tiff_lzw")


@functools.cache
def seeds():
    """All seeds; a folder of photos lies beside the lists of photos."""
    photo = _encoded("PNG")
    photos = dict.fromkeys(_PHOTOS, photo)
    found = [Seed(*seed, {}) for seed in (*_arrays(), *_weights())]
    found += [Seed(name, text.encode(), r, photos) for name, text, r in _texts()]
    run = {name: text.encode() for name, text, _ in _run() if name != "tried.py"}
    for name, text, readers in _run():
        others = {other: content for other, content in run.items() if other != name}
        found.append(Seed(name, text.encode(), readers, others))
    query = {
        name: text.encode() for name, text, r in answer_seeds.files() if r == "query"
    }
    for name, text, readers in answer_seeds.files():
        beside = {} if readers == "query" else query
        found.append(Seed(name, text.encode(), readers, beside))
    found += [Seed(f"photos_b/cat/{n}", c, "image photos", {}) for n, c in _images()]
    folder = {f"photos_b/{path}": photo for path in _PHOTOS}
    found += [Seed("photos_b/cat/new.png", photo, "names", folder)]
    return tuple(found)


@functools.cache
def readers():
    """Names of all readers; each gets as many cases as the others."""
    return tuple(sorted({name for seed in seeds() for name in seed.readers.split()}))


def write(seed, content, folder):
    """Writes the files of a seed, the first with other content; returns its path."""
    folder = pathlib.Path(folder)
    for name, other in seed.beside.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(other)
    path = folder / seed.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
