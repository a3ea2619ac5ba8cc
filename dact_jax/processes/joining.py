"""A process becomes one of several before jax looks for devices, and ends as one."""

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Iterator

import jax
import numpy as np

from dact_jax import devices, errors
from dact_jax.processes import group, meeting
from dact_jax.processes.meeting import Facts
from dact_jax.processes.places import SECONDS, Place

_NEWS = 10.0  # seconds in which the end of another process explains an error of jax


@contextlib.contextmanager
def joined(place: Place, facts: Facts, *, seconds: float = SECONDS) -> Iterator[None]:
    """Makes this process one of several that do a run together, for the block.

    If one of them ends in any way but with all others, each of the others ends too,
    with a sentence and an exit code that is not 0.

    Args:
      facts: what must be equal in all processes, such as their config; by name.
      seconds: in which all must have come.

    Raises:
      InputError: one did not come, came twice, or differs.
    """
    if place.size == 1:
        yield
        return
    links, coordinator = meeting.met(place, facts, seconds)
    with group.opened(place.number, place.size, place.name, links):
        try:
            _initialize(place, coordinator, seconds)
            yield
        except errors.StoppedError:  # all processes were stopped together
            _leave()
            raise
        except BaseException as error:
            _explain(error)
            raise
        _leave()


def _leave() -> None:
    group.leave()
    jax.distributed.shutdown()


def _explain(error: BaseException) -> None:
    """Tells the others why this process ends, unless one of them is the reason."""
    if isinstance(error, SystemExit) and not error.code:
        _leave()
        return
    sentence = errors.sentence(error) if isinstance(error, Exception) else None
    if sentence is None and isinstance(error, jax.errors.JaxRuntimeError):
        time.sleep(_NEWS)  # a process that is gone ends this one meanwhile
    if sentence is None:
        kind, clause = type(error).__name__, errors.clause(error)
        group.fail(f"it failed by {kind} ({clause}), as its output says.", 1)
    else:
        group.fail(sentence, 2)
    atexit.register(_exit_now, 1 if sentence is None else 2)


def _exit_now(code: int) -> None:
    """Ends without jax's last words: it would wait for processes that are gone."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _initialize(place: Place, coordinator: str, seconds: float) -> None:
    # jax's own handler of SIGTERM would take the place of ours.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        coordinator,
        place.size,
        place.number,
        local_device_ids=place.local_devices,
        cluster_detection_method="deactivate",
        initialization_timeout=int(seconds),
    )
    devices.check()
    kinds = group.everyone(jax.default_backend())
    if len(set(kinds)) > 1:
        odd = next(k for k, kind in enumerate(kinds) if kind != kinds[0])
        raise errors.InputError(
            f"process {odd} of {place.size} computes on {kinds[odd]}, process 0 on "
            f"{kinds[0]}: give all of them devices of one kind (JAX_PLATFORMS)."
        )
    with _quiet():  # gloo tells on the standard output that it is connected
        zeros = np.zeros(jax.device_count(), np.float32)
        devices.whole(devices.put(zeros, devices.make_mesh()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is written to the standard output, by libraries in C++ neither."""
    sys.stdout.flush()
    before = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(nothing)
