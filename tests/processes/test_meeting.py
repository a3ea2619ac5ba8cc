"""Processes meet, or each is told in one sentence why they do not.

Threads stand for the processes: nothing of jax is needed before they have met.
"""

import socket
import threading
import time
from concurrent import futures

import pytest

from dact_jax import errors
from dact_jax.processes import meeting, messages, places
from dact_jax.processes.places import Place

FACTS = {"jax": "0.8", "--workdir": "runs/a"}


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


@pytest.fixture
def start(port):
    """Starts a process in a thread: its number, what is different there -> future."""
    with futures.ThreadPoolExecutor(8) as pool:

        def begin(number, size=3, seconds=20.0, **facts):
            place = Place("localhost", port, size, number)
            begun.append(pool.submit(meeting.met, place, FACTS | facts, seconds))
            return begun[-1]

        begun = []
        yield begin
        for one in begun:
            if one.exception() is None:
                for link in one.result()[0].values():
                    link.connection.close()


def sentence(met):
    error = met.exception(timeout=30)
    assert isinstance(error, errors.InputError), error
    assert "\n" not in str(error)
    return str(error)


def test_all_get_links_and_an_address(start):
    met = [one.result(timeout=30) for one in [start(2), start(0), start(1)]]
    links, addresses = zip(*met, strict=True)
    assert len(set(addresses)) == 3  # the others have a way of their own
    assert sorted(links[1]) == [1, 2]
    assert sorted(links[0]) == sorted(links[2]) == [0]
    assert links[1][2].name.startswith("process 2 of 3 (on ")
    messages.send(links[1][2].connection, "to 2")  # links are in the order of `start`
    assert messages.receive(links[0][0].connection) == "to 2"


def test_one_that_is_missing_is_named(start, port, monkeypatch):
    monkeypatch.setattr(meeting, "_LATE", 0.1)
    first, second = start(0, seconds=1.0), start(1, seconds=5.0)
    assert sentence(first) == sentence(second)
    assert f"process 2 of 3 did not come to localhost:{port} within 1 s" in (
        sentence(first)
    )


def test_one_that_comes_twice_is_named_to_all(start):
    met = [start(0), start(1), start(1)]
    said = {sentence(one) for one in met[1:]}
    late = start(2)  # comes when it is known
    said |= {sentence(one) for one in [met[0], late]}
    assert len(said) == 1
    assert "--process_id=1 was given to two processes" in said.pop()


def test_one_that_was_started_again_replaces_the_first(start, port):
    first = start(0)
    with connected(port) as gone:
        messages.send(gone, ["dact_jax", 1, 3, "process 1 of 3 (on old)", FACTS])
        time.sleep(0.2)  # it is admitted
    met = [first, start(1), start(2)]
    assert sorted(met[0].result(timeout=30)[0]) == [1, 2]


def test_one_that_comes_late_is_told_that_all_are_there(start, port):
    for one in [start(0, size=2), start(1, size=2)]:
        one.result(timeout=30)
    assert "--process_id=1 was given twice" in sentence(start(1, size=2))
    assert f"localhost:{port}" in sentence(start(1, size=2))


def test_what_differs_is_named_to_all(start):
    met = [start(0), start(1, **{"--workdir": "runs/b"}), start(2)]
    (said,) = {sentence(one) for one in met}
    assert "has --workdir=runs/b, process 0 has runs/a: start all" in said


def test_other_numbers_of_processes_are_refused(start):
    met = [start(0, size=2), start(1, size=4)]
    (said,) = {sentence(one) for one in met}
    assert "--num_processes=4, process 0 with --num_processes=2" in said


def test_strangers_are_ignored(start, port):
    first = start(0, size=2)
    with connected(port) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with connected(port) as stranger:
        messages.send(stranger, ["dact_jax", "x", [], None, {}])
    with connected(port):
        pass
    start(1, size=2).result(timeout=30)
    assert sorted(first.result(timeout=30)[0]) == [1]


def test_a_port_in_use_is_said(start, port):
    with socket.create_server(("", port)):
        said = sentence(start(0))
    assert f"port {port} of --coordinator=localhost:{port} cannot be used" in said


def test_nobody_there(start, port):
    said = sentence(start(1, seconds=0.5))
    assert f"found no process 0 at --coordinator=localhost:{port} within 0.5 s" in said


def test_somebody_else_there(start, port):
    def answer(server):
        with server.accept()[0] as connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n" + b" " * 64)

    with socket.create_server(("localhost", port)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        assert "did not answer as process 0 of this run" in sentence(start(1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("", None, None), "give --coordinator=HOST:PORT, --num_processes=N"),
        (("a:1", None, 0), "give --num_processes=N."),
        (("a:1", 2, 2), "--process_id=2 must be 0 to 1"),
        (("localhost", 2, 0), "--coordinator=localhost must be HOST:PORT"),
        (("a:99999", 2, 0), "must be HOST:PORT"),
        ((":80", 2, 0), "must be HOST:PORT"),
    ],
)
def test_wrong_flags(given, said):
    with pytest.raises(errors.InputError) as raised:
        places.find(*given)
    assert said in str(raised.value)


def test_slurm_is_found(monkeypatch):
    for name, value in {
        "SLURM_JOB_ID": "1234567",
        "SLURM_STEP_NODELIST": "node[07-09]",
        "SLURM_NTASKS": "3",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "0",
        "SLURM_STEP_NUM_NODES": "3",
    }.items():
        monkeypatch.setenv(name, value)
    place = places.find("", None, None)
    assert (place.host, place.size, place.number) == ("node07", 3, 2)
    assert place.local_devices == [0]


def connected(port):
    for _ in range(100):
        try:
            return socket.create_connection(("localhost", port), timeout=5)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")
