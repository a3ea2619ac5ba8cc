"""What processes send each other arrives as it was; what strangers send does not."""

import socket
import struct

import numpy as np
import pytest

from dact_jax.processes import messages


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    with here, there:
        there.settimeout(5)
        yield here, there


def sent(pair, value, **options):
    messages.send(pair[0], value)
    return messages.receive(pair[1], **options)


def test_plain_values_arrive_as_they_are(pair):
    value = {"a": [1, 2.5, None, True, "ä\udcff\n"], "b": {}, "c": [[], float("inf")]}
    assert sent(pair, value) == value
    assert sent(pair, (1, (2,))) == [1, [2]]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.zeros((0, 3), np.int64),
        np.array(["a", "ßß"]),
        np.array([True, False]),
        np.float32(0.1),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
)
def test_arrays_arrive_bit_by_bit(pair, array):
    back = sent(pair, {"x": [array, array]})["x"]
    for one in back:
        assert one.dtype == array.dtype
        np.testing.assert_array_equal(one, array)


def test_objects_are_not_sent(pair):
    with pytest.raises(ValueError, match="allow_pickle"):
        messages.send(pair[0], np.array([object()]))


def test_a_closed_connection_is_the_end(pair):
    pair[0].sendall(b"\0\0\0")
    pair[0].close()
    with pytest.raises(EOFError):
        messages.receive(pair[1])


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">Q", 2**62),
        struct.pack(">Q", 5) + b"hello",
        struct.pack(">QQ", 20, 12) + b"not json ...",
        struct.pack(">QQ", 10, 2) + b"{]",
        struct.pack(">QQ", 16, 2) + b"{}" + b"\x93NUMPY",
    ],
)
def test_what_is_no_message_is_refused(pair, content):
    pair[0].sendall(content)
    pair[0].shutdown(socket.SHUT_WR)
    with pytest.raises((ValueError, EOFError)):
        messages.receive(pair[1], stranger=True)
