"""Vectors that somebody already has, such as a foundation model's, as a domain."""

import contextlib
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np

from dact_jax import errors
from dact_jax.types import UNLABELED, Array, Dataset, Images

FEATURES = "features"
Scale = Literal["unit", "raw"]
MAX_CLASSES = 100_000  # a label beyond is some other number, not that of a class

_READABLE = (FEATURES, "label", "path", "classes")
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile)


def load(path: str | pathlib.Path, *, name: str, scale: Scale = "unit") -> Dataset:
    """Embeddings from an .npz file, each kept as an image of one pixel.

    The file holds `features` float[N, F], and may hold:
      label: integers[N] (-1: unlabelled), or str[N] ("": unlabelled); without it all
        are unlabelled.
      path: str[N], all different, the ids; without it they are the row numbers,
        "0000" on.
      classes: str[K], the names of the labels; without it they are the strings that
        occur, sorted, or "0" to the largest number.

    Args:
      path: the file; nothing in it is unpickled.
      name: the domain's name.
      scale: "unit" divides each vector by its root mean square, so that numbers are
        about 1 whatever model made them (one of zeros stays); "raw" changes nothing.

    Returns:
      A data set whose image is float32[N, 1, 1, F].

    Raises:
      InputError: no such file, or an array missing or of a wrong dtype, shape or value.
    """
    if scale not in get_args(Scale):
        raise errors.InputError(f'data.scale is "unit" or "raw", not {scale!r}.')
    arrays = _arrays(path)
    images = stored(arrays[FEATURES], f"features of {path}", scale)
    count = len(images)
    classes = None
    if "classes" in arrays:
        classes = _classes(arrays["classes"], f"classes of {path}")
    given = arrays.get("label", np.full(count, UNLABELED))
    label, class_names = _labels(given, f"label of {path}", count, classes)
    if "path" in arrays:
        ids = _ids(arrays["path"], f"path of {path}", count)
    else:
        ids = np.char.zfill(np.arange(count).astype(str), len(str(count - 1)))
    return Dataset(
        name=name,
        image=images,
        label=label,
        id=ids,
        split=None,
        class_names=class_names,
    )


def stored(features: np.ndarray, where: str, scale: Scale) -> np.ndarray:
    """Vectors as images of one pixel, float32[N, 1, 1, F].

    Args:
      features: float[N, F].
      where: what they are, for error messages.
      scale: as in `load`.

    Raises:
      InputError: they are empty, not finite, or of another shape or type.
    """
    vectors = _vectors(features, where)
    return (_unit(vectors) if scale == "unit" else vectors)[:, None, None]


def array_names(path: str | pathlib.Path) -> tuple[str, ...]:
    """What the arrays of an .npz file are called.

    Raises:
      InputError: no such file, or not of that kind.
    """
    with _open(path) as file:
        return tuple(file.files)


def are_vectors(images: Images | Array) -> bool:
    """Whether these are vectors, float32[N, 1, 1, F], and not uint8 pixels."""
    return bool(images.dtype == np.float32)


@contextlib.contextmanager
def _open(path: str | pathlib.Path) -> Iterator[np.lib.npyio.NpzFile]:
    with contextlib.ExitStack() as stack:
        try:
            raw = stack.enter_context(open(path, "rb"))  # np.load may leave it open
            file = np.load(raw, allow_pickle=False)
        except FileNotFoundError:
            raise errors.InputError(f"there is no file {path}.") from None
        except _UNREADABLE:
            file = None
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise errors.InputError(f"{path} is not a readable .npz file.")
        yield stack.enter_context(file)


def _arrays(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Those of the file's arrays that are known, `features` among them."""
    found = {}
    with _open(path) as file:
        for key in _READABLE:
            try:
                if key in file.files:
                    found[key] = file[key]
            except _UNREADABLE:
                raise errors.InputError(
                    f"{key} of {path} cannot be read: save it as an array of numbers "
                    "or of strings (not of objects)."
                ) from None
        if FEATURES not in found:
            raise errors.InputError(
                f"{path} lacks the array features, float[N, F]; it has "
                f"{sorted(file.files)}."
            )
    return found


def _vectors(features: np.ndarray, where: str) -> np.ndarray:
    """float32[N, F], all finite."""
    if features.dtype.kind != "f" or features.ndim != 2:
        raise errors.InputError(
            f"{where} must be float[N, F], one row a vector, not {_form(features)}."
        )
    if not features.size:
        raise errors.InputError(f"{where} is empty: {_form(features)}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        vectors = features.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise errors.InputError(
            f"{where} must be finite numbers of float32: row {wrong[0]} is not, nor "
            f"are {len(wrong) - 1} others."
        )
    return vectors


def _unit(vectors: np.ndarray) -> np.ndarray:
    """float32[N, F], each with a mean square of 1."""
    # First by the largest number: squares of the rest then neither over- nor underflow.
    vectors = vectors / _not_zero(np.abs(vectors).max(axis=1))[:, None]
    square = np.einsum("nf,nf->n", vectors, vectors) / np.float32(vectors.shape[1])
    return vectors / _not_zero(np.sqrt(square))[:, None]


def _not_zero(x: np.ndarray) -> np.ndarray:
    return np.where(x == 0, np.float32(1), x)


def _classes(classes: np.ndarray, where: str) -> tuple[str, ...]:
    names = _strings(classes, where)
    if not (names != "").all() or len(np.unique(names)) < len(names):
        raise errors.InputError(
            f"{where} must be different names, none of them empty, not "
            f"{names.tolist()}."
        )
    return tuple(names.tolist())


def _labels(
    label: np.ndarray, where: str, count: int, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """int32[count], and the names of the classes."""
    if label.shape != (count,) or label.dtype.kind not in "iuUS":
        raise errors.InputError(
            f"{where} must be {count} integers or strings, one a vector, not "
            f"{_form(label)}."
        )
    if label.dtype.kind in "US":
        return _named(_strings(label, where), where, classes)
    known = MAX_CLASSES if classes is None else len(classes)
    wrong = np.flatnonzero((label < UNLABELED) | (label >= known))
    if len(wrong):
        raise errors.InputError(
            f"{where} must be 0..{known - 1}, or -1 for unlabelled: row {wrong[0]} is "
            f"{label[wrong[0]]}."
        )
    label = label.astype(np.int32)
    return label, classes or tuple(str(k) for k in range(label.max() + 1))


def _named(
    label: np.ndarray, where: str, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels given as names, str[N], as numbers int32[N]."""
    present = np.unique(label[label != ""]).tolist()
    names = tuple(present) if classes is None else classes
    number = {name: k for k, name in enumerate(names)} | {"": UNLABELED}
    for row, name in enumerate(label.tolist()):
        if name not in number:
            raise errors.InputError(
                f'{where} must be names of the array classes, or "" for unlabelled: '
                f"row {row} is {name!r}."
            )
    return np.array([number[name] for name in label.tolist()], np.int32), names


def _ids(ids: np.ndarray, where: str, count: int) -> np.ndarray:
    """str[count], all different."""
    ids = _strings(ids, where)
    if len(ids) != count:
        raise errors.InputError(
            f"{where} must be {count} strings, one a vector, not {len(ids)}."
        )
    unique, times = np.unique(ids, return_counts=True)
    if len(unique) < count:
        twice = str(unique[times > 1][0])
        raise errors.InputError(f"{where} must all differ: {twice!r} is there twice.")
    return ids


def _strings(array: np.ndarray, where: str) -> np.ndarray:
    """str[N]."""
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise errors.InputError(
            f"{where} must be a list of strings, not {_form(array)}."
        )
    try:
        return array.astype(str)
    except UnicodeDecodeError:
        raise errors.InputError(
            f"{where} must be text, not bytes beyond ASCII."
        ) from None


def _form(array: np.ndarray) -> str:
    return f"{array.dtype}{list(array.shape)}"
