"""One run on 1 device, on 8, in 2 and in 4 processes: the same numbers and picks.

Two runs change the devices on their way: one goes from 1 device to 4 processes, where
SIGTERM stops it, and to 8 devices; the other from 8 devices to 2 processes, where one
is killed, and to 1 process with 2 devices. Every process writes in a folder of its own
if it writes at all, as on hosts without a common file system.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import dact_jax
from dact_jax.rounds import workdir
from tests import quick
from tests.processes import work

ROOT = pathlib.Path(__file__).parents[2]


def environment(devices):
    flags = f"--xla_force_host_platform_device_count={devices} {quick.xla_flags()}"
    return {**os.environ, **quick.environment(flags), "PYTHONPATH": str(ROOT)}


def alone(place, devices, whole="", goes_on="", begins=""):
    """One process with so many devices does its work to the end."""
    folders = [folder and place / folder for folder in (whole, goes_on, begins)]
    arguments = map(str, [place / "data", *folders])
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.processes.work",
            *arguments,
        ],
        env=environment(devices),
        cwd=ROOT,
        check=True,
        timeout=300,
    )


class Together:
    """Processes that do a run together, each in a folder of its own."""

    def __init__(self, place, size, devices, folder):
        """Process 0 has the run's folder, which the others call by the same name."""
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        self.folder = place / folder
        self.elsewhere = [place / f"{folder}_{k}" for k in range(1, size)]
        for other in self.elsewhere:
            other.mkdir()
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "dact_jax.main"),
                    f"--config={place / 'config.py'}",
                    f"--workdir={folder}",
                    f"--coordinator=localhost:{port}",
                    f"--num_processes={size}",
                    f"--process_id={number}",
                ],
                cwd=cwd,
                env=environment(devices),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number, cwd in enumerate([place, *self.elsewhere])
        ]

    def wait_for(self, number, step):
        """Waits until the record has come so far."""
        end = time.monotonic() + 240
        while not any(
            (row["round"], row["step"]) >= (number, step)
            for row in rows(self.folder, "train")
        ):
            assert time.monotonic() < end
            assert all(process.poll() is None for process in self.processes), (
                self.ended()
            )
            time.sleep(0.002)

    def ended(self):
        """(exit code, standard error) of each process."""
        found = []
        for process in self.processes:
            _, err = process.communicate(timeout=120)
            found.append((process.returncode, err))
        return found

    def ended_by(self, sent, number):
        """`ended` after a signal to a process in round 1, the seconds, and these."""
        self.wait_for(1, 2)
        before = time.monotonic()
        self.processes[number].send_signal(sent)
        return self.ended(), time.monotonic() - before, self


def rows(folder, event):
    path = folder / workdir.METRICS
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [row for row in map(json.loads, lines) if row["event"] == event]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("processes")
    (place / "data").mkdir()
    (place / "config.py").write_text(
        "from tests.processes import work\n\n\n"
        f"def get_config():\n    return work.config({str(place / 'data')!r})\n"
    )
    work.config(place / "data")  # writes the data
    return place


@pytest.fixture(scope="module")
def one(place):
    """The whole run on 1 device; another is begun."""
    alone(place, 1, whole="one", begins="a")
    return place / "one"


@pytest.fixture(scope="module")
def stopped(place, one):
    """4 processes go on, until one of them gets SIGTERM."""
    return Together(place, 4, 1, "a").ended_by(signal.SIGTERM, 2)


@pytest.fixture(scope="module")
def eight(place, stopped):
    """The whole run on 8 devices, after the other has come to its end there."""
    alone(place, 8, whole="eight", goes_on="a", begins="b")
    return place / "eight"


@pytest.fixture(scope="module")
def killed(place, eight):
    """2 processes go on with a run of 8 devices, until one of them is killed."""
    return Together(place, 2, 1, "b").ended_by(signal.SIGKILL, 1)


def assert_equal(folder, reference):
    """The same picks, and the same numbers to rounding."""
    picks, expected = workdir.read_picks(folder), workdir.read_picks(reference)
    assert len(expected) == 6
    assert [pick[:4] for pick in picks] == [pick[:4] for pick in expected]
    for event in ("train", "round", "select"):
        found, right = rows(folder, event), rows(reference, event)
        assert len(found) == len(right) > 0
        for row, other in zip(found, right, strict=True):
            assert row.keys() == other.keys()
            for name in (n for n in row if not n.startswith("seconds")):
                if isinstance(row[name], float):
                    np.testing.assert_allclose(row[name], other[name], rtol=2e-3)
                else:
                    assert row[name] == other[name], name


def test_eight_devices_equal_one(one, eight):
    assert_equal(eight, one)


def test_sigterm_to_one_process_saves_and_stops_all_at_once(stopped):
    ended, seconds, _ = stopped
    assert [code for code, _ in ended] == [128 + signal.SIGTERM] * 4
    places = {
        re.search(r"stopped in round 1 after iteration \d+;", err) for _, err in ended
    }
    assert None not in places
    assert len({place[0] for place in places}) == 1
    assert seconds < 60


def test_four_processes_and_eight_devices_go_on_where_one_began(place, one, eight):
    assert_equal(place / "a", one)


def test_when_one_is_killed_the_others_say_so_and_end(killed):
    ((first, said), (second, _)), seconds, _ = killed
    assert second == -signal.SIGKILL
    assert first == 1
    assert re.search(
        r"dact_jax: process 1 of 2 \(on .+\) has ended without a word", said
    )
    assert "the same command in all processes goes on" in said
    assert said.strip().count("\n") == 0  # nothing else: no log, no traceback
    assert seconds < 60


def test_one_process_goes_on_where_eight_devices_and_two_processes_were(
    place, one, killed
):
    dact_jax.run(work.config(place / "data"), place / "b")
    assert_equal(place / "b", one)


def test_only_process_0_writes(stopped, killed):
    for _, _, group in (stopped, killed):
        for elsewhere in group.elsewhere:
            assert list(elsewhere.iterdir()) == []
