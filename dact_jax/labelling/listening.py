"""Where the page listens: a host, a port, and a server that runs in the background."""

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

from dact_jax import errors
from dact_jax.labelling import guard

_NEAR = 20  # ports after the one in use among which a free one is looked for
_SOON = 15.0  # seconds within which a server has started


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
      InputError: the host is none of this machine, or the port is not free.
    """
    if not host:
        raise errors.InputError("--host= is empty: give one, such as 127.0.0.1.")
    try:
        return _bound(host, port)
    except (socket.gaierror, UnicodeError):  # the latter: it cannot be a name
        raise errors.InputError(f"--host={host}: there is no such host.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = next(
                filter(lambda p: _is_free(host, p), range(port + 1, port + _NEAR)), 0
            )
            raise errors.InputError(
                f"port {port} is in use: give --port={free}"
                f"{', which is free now' if free else ' for any free one'}."
            ) from None
        if error.errno == errno.EACCES:
            raise errors.InputError(
                f"--port={port} needs more rights: give one from 1024 to 65535."
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise errors.InputError(
                f"--host={host} is no address of this machine: give one of its own, or "
                "--host=0.0.0.0 for all of them."
            ) from None
        raise


def addresses(host: str, port: int, token: str) -> list[str]:
    """The addresses at which a browser finds the page, the likeliest first."""
    names = [host]
    if host in ("0.0.0.0", "::"):
        own = "127.0.0.1" if host == "0.0.0.0" else "::1"
        names = [*filter(None, [_outside(host)]), socket.gethostname(), own]
    tail = f"?token={token}" if token else ""
    shown = [f"[{name}]" if ":" in name else name for name in names]
    return [f"http://{name}:{port}/{tail}" for name in shown]


@contextlib.contextmanager
def served(app: Any, listener: socket.socket) -> Iterator[threading.Thread]:
    """Answers requests while the block runs; yields the thread that does."""
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,  # addresses may hold the token
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    # Not the main thread, in which uvicorn would take the signals.
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, daemon=True
    )
    thread.start()
    end = time.monotonic() + _SOON
    while not server.started and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.01)
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def is_open(host: str) -> bool:
    """Whether other machines may reach the page, so that it needs a token."""
    return not guard.is_loopback(host)


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # Windows would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _outside(host: str) -> str:
    """The address under which other machines see this one; "" without a network."""
    four = host == "0.0.0.0"
    elsewhere = "192.0.2.1" if four else "2001:db8::1"  # kept free for examples
    family = socket.AF_INET if four else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))  # looks up the route; nothing is sent
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _is_free(host: str, port: int) -> bool:
    try:
        _bound(host, port).close()
    except (OSError, OverflowError):
        return False
    return True
