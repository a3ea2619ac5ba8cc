"""The processes of one run: what one of them decides, and that all end together.

Each process has a connection to process 0. The operating system closes it when a
process ends, however that happens, so the others learn of it at once; of a host that
is gone they learn by TCP's keep-alive. Whatever decides what is computed next (a time,
a signal, a file, an answer) is decided by process 0, or by all of them together.
"""

import contextlib
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from dact_jax import errors
from dact_jax.processes import messages
from dact_jax.types import PyTree

LOST = 1  # exit code of the processes that are left when one ends without a word
_DATA, _STOPPED, _LEAVE, _END = "data", "stopped", "leave", "end"
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it
_SILENT = 30  # seconds after which a host that does not answer is gone
_IN_A_HURRY = 2.0  # seconds to tell the others that this process ends


class Link(NamedTuple):
    """The connection to another process."""

    connection: socket.socket
    name: str  # such as "process 1 of 2 (on node7)"
    inbox: "queue.Queue[Any]"
    sending: threading.Lock


class Group(NamedTuple):
    number: int  # of this process
    size: int  # processes
    name: str  # as `Link.name`
    links: Mapping[int, Link]  # process 0 has one to each other, which has one to 0
    ending: threading.Lock  # taken once, by whoever ends this process
    leaving: threading.Event  # set when all have done their work


_current: list[Group] = []  # of this process, while it is one of several


def link(connection: socket.socket, name: str) -> Link:
    """A link whose silence is noticed."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in {
        "TCP_NODELAY": 1,
        "TCP_KEEPIDLE": _SILENT // 3,
        "TCP_KEEPINTVL": _SILENT // 6,
        "TCP_KEEPCNT": 4,
        "TCP_USER_TIMEOUT": 1000 * _SILENT,
    }.items():
        if hasattr(socket, option):  # some systems lack some
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return Link(connection, name, queue.Queue(), threading.Lock())


@contextlib.contextmanager
def opened(
    number: int, size: int, name: str, links: Mapping[int, Link]
) -> Iterator[Group]:
    """Makes this process one of several while the block runs.

    If another one ends meanwhile, this one ends too, with a sentence.
    """
    group = Group(number, size, name, links, threading.Lock(), threading.Event())
    for other in links.values():
        threading.Thread(target=_listen, args=(group, other), daemon=True).start()
    _current.append(group)
    try:
        yield group
    finally:
        _current.remove(group)


def size() -> int:
    """Processes that do this run."""
    return _current[-1].size if _current else 1


def is_first() -> bool:
    """Whether this is process 0, which alone writes the run's folder."""
    return not _current or _current[-1].number == 0


def from_first(make: Callable[[], Any]) -> Any:
    """What `make` returns in process 0, where alone it is called, in every process.

    Args:
      make: returns what `messages.send` takes; the other processes get it as that
        returns it. If it raises, all processes end.
    """
    if not _current:
        return make()
    group = _current[-1]
    if group.number:
        return _received(group, 0)
    try:
        value = make()
    except errors.StoppedError as stopped:  # it has saved: all stop alike
        _send_all(group, _STOPPED, str(stopped))
        raise
    _send_all(group, _DATA, value)
    return value


def everyone(value: Any) -> list[Any]:
    """The values of all processes, in their order, in each of them.

    Args:
      value: what `messages.send` takes.
    """
    if not _current:
        return [value]
    group = _current[-1]
    if group.number:
        _send(group, group.links[0], _DATA, value)
        return list(_received(group, 0))

    def collect() -> list[Any]:
        others = [_received(group, number) for number in range(1, group.size)]
        return [value, *others]

    return list(from_first(collect))


def tree_from_first(tree: PyTree) -> PyTree:
    """A tree whose leaves on the host are those of process 0, in every process.

    Args:
      tree: with the same structure in all processes. Its jax arrays stay as they are.
    """
    if not _current:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    on_host = [not isinstance(leaf, jax.Array) for leaf in leaves]
    sent = from_first(
        lambda: [leaf for leaf, is_sent in zip(leaves, on_host, strict=True) if is_sent]
    )
    rest = iter(sent)
    merged = [
        _alike(leaf, next(rest)) if is_sent else leaf
        for leaf, is_sent in zip(leaves, on_host, strict=True)
    ]
    return jax.tree.unflatten(structure, merged)


def _alike(leaf: Any, sent: Any) -> Any:
    """What was sent, as the scalar that it was if it was one."""
    scalar = isinstance(leaf, np.generic) and isinstance(sent, np.ndarray)
    return sent[()] if scalar else sent


def leave() -> None:
    """Waits until all processes have done their work."""
    if not _current:
        return
    group = _current[-1]
    if group.number:
        _send(group, group.links[0], _LEAVE)
        assert group.links[0].inbox.get() == [_LEAVE]
        return
    for other in group.links.values():
        assert other.inbox.get() == [_LEAVE]
    group.leaving.set()
    _send_all(group, _LEAVE)


def fail(sentence: str, code: int) -> None:
    """Ends all other processes of a run that this one cannot go on with.

    Args:
      sentence: what they tell; this process tells it by itself.
      code: their exit code.
    """
    if _current:
        group = _current[-1]
        # For good: this process ends by itself, unless another has ended it already.
        if group.ending.acquire(timeout=_IN_A_HURRY):
            _tell(group, f"{group.name}: {sentence}", code)


def _listen(group: Group, other: Link) -> None:
    """Takes what another process sends, until it leaves or ends."""
    try:
        while True:
            kind, *content = messages.receive(other.connection)
            if kind == _END:
                _end(group, *content)
            other.inbox.put([kind, *content])
            if kind == _LEAVE and group.number:
                return  # process 0 lets all go
    except (EOFError, OSError, ValueError):
        if not group.leaving.is_set():
            _lost(group, other)


def _received(group: Group, number: int) -> Any:
    kind, *content = group.links[number].inbox.get()
    if kind == _STOPPED:
        raise errors.StoppedError(content[0])
    if kind != _DATA:
        raise RuntimeError(f"process {number} ended its work before {group.name}")
    return content[0]


def _send_all(group: Group, *message: Any) -> None:
    for other in group.links.values():
        _send(group, other, *message)


def _send(group: Group, other: Link, *message: Any) -> None:
    try:
        with other.sending:
            messages.send(other.connection, message)
    except OSError:
        _lost(group, other)


def _lost(group: Group, other: Link) -> NoReturn:
    sentence = (
        f"{other.name} has ended without a word, so all others end too; the same "
        "command in all processes goes on from the last checkpoint."
    )
    _end(group, sentence, LOST)


def _end(group: Group, sentence: str, code: int) -> NoReturn:
    """Ends this process as by SIGKILL: every file is written so that this is safe."""
    group.ending.acquire()  # for good
    try:
        _tell(group, sentence, code)
        cursor = _SHOW_CURSOR if sys.stdout is not None and sys.stdout.isatty() else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{cursor}\ndact_jax: {sentence}\n".encode())
    finally:
        os._exit(code)


def _tell(group: Group, sentence: str, code: int) -> None:
    for other in group.links.values():
        if other.sending.acquire(timeout=_IN_A_HURRY):
            with contextlib.suppress(OSError):
                other.connection.settimeout(_IN_A_HURRY)
                messages.send(other.connection, [_END, sentence, code])
