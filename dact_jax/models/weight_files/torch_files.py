"""Reads the tensors of PyTorch files without PyTorch and without running code.

Such a file is a pickle whose tensors refer to storages, which are raw bytes outside the
pickle: members of a zip archive (torch 1.6 and later), or appended to the pickle one
after another (earlier versions). Tensors are views of the storages, so that they take
no more memory than the file.
"""

import io
import math
import os
import pathlib
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from dact_jax import errors
from dact_jax.models.weight_files import state_dicts, torch_pickles
from dact_jax.models.weight_files.torch_pickles import Storage, Tensor

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_ENCRYPTED = 1  # bit of a member's flags
MALFORMED = (  # what pickle, zipfile and NumPy raise for damaged files
    pickle.PickleError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict, by name.

    A state dict within a checkpoint is found by `state_dicts.find`.

    Raises:
      InputError: the file is not a PyTorch file, is damaged, holds tensors without
        names, or refers to Python objects other than tensors, containers, numbers,
        strings and settings.
    """
    with open(path, "rb") as file:
        try:
            return _load(file)
        except torch_pickles.ForbiddenError as error:
            raise errors.InputError(
                f"{path} contains {errors.clause(error)}, which is not a tensor: write "
                "the file with torch.save(model.state_dict(), path)."
            ) from None
        except MALFORMED as error:
            raise errors.InputError(
                f"{path} cannot be read as a PyTorch state dict: "
                f"{errors.clause(error)}."
            ) from error


def _load(file: IO[bytes]) -> dict[str, np.ndarray]:
    if zipfile.is_zipfile(file):
        content, storages = _read_zip(file)
    else:
        file.seek(0)
        content, storages = _read_legacy(file)
    found = state_dicts.find(content, Tensor)
    return {name: _array(name, tensor, storages) for name, tensor in found.items()}


def _read_zip(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        _check_members(members.values(), os.fstat(file.fileno()).st_size)
        roots = [n.removesuffix("data.pkl") for n in members if n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError(f"it has {len(roots)} members called data.pkl, not one")
        (root,) = roots
        if f"{root}byteorder" in members:
            _require_little(archive.read(f"{root}byteorder") == b"little")
        pickled = io.BytesIO(archive.read(f"{root}data.pkl"))
        content = torch_pickles.load(pickled).content
        folder = f"{root}data/"
        return content, {
            name.removeprefix(folder): archive.read(name)
            for name in members
            if name.startswith(folder)
        }


def _check_members(members: Any, size: int) -> None:
    """PyTorch does not compress, so all members together fit into the file."""
    for member in members:
        name = errors.quoted(member.filename)
        is_stored = member.compress_type == zipfile.ZIP_STORED
        if not is_stored or member.compress_size != member.file_size:
            raise ValueError(
                f"its member {name} is compressed, which torch.save does not do"
            )
        if member.flag_bits & _ENCRYPTED:
            raise ValueError(f"its member {name} is encrypted")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its members claim more bytes than the file has")


def _read_legacy(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    content = io.BytesIO(file.read())  # so that nothing larger can be asked for
    magic, _, system = (torch_pickles.load(content).content for _ in range(3))
    if magic != _LEGACY_MAGIC:
        raise ValueError("it does not start with PyTorch's magic number")
    _require_little(system["little_endian"])
    state, dtypes = torch_pickles.load(content)
    storages = {}
    for key in torch_pickles.load(content).content:
        count = int.from_bytes(content.read(8), "little")
        size = count * np.dtype(dtypes[key]).itemsize
        if size > content.getbuffer().nbytes:
            raise ValueError(f"its storage {errors.quoted(key)} is cut off")
        storages[key] = content.read(size)
    return state, storages


def _require_little(little: bool) -> None:
    if not little:
        raise ValueError("it was written on a big-endian machine")


def _array(name: str, tensor: Tensor, storages: Mapping[str, bytes]) -> np.ndarray:
    """A view of the tensor's storage.

    Bounds are checked by Python's integers, since NumPy's would overflow.
    """
    if not isinstance(tensor.storage, Storage):
        raise ValueError(f"{errors.quoted(name)} has no storage")
    if tensor.storage.key not in storages:
        raise ValueError(f"the storage of {errors.quoted(name)} is missing")
    dtype, content = np.dtype(tensor.storage.dtype), storages[tensor.storage.key]
    sizes = [tensor.offset, *tensor.shape, *tensor.strides]
    whole = all(type(size) is int and size >= 0 for size in sizes)
    if not whole or len(tensor.shape) != len(tensor.strides):
        raise ValueError(f"the shape of {errors.quoted(name)} is not one of a tensor")
    held, count = len(content) // dtype.itemsize, math.prod(tensor.shape)
    axes = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((side - 1) * stride for side, stride in axes)
    if count and (last >= held or count > held):
        raise ValueError(
            f"{errors.quoted(name)} needs {max(last + 1, count)} numbers, and its "
            f"storage holds {held}"
        )
    return np.ndarray(
        tensor.shape,
        dtype,
        content,
        tensor.offset * dtype.itemsize,
        tuple(stride * dtype.itemsize for stride in tensor.strides),
    )
