"""Reads the tensors of PyTorch files without PyTorch and without running code.

Such a file is a pickle whose tensors refer to storages, which are raw bytes outside the
pickle: members of a zip archive (torch 1.6 and later), or appended to the pickle one
after another (earlier versions). Unpickling resolves only the globals listed below, so
that a file cannot execute code.
"""

import collections
import pathlib
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

import numpy as np

from dact_jax import errors

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MALFORMED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
)


class _Storage(NamedTuple):
    key: str
    dtype: str


class _Tensor(NamedTuple):
    """A strided view of a storage; offset and strides are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_GLOBALS = {
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_tensor": lambda *args: _Tensor(*args),
    "torch._utils._rebuild_tensor_v2": lambda *args: _Tensor(*args[:4]),
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",  # NumPy knows it after JAX was imported
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}


class _ForbiddenError(Exception):
    """The pickle refers to a global that is not in _GLOBALS."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.dtypes: dict[str, str] = {}  # storage key -> dtype

    def find_class(self, module: str, name: str) -> Any:
        if (full := f"{module}.{name}") not in _GLOBALS:
            raise _ForbiddenError(full)
        return _GLOBALS[full]

    def persistent_load(self, pid: tuple[Any, ...]) -> _Storage:
        _, dtype, key, _, _, *view = pid
        if any(part is not None for part in view):
            raise ValueError("views of storages are not supported")
        self.dtypes[key] = dtype
        return _Storage(key, dtype)


def load(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict, by name.

    A checkpoint of the form {"state_dict": ...} is unwrapped; entries that are not
    tensors are skipped.

    Raises:
      InputError: the file is not a PyTorch file, is damaged, or refers to Python
        objects other than tensors, containers, numbers and strings.
    """
    with open(path, "rb") as file:
        try:
            return _load(file)
        except _ForbiddenError as error:
            raise errors.InputError(
                f"{path} contains {error}, which is not a tensor: write the file with "
                "torch.save(model.state_dict(), path)."
            ) from None
        except _MALFORMED as error:
            raise errors.InputError(
                f"{path} cannot be read as a PyTorch state dict: {error}."
            ) from error


def _load(file: IO[bytes]) -> dict[str, np.ndarray]:
    if zipfile.is_zipfile(file):
        content, storages = _read_zip(file)
    else:
        file.seek(0)
        content, storages = _read_legacy(file)
    tensors = dict(_tensors(content))
    if not tensors:
        raise ValueError("it contains no tensors")
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def _read_zip(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        (root,) = (n.removesuffix("data.pkl") for n in names if n.endswith("/data.pkl"))
        if f"{root}byteorder" in names:
            _require_little(archive.read(f"{root}byteorder") == b"little")
        with archive.open(f"{root}data.pkl") as pickled:
            content = _Unpickler(pickled).load()
        folder = f"{root}data/"
        return content, {
            name.removeprefix(folder): archive.read(name)
            for name in names
            if name.startswith(folder)
        }


def _read_legacy(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    magic, _, system = (_Unpickler(file).load() for _ in range(3))
    if magic != _LEGACY_MAGIC:
        raise ValueError("it does not start with PyTorch's magic number")
    _require_little(system["little_endian"])
    unpickler = _Unpickler(file)
    content = unpickler.load()
    storages = {}
    for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = file.read(count * np.dtype(unpickler.dtypes[key]).itemsize)
    return content, storages


def _require_little(little: bool) -> None:
    if not little:
        raise ValueError("it was written on a big-endian machine")


def _tensors(content: Any) -> Iterator[tuple[str, _Tensor]]:
    state = content.get("state_dict", content)
    for name, value in state.items():
        if isinstance(value, _Tensor):
            yield name, value


def _array(tensor: _Tensor, storages: Mapping[str, bytes]) -> np.ndarray:
    dtype = np.dtype(tensor.storage.dtype)
    view = np.ndarray(  # raises if an element lies outside the storage
        tensor.shape,
        dtype,
        storages[tensor.storage.key],
        tensor.offset * dtype.itemsize,
        tuple(stride * dtype.itemsize for stride in tensor.strides),
    )
    return np.ascontiguousarray(view)
