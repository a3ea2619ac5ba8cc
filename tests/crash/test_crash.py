"""30 kills, and every kind of operation on a run's folder failed in three ways.

In a process of its own, which forks: this one has threads by now.
"""

import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def told():
    arguments = ["--kills=30", "--operations", "--distinct", "--presets=s_act"]
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
def test_whatever_operation_fails_it_is_the_same_run(told, kind):
    pattern = rf"{kind}: (\d+) failures, at each kind of the (\d+) .*; (\d+) faults"
    ((failures, operations, wrong),) = re.findall(pattern, told)
    assert int(operations) > int(failures) > 50
    assert wrong == "0"
