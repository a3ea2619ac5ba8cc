"""Handwritten digits: UCI's from scikit-learn, or any from an .npz file."""

import importlib.util
import pathlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from dact_jax import array_files, errors
from dact_jax.data.readers import pixels
from dact_jax.types import Dataset

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def uci(*, size: int = 28, channels: int = 1) -> Dataset:
    """The 1797 handwritten digits of scikit-learn (UCI, 8x8 pixels in 0..16).

    They are scaled to 0..255, enlarged (bicubic) to 20/28 of the side and padded
    with black, as MNIST is. There is no official split.

    Args:
      size: height and width of the images, in pixels.
      channels: 1, or 3 equal ones.

    Raises:
      InputError: size or channels is out of range.
    """
    pixels.check_size(size, channels)
    intensity, label = _uci_arrays()
    images = np.round(intensity * (255 / 16)).astype(np.uint8)[..., None]
    inner = max(1, round(size * 20 / 28))
    before = (size - inner) // 2
    margin = (before, size - inner - before)
    images = pixels.resize(images, inner, Image.Resampling.BICUBIC)
    images = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    return Dataset(
        name="uci",
        image=pixels.fit(images, size=size, channels=channels),
        label=label.astype(np.int32),
        id=np.array([f"uci/{i:04d}" for i in range(len(images))]),
        split=None,
        class_names=tuple("0123456789"),
    )


def _uci_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Intensities float64[N, 8, 8] in 0..16, and labels [N].

    scikit-learn takes a second to import, and its file of the digits a few milliseconds
    to read.
    """
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None  # a dependency
    assert spec.origin is not None
    path = pathlib.Path(spec.origin).with_name("datasets") / "data" / "digits.csv.gz"
    if not path.is_file():  # another version keeps it elsewhere
        from sklearn import datasets

        found = datasets.load_digits()
        return found.images, found.target
    table = np.loadtxt(path, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1]


def npz(
    path: str | pathlib.Path, *, name: str, size: int = 28, channels: int = 1
) -> Dataset:
    """Digits from an .npz file with the arrays x_train, y_train, x_test and y_test.

    Images are uint8[N, H, W], uint8[N, H, W, 1] or uint8[N, H, W, 3]; labels are
    integers 0..9, or 1..10 where 10 stands for digit 0, as in SVHN's own files. The
    train and test arrays become the split. Images of another size are resized
    (bilinear).

    Args:
      name: name of the domain and first part of the ids, as in "mnist/train/00001".
      size: height and width of the images, in pixels.
      channels: 1 or 3.

    Raises:
      InputError: there is no such file, or an array is missing or has a wrong dtype,
        shape or value.
    """
    pixels.check_size(size, channels)
    arrays = _arrays(path)
    images, labels = [], []
    ids: list[str] = []
    split: list[str] = []
    for part in ("train", "test"):
        image = _images(arrays[f"x_{part}"], f"x_{part} of {path}")
        labels.append(_labels(arrays[f"y_{part}"], f"y_{part} of {path}", len(image)))
        images.append(pixels.fit(image, size=size, channels=channels))
        ids.extend(f"{name}/{part}/{i:05d}" for i in range(len(image)))
        split.extend([part] * len(image))
    return Dataset(
        name=name,
        image=np.concatenate(images),
        label=np.concatenate(labels),
        id=np.array(ids),
        split=np.array(split),
        class_names=tuple("0123456789"),
    )


def _arrays(path: str | pathlib.Path) -> Mapping[str, np.ndarray]:
    """The file's arrays, including all of ARRAYS."""
    arrays = array_files.read(path, ARRAYS)
    missing = [key for key in ARRAYS if key not in arrays]
    if missing:
        raise errors.InputError(
            f"{path} lacks the array {missing[0]}; it has "
            f"{sorted(array_files.names(path))}."
        )
    return arrays


def _images(images: np.ndarray, where: str) -> np.ndarray:
    """Checks images and adds the axis of channels if it is missing."""
    if images.dtype != np.uint8:
        raise errors.InputError(f"{where} must be uint8 (0..255), not {images.dtype}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise errors.InputError(
            f"{where} must be [N, H, W] or [N, H, W, 3], not {images.shape}."
        )
    if 0 in images.shape[1:]:
        raise errors.InputError(f"{where} has images without pixels: {images.shape}.")
    return images


def _labels(label: np.ndarray, where: str, count: int) -> np.ndarray:
    """Checks labels and returns them as int32[count] in 0..9."""
    if not np.issubdtype(label.dtype, np.integer) or label.shape != (count,):
        raise errors.InputError(
            f"{where} must be {count} integers, not {label.dtype}{list(label.shape)}."
        )
    if 10 in label and 0 not in label:  # SVHN stores digit 0 as 10
        label = np.where(label == 10, 0, label)
    wrong = label[(label < 0) | (label > 9)]
    if len(wrong):
        raise errors.InputError(f"{where} must hold digits 0..9; it has {wrong[0]}.")
    return label.astype(np.int32)
