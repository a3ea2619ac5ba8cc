"""How the processes of a run meet at the coordinator's address, before jax needs it.

`jax.distributed.initialize` ends a process with a fatal error of XLA where an address,
a number or a process is wrong or missing. So process 0 first waits for the others by
itself, compares who came and with what, and tells all of them in one sentence what is
wrong; or where jax's own coordinator will be, if nothing is.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from dact_jax import errors
from dact_jax.processes import forwarding, group, messages
from dact_jax.processes.group import Link
from dact_jax.processes.places import Place

_HELLO, _GO, _END = "dact_jax", "go", "end"
_PATIENCE = 5.0  # seconds in which whoever connects says who it is
_LATE = 5.0  # seconds in which those that come late are still told what is wrong
_PAUSE = 0.2  # seconds between two attempts
_SHOWN = 3  # differences that an error spells out

Facts = Mapping[str, str]  # what must be equal in all processes


def met(place: Place, facts: Facts, seconds: float) -> tuple[dict[int, Link], str]:
    """The links to other processes, and the address of jax's own coordinator.

    Args:
      facts: what must be equal in all processes, by the name that a user knows.
      seconds: in which all must have come.

    Raises:
      InputError: one did not come, came twice, or differs.
    """
    meet = _go_to_first if place.number else _wait_for_others
    return meet(place, dict(facts), seconds)


def _wait_for_others(
    place: Place, facts: Facts, seconds: float
) -> tuple[dict[int, Link], str]:
    """The links of process 0, and the address of jax's own coordinator."""
    links: dict[int, Link] = {}
    seen: set[int] = set()
    end = time.monotonic() + seconds
    listener = _listening(place)
    try:
        while len(links) < place.size - 1:
            left = end - time.monotonic()
            if left <= 0 or (caller := _accept(listener, left)) is None:
                raise errors.InputError(_not_come(place, links, seconds))
            seen.add(caller[1][0])
            _admit(place, facts, links, *caller)
    except errors.InputError as error:
        _refuse(listener, place, links, seen, str(error))
        listener.close()
        for other in links.values():
            other.connection.close()
        raise
    threading.Thread(target=_turn_away, args=(listener, place), daemon=True).start()
    port = _free_port()
    for other in links.values():
        with contextlib.suppress(OSError):  # its end is noticed soon
            messages.send(other.connection, [_GO, port])
    return links, f"{place.host}:{port}"


def _admit(
    place: Place,
    facts: Facts,
    links: dict[int, Link],
    connection: socket.socket,
    hello: list[Any],
) -> None:
    """Adds a process that fits.

    Raises:
      InputError: it does not fit.
    """
    number, count, name, others = hello
    before = links.get(number)
    if before is not None and _is_closed(before.connection):
        before = None  # it was started again
    fault = ""
    if count != place.size:
        fault = (
            f"{name} was started with --num_processes={count}, process 0 with "
            f"--num_processes={place.size}: give all the same number."
        )
    elif number == 0 or before is not None:
        other = f" and {before.name}" if before is not None else ""
        fault = (
            f"--process_id={number} was given to two processes, {name}{other}: give "
            f"each its own number, 0 to {place.size - 1}."
        )
    elif differences := _differences(facts, others):
        fault = (
            f"{name} has {'; '.join(differences)}: start all processes with the same "
            "command and the same versions."
        )
    if fault:
        with connection, contextlib.suppress(OSError):
            messages.send(connection, [_END, fault])
        raise errors.InputError(fault)
    if number in links:
        links[number].connection.close()
    links[number] = group.link(connection, name)


def _differences(facts: Facts, others: Facts) -> list[str]:
    """One clause for each fact that is different there."""
    unequal = [
        f"{name}={others.get(name, '(not set)')}, process 0 has "
        f"{facts.get(name, '(not set)')}"
        for name in {**facts, **others}
        if facts.get(name) != others.get(name)
    ]
    more = len(unequal) - _SHOWN
    return [*unequal[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _not_come(place: Place, links: Mapping[int, Link], seconds: float) -> str:
    missing = [str(k) for k in range(1, place.size) if k not in links]
    shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
    who = f"process{'es' if len(missing) > 1 else ''} {shown} of {place.size}"
    return (
        f"{who} did not come to {place.address} within {seconds:g} s: start all "
        f"processes with --coordinator={place.address}, or give them longer by "
        "--join_seconds."
    )


def _refuse(
    listener: socket.socket,
    place: Place,
    links: Mapping[int, Link],
    seen: set[int],
    sentence: str,
) -> None:
    """Tells all processes what is wrong, also those that come a little later."""
    for other in links.values():
        with contextlib.suppress(OSError):
            messages.send(other.connection, [_END, sentence])
    end = time.monotonic() + _LATE
    while len(seen) < place.size - 1 and (left := end - time.monotonic()) > 0:
        caller = _accept(listener, left)
        if caller is not None:
            connection, (number, *_) = caller
            seen.add(number)
            with connection, contextlib.suppress(OSError):
                messages.send(connection, [_END, sentence])


def _turn_away(listener: socket.socket, place: Place) -> None:
    """Tells whoever comes while the run goes on that it is complete."""
    while True:
        caller = _accept(listener, 3600.0)
        if caller is not None:
            connection, (number, *_) = caller
            sentence = (
                f"the {place.size} processes of the run at {place.address} have met "
                f"already, so --process_id={number} was given twice, or this is "
                "another run: give it another port."
            )
            with connection, contextlib.suppress(OSError):
                messages.send(connection, [_END, sentence])


def _listening(place: Place) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(
            ("", place.port), family=family, dualstack_ipv6=both, backlog=place.size
        )
    except OSError as error:
        raise errors.InputError(
            f"port {place.port} of --coordinator={place.address} cannot be used here "
            f"({errors.clause(error)}): give another port, and start only one process "
            "with --process_id=0, on that host."
        ) from None


def _accept(
    listener: socket.socket, seconds: float
) -> tuple[socket.socket, list[Any]] | None:
    """The next process that comes, and its hello; None if none did in time."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return None
        connection.settimeout(_PATIENCE)
        try:
            kind, *hello = messages.receive(connection, stranger=True)
            number, count, name, facts = hello
            if kind == _HELLO and isinstance(facts, dict):
                return connection, [int(number), int(count), str(name), facts]
        except (OSError, EOFError, ValueError, TypeError):
            pass
        connection.close()  # somebody else
    return None


def _go_to_first(
    place: Place, facts: Facts, seconds: float
) -> tuple[dict[int, Link], str]:
    """The link to process 0, and the address of jax's own coordinator."""
    connection = _connected(place, seconds)
    hello = [_HELLO, place.number, place.size, place.name, facts]
    try:
        messages.send(connection, hello)
        # Process 0 may have begun to wait later than this one.
        connection.settimeout(seconds + 2 * _LATE)
        kind, what, *_ = messages.receive(connection, stranger=True)
    except (OSError, EOFError, ValueError, TypeError):
        connection.close()
        raise errors.InputError(
            f"{place.address} did not answer as process 0 of this run, or ended: look "
            "at the output of process 0, and at --coordinator."
        ) from None
    if kind == _END:
        connection.close()
        raise errors.InputError(str(what))
    first = f"process 0 of {place.size} (at {place.address})"
    coordinator = forwarding.address(place.host.strip("[]"), int(what), seconds)
    return {0: group.link(connection, first)}, coordinator


def _connected(place: Place, seconds: float) -> socket.socket:
    reason, end = "", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            host = place.host.strip("[]")  # of an IPv6 address
            return socket.create_connection((host, place.port), min(left, 5.0))
        except OSError as error:
            reason = errors.clause(error)
        time.sleep(min(_PAUSE, max(end - time.monotonic(), 0)))
    raise errors.InputError(
        f"process {place.number} found no process 0 at --coordinator={place.address} "
        f"within {seconds:g} s ({reason}): start it with --process_id=0, or give its "
        "address."
    )


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other side has gone."""
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])
