"""The pool to select from, and what a classifier says of it, from files."""

import pathlib
from typing import NamedTuple

import numpy as np

from dact_jax import array_files, errors, vectors
from dact_jax.data.readers import embeddings
from dact_jax.data.selection import text_numbers
from dact_jax.data.vector_files import contents, npy, reading
from dact_jax.types import UNLABELED

_MOST = 1e-3  # that a row of probabilities may differ from 1 in all
_CONVERT = {  # of files that only other packages read
    ".feather": "pandas.read_feather({path!r}).to_numpy(float)",
    ".xlsx": "pandas.read_excel({path!r}).to_numpy(float)",
    ".h5": 'h5py.File({path!r})["features"][:]',
    ".hdf5": 'h5py.File({path!r})["features"][:]',
    ".mat": 'scipy.io.loadmat({path!r})["features"]',
    ".safetensors": 'safetensors.numpy.load_file({path!r})["features"]',
    ".pkl": "numpy.load({path!r}, allow_pickle=True)",
}


class Pool(NamedTuple):
    features: np.ndarray  # [N, F] real numbers; those of a .npy file stay on disk
    labelled: np.ndarray  # bool[N], rows that have a label in the file
    path: np.ndarray | None = None  # str[N], names of the rows, if the file has them
    unread: tuple[str, ...] = ()  # arrays of the file that are not read
    label: np.ndarray | None = None  # str[N], names of classes, "" where there is none
    class_names: tuple[str, ...] = ()  # in the order of their numbers, if it is known


def read(path: pathlib.Path) -> Pool:
    """Reads the pool to pick from.

    Args:
      path: a .npy file [N, F] of real numbers, which is memory-mapped and never read as
        a whole; an .npz or .parquet file as in `embeddings`; or a table of numbers,
        .csv or .txt, as in `text_numbers`. Rows with a label count as labelled.

    Raises:
      InputError: the file does not exist or has another format.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise errors.InputError(f"there is no file {path} (--features).")
    if suffix in reading.SUFFIXES and suffix != ".npy":
        data = embeddings.read(path)
        is_labelled = data.label != UNLABELED
        pool = Pool(data.features, is_labelled, data.path, data.unread)
        label = np.array([*data.class_names, ""])[data.label]  # "": of -1
        return pool._replace(label=label, class_names=data.class_names)
    if suffix in (".csv", ".tsv", ".txt"):
        table = text_numbers.read(path)
        features = vectors.matrix(table.numbers, f"--features={path}")
        pool = Pool(np.asarray(features), table.is_labelled, table.path)
        return pool._replace(label=table.label)
    if suffix in _CONVERT:
        package = _CONVERT[suffix].partition("(")[0].split(".")[0]
        line = _CONVERT[suffix].format(path=str(path))
        raise errors.InputError(
            f"--features={path}: {suffix} files are not read; convert it once in "
            f"Python: import numpy, {package}; "
            f"numpy.save({str(path.with_suffix('.npy'))!r}, {line})"
        )
    if suffix not in (".npy", ""):
        raise errors.InputError(
            f"--features={path} must end in .npy, .npz, .parquet, .csv, .tsv, .txt, "
            ".pt or .pth: numpy.save writes an array [N, F] as .npy."
        )
    return _with_text(path, _matrix(path, "--features", "[N, F]"))


def _with_text(path: pathlib.Path, features: np.ndarray) -> Pool:
    """The rows of a .npy file, by what the text files beside it say of them."""
    pool = of_matrix(features, f"--features={path}")
    if path.suffix.lower() != ".npy":
        return pool
    arrays = npy.beside(path, features).arrays
    if contents.LABEL in arrays:
        label = arrays[contents.LABEL]
        classes = tuple(map(str, arrays.get(contents.CLASSES, ())))
        pool = pool._replace(labelled=label != "", label=label, class_names=classes)
    if contents.PATH in arrays:
        ids = embeddings.check_ids(arrays[contents.PATH], str(path), len(features))
        pool = pool._replace(path=ids)
    return pool


def of_matrix(features: np.ndarray, where: str) -> Pool:
    """A pool without names and labels.

    Args:
      features: [N, F].
      where: name of the features for messages.

    Raises:
      InputError: they are not [N, F] real numbers, or are empty.
    """
    vectors.matrix(features, where)
    return Pool(features, np.zeros(len(features), bool))


def read_logits(path: pathlib.Path, num: int) -> np.ndarray:
    """[num, K] finite real numbers of a .npy file.

    Raises:
      InputError: the file does not exist or has another format, or its rows are
        probabilities.
    """
    logits = _read_predictions(path, "--logits", num)
    if _are_probabilities(logits):
        raise errors.InputError(
            f"--logits={path}: its rows are not negative and sum to 1, as "
            f"probabilities do; give them as --probabilities={path}."
        )
    return logits


def read_probabilities(path: pathlib.Path, num: int) -> np.ndarray:
    """float32[num, K], logits with the probabilities [num, K] of a .npy file.

    Raises:
      InputError: the file does not exist or has another format, or a row is negative
        or does not sum to 1.
    """
    values = _read_predictions(path, "--probabilities", num)
    if not _are_probabilities(values):
        wrong = int(np.flatnonzero(~_is_probability(values))[0])
        raise errors.InputError(
            f"--probabilities={path} must have rows that are not negative and sum to "
            f"1; row {wrong} does not. (Give logits as --logits.)"
        )
    least = np.finfo(np.float32).tiny  # of 0, whose logarithm is infinite
    return np.log(np.maximum(values.astype(np.float32), least))


def _read_predictions(path: pathlib.Path, flag: str, num: int) -> np.ndarray:
    values = _matrix(path, flag, "[N, K]")
    if len(values) != num:
        raise errors.InputError(
            f"{flag}={path} must have one row for each of the {num} rows of the "
            f"pool, in the same order; it has {len(values)}."
        )
    vectors.check(values, f"{flag}={path}")
    return values


def _are_probabilities(values: np.ndarray) -> bool:
    return bool(_is_probability(values).all())


def _is_probability(values: np.ndarray) -> np.ndarray:
    total = values.sum(1, dtype=np.float64)
    return (values.min(1) >= 0) & (np.abs(total - 1) <= _MOST)


def _matrix(path: pathlib.Path, flag: str, shape: str) -> np.ndarray:
    values = array_files.mapped(path, f"{flag}={path}")
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise errors.InputError(
            f"{flag}={path} must be {shape} real numbers, not "
            f"{values.dtype}{list(values.shape)}."
        )
    return values
