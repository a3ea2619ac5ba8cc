"""Which of how many processes this one is: by flags, or by its cluster."""

import socket
from collections.abc import Sequence
from typing import NamedTuple

from jax._src import clusters

from dact_jax import errors

SECONDS = 300  # in which all processes must have come
_FLAGS = ("--coordinator=HOST:PORT", "--num_processes=N", "--process_id=K")


class Place(NamedTuple):
    """Which of how many processes this is, and where they meet."""

    host: str
    port: int
    size: int  # processes
    number: int
    local_devices: Sequence[int] | None = None  # that are its own; None: all it sees

    @property
    def address(self) -> str:
        """As it is written: HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """What other processes call this one."""
        return f"process {self.number} of {self.size} (on {socket.gethostname()})"


ALONE = Place("localhost", 0, 1, 0)  # the only process


def find(coordinator: str, num_processes: int | None, process_id: int | None) -> Place:
    """Where a process belongs, by its flags or by the environment of a cluster.

    Args:
      coordinator: HOST:PORT; "" like None: jax finds it, on SLURM, Kubernetes, Cloud
        TPU and under Open MPI.

    Raises:
      InputError: a flag is wrong, or nothing is found.
    """
    given = (coordinator or None, num_processes, process_id, None)
    try:
        found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            *given, None, SECONDS
        )
    except Exception as error:  # each environment has its own
        if None in given[:3]:
            raise errors.InputError(
                f"--distributed cannot read the environment ({errors.clause(error)}): "
                f"give {', '.join(_FLAGS)}."
            ) from None
        found = given
    missing = [
        flag for flag, value in zip(_FLAGS, found, strict=False) if value is None
    ]
    if missing:
        raise errors.InputError(
            "--distributed finds neither SLURM nor Kubernetes, Cloud TPU or Open MPI: "
            f"give {', '.join(missing)}."
        )
    address, count, number, local_devices = found
    assert count is not None
    assert number is not None
    host, port = _parsed(str(address))
    if not 0 <= number < count:
        raise errors.InputError(
            f"--process_id={number} must be 0 to {count - 1}, as there are "
            f"--num_processes={count}."
        )
    return Place(host, port, count, number, local_devices)


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise errors.InputError(
            f"--coordinator={address} must be HOST:PORT, such as 10.0.0.1:8476: where "
            "process 0 runs, and a free port there."
        )
    return host, int(port)
