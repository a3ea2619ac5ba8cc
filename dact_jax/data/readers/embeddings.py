"""Embeddings from a file, such as a foundation model's, as a domain."""

import pathlib
from typing import Literal, NamedTuple, get_args

import numpy as np
from absl import logging

from dact_jax import errors, vectors
from dact_jax.data.vector_files import contents, reading
from dact_jax.types import UNLABELED, Array, Dataset, Images

Scale = Literal["unit", "raw"]
MAX_CLASSES = 100_000  # a larger label is not the number of a class


class Arrays(NamedTuple):
    """The arrays of a file, checked."""

    features: np.ndarray  # float[N, F], as the file has them
    label: np.ndarray  # int32[N]; UNLABELED where there is none
    class_names: tuple[str, ...]
    path: np.ndarray | None  # str[N], unique ids
    unread: tuple[str, ...]  # names of the other arrays
    unnamed: str  # as in `Dataset`


def load(path: str | pathlib.Path, *, name: str, scale: Scale = "unit") -> Dataset:
    """Reads embeddings from a file; each becomes an image of one pixel.

    An .npz file holds the array `features`, float[N, F], and optionally:
      label: int[N] (-1: unlabelled) or str[N] ("": unlabelled). Default: all rows are
        unlabelled.
      path: str[N], unique ids. Default: row numbers, such as "0000".
      classes: str[K], class names. Default: the strings in `label`, sorted, or "0" up
        to the largest label.

    Args:
      path: the file, .npz, .parquet or .npy (`data.vector_files`); nothing in it is
        unpickled.
      scale: "unit" divides each vector by its root mean square, so that values are
        about 1 whichever model computed them (a vector of zeros is kept); "raw"
        changes nothing.

    Returns:
      A dataset whose image is float32[N, 1, 1, F].

    Raises:
      InputError: there is no such file, or an array is missing or has a wrong dtype,
        shape or value.
    """
    if scale not in get_args(Scale):
        raise errors.InputError(f'data.scale must be "unit" or "raw", not {scale!r}.')
    arrays = read(path)
    images = stored(arrays.features, f"features of {path}", scale)
    count, ids = len(images), arrays.path
    if ids is None:
        ids = np.char.zfill(np.arange(count).astype(str), len(str(count - 1)))
    if arrays.unread:
        logging.warning(
            "%s: arrays that are not read: %s.", path, ", ".join(arrays.unread)
        )
    return Dataset(
        name=name,
        image=images,
        label=arrays.label,
        id=ids,
        split=None,
        class_names=arrays.class_names,
        unnamed=arrays.unnamed,
    )


def read(path: str | pathlib.Path) -> Arrays:
    """Reads and checks the arrays of a file, as `load` documents them.

    Raises:
      InputError: as `load`; also where a name is nearly that of an array which the
        file lacks, such as "labels".
    """
    found = reading.read(path)
    arrays, where = found.arrays, found.where
    features = arrays[contents.FEATURES]
    _check_features(features, where[contents.FEATURES])
    count = len(features)
    classes = None
    if contents.CLASSES in arrays:
        names, place = arrays[contents.CLASSES], where[contents.CLASSES]
        classes = _classes(names, place)
    label = arrays.get(contents.LABEL, np.full(count, UNLABELED))
    place = where.get(contents.LABEL, "label")
    is_bare = classes is None and label.dtype.kind in "iu"
    label, class_names = _labels(label, place, count, classes)
    ids = None
    if contents.PATH in arrays:
        ids = check_ids(arrays[contents.PATH], where[contents.PATH], count)
    unnamed = found.naming if is_bare and class_names else ""
    return Arrays(features, label, class_names, ids, found.unread, unnamed)


def stored(features: np.ndarray, where: str, scale: Scale) -> np.ndarray:
    """Converts vectors to images of one pixel, float32[N, 1, 1, F].

    Args:
      features: float[N, F].
      where: name of the vectors for error messages.
      scale: as in `load`.

    Raises:
      InputError: features is empty, not finite, or has another shape or dtype.
    """
    rounded = _vectors(features, where)
    return (_unit(rounded) if scale == "unit" else rounded)[:, None, None]


def are_vectors(images: Images | Array) -> bool:
    """Whether images are embeddings, float32[N, 1, 1, F], and not uint8 pixels."""
    return bool(images.dtype == np.float32)


def check_ids(ids: np.ndarray, where: str, count: int) -> np.ndarray:
    """Checks ids and returns them as str[count].

    Raises:
      InputError: they are not so many different strings.
    """
    ids = _strings(ids, where)
    if len(ids) != count:
        raise errors.InputError(
            f"{where} must be {count} strings, one per vector, not {len(ids)}."
        )
    unique, times = np.unique(ids, return_counts=True)
    if len(unique) < count:
        repeated = str(unique[times > 1][0])
        raise errors.InputError(
            f"{where} must be unique, but {repeated!r} occurs more than once."
        )
    return ids


def _check_features(features: np.ndarray, where: str) -> None:
    if features.dtype.kind != "f" or features.ndim != 2:
        raise errors.InputError(
            f"{where} must be float[N, F], one row per vector, not {_form(features)}."
        )
    if not features.size:
        raise errors.InputError(f"{where} is empty: {_form(features)}.")


def _vectors(features: np.ndarray, where: str) -> np.ndarray:
    """Checks features and returns them as float32[N, F]."""
    _check_features(features, where)
    with np.errstate(over="ignore"):  # values beyond float32 are reported below
        rounded = features.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(rounded).all(axis=1))
    if len(wrong):
        raise errors.InputError(
            f"{where} must be finite float32 numbers: row {wrong[0]} is not, and "
            f"neither are {len(wrong) - 1} other rows."
        )
    vectors.check_kept(features, where)
    return rounded


def _unit(x: np.ndarray) -> np.ndarray:
    """float32[N, F], each row with a mean square of 1; rows of zeros are kept."""
    # Dividing by the largest value first keeps the squares from over- or underflowing.
    x = x / _zeros_to_one(np.abs(x).max(axis=1))[:, None]
    square = np.einsum("nf,nf->n", x, x) / np.float32(x.shape[1])
    return x / _zeros_to_one(np.sqrt(square))[:, None]


def _zeros_to_one(x: np.ndarray) -> np.ndarray:
    return np.where(x == 0, np.float32(1), x)


def _classes(classes: np.ndarray, where: str) -> tuple[str, ...]:
    names = _strings(classes, where)
    if not (names != "").all() or len(np.unique(names)) < len(names):
        raise errors.InputError(
            f"{where} must be unique names, none of them empty, not {names.tolist()}."
        )
    return tuple(names.tolist())


def _labels(
    label: np.ndarray, where: str, count: int, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Checks labels; returns them as int32[count], and the class names."""
    if label.shape != (count,) or label.dtype.kind not in "iuUS":
        raise errors.InputError(
            f"{where} must be {count} integers or strings, one per vector, not "
            f"{_form(label)}."
        )
    if label.dtype.kind in "US":
        return _numbered(_strings(label, where), where, classes)
    num_classes = MAX_CLASSES if classes is None else len(classes)
    wrong = np.flatnonzero((label < UNLABELED) | (label >= num_classes))
    if len(wrong):
        raise errors.InputError(
            f"{where} must be 0..{num_classes - 1}, or -1 for unlabelled: row "
            f"{wrong[0]} is {label[wrong[0]]}."
        )
    label = label.astype(np.int32)
    return label, classes or tuple(str(k) for k in range(label.max() + 1))


def _numbered(
    label: np.ndarray, where: str, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turns labels that are names, str[N], into int32[N]; also the class names."""
    present = np.unique(label[label != ""]).tolist()
    names = tuple(present) if classes is None else classes
    number = {name: k for k, name in enumerate(names)} | {"": UNLABELED}
    for row, name in enumerate(label.tolist()):
        if name not in number:
            raise errors.InputError(
                f'{where} must hold names of the classes that the file lists, or "" '
                f"for unlabelled: row {row} is {name!r}."
            )
    return np.array([number[name] for name in label.tolist()], np.int32), names


def _strings(array: np.ndarray, where: str) -> np.ndarray:
    """Checks that array is a list of strings and returns it as str[N]."""
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise errors.InputError(
            f"{where} must be a list of strings, not {_form(array)}."
        )
    try:
        return array.astype(str)
    except UnicodeDecodeError:
        raise errors.InputError(
            f"{where} must be text, but it holds bytes that are not ASCII."
        ) from None


def _form(array: np.ndarray) -> str:
    """dtype and shape as a message shows them, such as "int64[5]"."""
    return f"{array.dtype}{list(array.shape)}"
