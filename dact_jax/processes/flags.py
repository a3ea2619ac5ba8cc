"""The flags by which a command becomes one of several processes."""

from absl import flags

from dact_jax import errors
from dact_jax.processes import places

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "This is one of several processes, as its cluster says."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", "", "HOST:PORT where process 0 runs, and a free port there."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many processes do this run.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which of them this is, from 0.", lower_bound=0
)
_JOIN_SECONDS = flags.DEFINE_float(
    "join_seconds", places.SECONDS, "In which all must have come.", lower_bound=1.0
)


def place(*, dry_run: bool) -> places.Place:
    """Which of how many processes this is.

    Raises:
      InputError: a flag is wrong or missing.
    """
    given = (_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if not _DISTRIBUTED.value and given == ("", None, None):
        return places.ALONE
    if dry_run:
        raise errors.InputError(
            "--dry_run tries a run in one process: leave out --distributed, "
            "--coordinator, --num_processes and --process_id."
        )
    return places.find(*given)


def join_seconds() -> float:
    """How long the processes wait for each other."""
    return float(_JOIN_SECONDS.value)
