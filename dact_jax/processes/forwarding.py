"""The way to jax's coordinator, which lies in process 0, without its sudden end.

When the coordinator is gone, jax aborts a process with a fatal log of XLA, perhaps
before a link could say in a sentence what has happened. So the other processes reach it
through an address of their own, where the connection stays open.
"""

import contextlib
import socket
import threading
import time

_PAUSE = 0.1  # seconds between two attempts
_PART = 2**16  # bytes


def address(host: str, port: int, seconds: float) -> str:
    """An address of this process from which all goes to another one, and back.

    Args:
      seconds: in which the other one must begin to listen.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    arguments = (listener, (host, port), seconds)
    threading.Thread(target=_serve, args=arguments, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}"


def _serve(listener: socket.socket, address: tuple[str, int], seconds: float) -> None:
    while True:
        near, _ = listener.accept()
        far = _connected(address, time.monotonic() + seconds)
        if far is None:
            near.close()
            continue
        for source, sink, then in ((near, far, True), (far, near, False)):
            copy = (source, sink, then)
            threading.Thread(target=_copy, args=copy, daemon=True).start()


def _connected(address: tuple[str, int], end: float) -> socket.socket | None:
    while time.monotonic() < end:
        try:
            far = socket.create_connection(address, 5.0)
        except OSError:
            time.sleep(_PAUSE)
        else:
            far.settimeout(None)
            return far
    return None


def _copy(source: socket.socket, sink: socket.socket, close: bool) -> None:
    """Passes on what comes; at its end, closes the other side or leaves it open."""
    with contextlib.suppress(OSError):
        while part := source.recv(_PART):
            sink.sendall(part)
    if close:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
