"""30 kills, and every kind of operation on a run's folder failed in three ways.

Of a run that asks a person only the operations are failed that no other run has.

In a process of its own, which forks: this one has threads by now.
"""

import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def told():
    arguments = ["--kills=30", "--presets=s_act", "--operations", "--distinct"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert done.stderr == ""
    return done.stdout


def test_killed_thirty_times_it_is_the_same_run(told):
    assert "30 processes killed" in told
    (runs,) = re.findall(r"(\d+) runs compared; 0 faults", told)
    assert int(runs) >= 3


@pytest.mark.parametrize("kind", ["kill", "ENOSPC", "EIO"])
@pytest.mark.parametrize(
    ("preset", "which", "least"),
    [("s_act", "kind", 50), ("human", "new kind", 25)],
    ids=["s_act", "human"],
)
def test_whatever_operation_fails_it_is_the_same_run(told, kind, preset, which, least):
    pattern = rf"{kind}: (\d+) failures, at each {which} of the (\d+) .* of {preset};"
    ((failures, operations, wrong),) = re.findall(rf"{pattern} (\d+) faults", told)
    assert int(operations) > int(failures) > least
    assert wrong == "0"
