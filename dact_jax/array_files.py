"""Arrays of .npy and .npz files, read without trusting what the files say.

Nothing is unpickled, and no memory is taken for what a header claims but the file does
not hold: an array of a .npy file stays on the disk, and its bytes must be as many as
its header says; all arrays read from one .npz file take at most RATIO bytes for each
byte of the file, plus ALWAYS. Whatever is damaged is told in one sentence that names
the file and the array.
"""

import contextlib
import io
import math
import os
import pathlib
import stat
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from dact_jax import errors

RATIO = 100  # bytes of arrays for each byte of an .npz file, at most
ALWAYS = 2**26  # bytes of arrays that an .npz file of any size may hold

_SUFFIX = ".npy"  # of the members of an .npz file
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # that numpy writes
_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # bytes, as in numpy
_CHUNK = 2**20  # bytes decompressed at once
_LISTED = 12  # members that a message names
_ENCRYPTED = 1  # bit of a member's flags
_LAST_CHARACTER = 0x10FFFF
_LONE = (0xD800, 0xDFFF)  # halves of pairs: no characters by themselves ...
_BYTES = (0xDC80, 0xDCFF)  # ... but these stand for bytes that are not UTF-8
# What zipfile, zlib and numpy raise for damaged files.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class _Header(NamedTuple):
    """What a .npy file says of its array."""

    shape: tuple[int, ...]
    is_fortran: bool  # the first axis varies fastest
    dtype: np.dtype[Any]

    @property
    def order(self) -> Literal["C", "F"]:
        """The order of the axes, as NumPy calls it."""
        return "F" if self.is_fortran else "C"

    @property
    def num_bytes(self) -> int:
        """Size of the array; a Python integer, which does not overflow."""
        return math.prod(self.shape) * self.dtype.itemsize


def names(path: str | pathlib.Path) -> tuple[str, ...]:
    """Names of the arrays of an .npz file.

    Raises:
      InputError: there is no such file, or it is not an .npz file.
    """
    with _archive(path) as archive:
        return tuple(_members(archive))


def read(
    path: str | pathlib.Path, wanted: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name.

    Args:
      path: the file.
      wanted: names of the arrays to read, as far as the file has them; all by default.

    Raises:
      InputError: there is no such file, it is not an .npz file, or a wanted array is
        damaged, too large, or not of numbers or text.
    """
    arrays = {}
    left = RATIO * os.path.getsize(path) + ALWAYS if os.path.exists(path) else 0
    with _archive(path) as archive:
        for name, member in _members(archive).items():
            if wanted is None or name in wanted:
                with told(f"{name} of {path} cannot be read"):
                    arrays[name] = _read_member(archive, member, left)
                left -= arrays[name].nbytes
    return arrays


def mapped(path: str | pathlib.Path, where: str = "") -> np.ndarray:
    """The array of a .npy file, which stays on the disk.

    Args:
      path: the file.
      where: what to call it in messages, such as "--features=x.npy"; by default its
        path.

    Raises:
      InputError: there is no such file, or it is not a whole .npy file of numbers or
        text.
    """
    where = where or str(path)
    wrong = f"{where} is not a complete .npy file, as numpy.save writes it"
    with opened(path, where) as file, told(wrong):
        header = _read_header(file)
        offset, size = file.tell(), os.fstat(file.fileno()).st_size
        if header.num_bytes != size - offset:
            raise ValueError(
                f"its header says {header.num_bytes} bytes of numbers, and there are "
                f"{size - offset}"
            )
        array: np.ndarray
        if header.num_bytes:
            array = np.memmap(
                path, header.dtype, "r", offset, header.shape, header.order
            )
        else:  # nothing can be mapped
            array = np.empty(header.shape, header.dtype, header.order)
        _check_values(array)
    return array


@contextlib.contextmanager
def opened(path: str | pathlib.Path, where: str) -> Iterator[IO[bytes]]:
    """A regular file; opening a pipe would wait for a writer."""
    if not os.path.exists(path):
        raise errors.InputError(f"there is no file {where}.")
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise errors.InputError(f"{where} is not a file with arrays.")
    with open(path, "rb") as file:
        yield file


@contextlib.contextmanager
def told(wrong: str) -> Iterator[None]:
    """Turns what damaged files raise into one sentence that begins with `wrong`."""
    try:
        yield
    except _DAMAGE as error:
        raise errors.InputError(f"{wrong}: {errors.clause(error)}.") from None


@contextlib.contextmanager
def _archive(path: str | pathlib.Path) -> Iterator[zipfile.ZipFile]:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened(path, str(path)))
        with told(f"{path} is not a readable .npz file"):
            archive = stack.enter_context(zipfile.ZipFile(file))
        yield archive


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members that are arrays, by the array's name."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(_SUFFIX)
        if name in members:
            raise errors.InputError(
                f"{archive.filename} has two arrays called {name!r}; keep one."
            )
        if name != member.filename:
            members[name] = member
    if not members:
        raise errors.InputError(
            f"{archive.filename} holds no array: numpy.savez writes members that end "
            f"in {_SUFFIX}, and it has {archive.namelist()[:_LISTED]}."
        )
    return members


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int
) -> np.ndarray:
    """The array of a member, of at most `most` bytes."""
    if member.compress_type not in _METHODS:
        raise ValueError("it is compressed by a method that numpy.savez does not write")
    if member.flag_bits & _ENCRYPTED:
        raise ValueError("it is encrypted")
    with archive.open(member) as stream:
        header = _read_header(stream)
        if header.num_bytes > most:
            raise ValueError(
                f"its header says {header.num_bytes} bytes, more than {RATIO} times "
                f"the file and {ALWAYS >> 20} MiB; save it by numpy.savez, or as .npy"
            )
        content = _read_exactly(stream, header.num_bytes)
    array: np.ndarray = np.ndarray(
        header.shape, header.dtype, content.data, order=header.order
    )
    _check_values(array)
    return array


def _read_exactly(stream: IO[bytes], size: int) -> np.ndarray:
    """uint8[size], the remainder of a stream; at its end the checksum is compared."""
    content = np.empty(size, np.uint8)
    done = 0
    while chunk := stream.read(_CHUNK):
        if done + len(chunk) > size:
            raise ValueError(f"it holds more than the {size} bytes of its header")
        content[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    if done < size:
        raise ValueError(f"its header says {size} bytes, and there are {done}")
    return content


def _read_header(stream: IO[bytes]) -> _Header:
    """Reads up to the first byte of the array."""
    start = stream.read(8)
    if start[:6] != _MAGIC or start[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError("it does not begin as a .npy file of version 1, 2 or 3 does")
    is_first = start[6:] == b"\1\0"
    length = stream.read(2 if is_first else 4)
    size = int.from_bytes(length, "little")
    if size > _MAX_HEADER:
        raise ValueError(f"its header of {size} bytes is longer than {_MAX_HEADER}")
    parse = (
        np.lib.format.read_array_header_1_0
        if is_first
        else np.lib.format.read_array_header_2_0  # and 3, but for names of columns
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers by Python 2, which are read
        header = _Header(*parse(io.BytesIO(length + stream.read(size))))
    _check_header(header)
    return header


def _check_header(header: _Header) -> None:
    shape, dtype = header.shape, header.dtype
    if not all(type(side) is int and 0 <= side < 2**63 for side in shape):
        raise ValueError(f"its shape {shape} is not one of an array")
    if dtype.hasobject:
        raise ValueError("save it as an array of numbers or text, not of objects")
    if dtype.kind == "V":
        raise ValueError(
            f"save it as an array of numbers or text, not {dtype} (bfloat16, for "
            "example, by .astype(numpy.float32))"
        )
    if not dtype.itemsize:
        raise ValueError("its elements take no bytes")


def _check_values(array: np.ndarray) -> None:
    """Raises ValueError for bytes that stand for no value of the dtype."""
    if array.dtype == bool and array.size and array.view(np.uint8).max() > 1:
        raise ValueError("its truth values are not all 0 or 1")
    if array.dtype.kind == "U" and array.size:
        code = np.dtype("u4").newbyteorder(array.dtype.byteorder)
        number = array.ravel("K").view(code)
        lone = (_LONE[0] <= number) & (number <= _LONE[1])
        lone &= ~((_BYTES[0] <= number) & (number <= _BYTES[1]))
        if (number > _LAST_CHARACTER).any() or lone.any():
            raise ValueError("its text holds numbers that are no characters")
