"""The way to the coordinator is open until the process that uses it closes it."""

import socket
import time

import pytest

from dact_jax.processes import forwarding


def test_bytes_go_both_ways_and_a_sudden_end_is_not_passed_on():
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = forwarding.address("127.0.0.1", server.getsockname()[1], 10)
        host, port = own.split(":")
        with socket.create_connection((host, int(port)), 10) as near:
            far, _ = server.accept()
            with far:
                near.sendall(b"to")
                assert far.recv(2) == b"to"
                far.sendall(b"back")
                assert near.recv(4) == b"back"
            near.settimeout(0.3)
            with pytest.raises(TimeoutError):
                near.recv(1)


def test_the_end_of_this_process_is_passed_on():
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = forwarding.address("127.0.0.1", server.getsockname()[1], 10).split(
            ":"
        )
        near = socket.create_connection((host, int(port)), 10)
        far, _ = server.accept()
        far.settimeout(10)
        with far:
            near.close()
            assert far.recv(1) == b""


def test_it_waits_until_the_other_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = free.getsockname()[1]
    host, port = forwarding.address("127.0.0.1", target, 10).split(":")
    with socket.create_connection((host, int(port)), 10) as near:
        near.sendall(b"early")
        time.sleep(0.2)
        with socket.create_server(("127.0.0.1", target)) as server:
            far, _ = server.accept()
            with far:
                far.settimeout(10)
                assert far.recv(5) == b"early"
