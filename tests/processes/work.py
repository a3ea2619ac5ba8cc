"""The runs of these tests, and what a process on its own does with them.

python -m tests.processes.work DATA WHOLE GOES_ON BEGINS

It does the run WHOLE from its beginning to its end, ends the run GOES_ON, and begins
the run BEGINS; each is a folder, or "" for none.
"""

import contextlib
import pathlib
import sys

import dact_jax
from dact_jax import errors
from dact_jax.run_types import Stop
from tests import toy

CALLS = 3  # of the device, in the run that is only begun
CHANGES = {
    "train.steps": 24,
    "train.chunk": 2,
    "train.save_every": 4,
    "train.batch_source": 16,
    "train.batch_target": 16,
    "train.batch_unlabeled": 16,
    "data.device_bytes": 1300,  # the target is on the devices, the source is not
}


def config(data):
    """The config of all these runs, on vectors in the folder `data`."""
    return toy.vector_config(pathlib.Path(data), **CHANGES)


def main(data, whole, goes_on, begins):
    for folder in filter(None, (whole, goes_on)):
        dact_jax.run(config(data), folder)
    if begins:
        calls = iter(range(CALLS))
        stop = Stop(asked=lambda: next(calls, None) is None)
        with contextlib.suppress(errors.StoppedError):
            dact_jax.run(config(data), begins, stop=stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
