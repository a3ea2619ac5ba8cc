"""What processes send each other: trees of plain values and arrays, as bytes.

Nothing that is received is executed, as a pickle would be.
"""

import io
import json
import socket
import struct
from typing import Any

import numpy as np

_LENGTH = struct.Struct(">Q")
_ARRAY = "__array__"  # key of the only entry of a dictionary that stands for an array
_TOO_LONG = 2**20  # bytes of a message from someone who may be a stranger


def send(connection: socket.socket, value: Any) -> None:
    """Sends a value: None, numbers, strings, NumPy arrays; lists and dictionaries.

    Tuples arrive as lists. The keys of dictionaries are strings.

    Raises:
      OSError: the connection is broken.
    """
    parts = _encode(value)
    connection.sendall(_LENGTH.pack(sum(map(len, parts))))
    for part in parts:
        connection.sendall(part)


def receive(connection: socket.socket, *, stranger: bool = False) -> Any:
    """The next value.

    Args:
      stranger: whether the other side may be anyone, so that long messages are refused.

    Raises:
      EOFError: the other side has closed the connection.
      OSError: the connection is broken.
      ValueError: it sends something else.
    """
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size))
    if stranger and length > _TOO_LONG:
        raise ValueError(f"a message of {length} bytes")
    return _decode(_read(connection, length))


def _read(connection: socket.socket, length: int) -> bytearray:
    content = bytearray(length)
    rest = memoryview(content)
    while rest:
        count = connection.recv_into(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return content


def _encode(value: Any) -> list[bytes | memoryview]:
    """The length of a JSON text, the text, then each array as in an .npy file."""
    arrays: list[np.ndarray] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            arrays.append(np.asarray(value))
            return {_ARRAY: len(arrays) - 1}
        if isinstance(value, dict):
            return {name: plain(entry) for name, entry in value.items()}
        if isinstance(value, list | tuple):
            return [plain(entry) for entry in value]
        return value

    text = json.dumps(plain(value)).encode()
    parts: list[bytes | memoryview] = [_LENGTH.pack(len(text)), text]
    for array in arrays:
        out = io.BytesIO()
        np.lib.format.write_array(out, array, allow_pickle=False)
        parts.append(out.getbuffer())
    return parts


def _decode(content: bytearray) -> Any:
    file = io.BytesIO(content)
    try:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        text = json.loads(file.read(length))
        arrays = []
        while file.tell() < len(content):
            arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    except (struct.error, UnicodeDecodeError, EOFError) as error:
        raise ValueError(f"not a message: {error}") from None

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == {_ARRAY}:
                return arrays[value[_ARRAY]]
            return {name: whole(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [whole(entry) for entry in value]
        return value

    return whole(text)
