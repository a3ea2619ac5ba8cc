"""What one process of a run sends, gets and does when another one ends.

The test plays the other process, at the far end of the connection.
"""

import contextlib
import socket
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.processes import alike, group, messages


@contextlib.contextmanager
def connected():
    with socket.create_server(("localhost", 0)) as server:
        far = socket.create_connection(server.getsockname())
        here, _ = server.accept()
    far.settimeout(10)
    with here, far:
        yield here, far


@pytest.fixture
def pair():
    with connected() as both:
        yield both


@pytest.fixture
def ended(monkeypatch):
    """Is set, and has the exit code, when this process would have ended."""
    event = threading.Event()

    def end(code):
        event.code = code
        event.set()
        threading.Event().wait()  # the thread ends with the process

    monkeypatch.setattr(group.os, "_exit", end)
    return event


def opened(number, here):
    other = group.link(here, f"process {1 - number} of 2 (on far)")
    name = f"process {number} of 2 (on near)"
    return group.opened(number, 2, name, {1 - number: other})


def test_alone_everything_is_its_own():
    assert (group.size(), group.is_first()) == (1, True)
    assert group.from_first(lambda: 3) == 3
    assert group.everyone(4) == [4]
    tree = (np.arange(3), {"a": "b"})
    assert group.tree_from_first(tree) is tree
    group.leave()
    group.fail("nobody hears it", 2)


def test_process_0_decides(pair):
    here, far = pair
    with opened(0, here):
        assert (group.size(), group.is_first()) == (2, True)
        assert group.from_first(lambda: {"count": 3}) == {"count": 3}
        assert messages.receive(far) == ["data", {"count": 3}]
        messages.send(far, ["data", True])
        assert group.everyone(False) == [False, True]
        assert messages.receive(far) == ["data", [False, True]]
        messages.send(far, ["leave"])
        group.leave()
        assert messages.receive(far) == ["leave"]


def test_another_process_takes_what_was_decided(pair):
    here, far = pair

    def never():
        raise AssertionError("process 0 alone calls it")

    with opened(1, here):
        assert (group.size(), group.is_first()) == (2, False)
        messages.send(far, ["data", 5])
        assert group.from_first(never) == 5
        messages.send(far, ["data", [1, 2]])
        assert group.everyone(2) == [1, 2]
        assert messages.receive(far) == ["data", 2]
        messages.send(far, ["leave"])
        group.leave()
        assert messages.receive(far) == ["leave"]


def test_a_tree_is_that_of_process_0_but_for_what_is_on_devices(pair):
    here, far = pair
    on_device = jnp.zeros(2)
    tree = {"a": (np.arange(3), on_device, 1.5), "b": [np.bool_(True), "x", 7]}
    theirs = [np.array([5]), 2.5, np.bool_(False), "y", 8]
    with opened(1, here):
        messages.send(far, ["data", theirs])
        found = group.tree_from_first(tree)
        messages.send(far, ["leave"])
        group.leave()
    assert found["a"][0].tolist() == [5]
    assert found["a"][1] is on_device
    assert found["a"][2] == 2.5
    assert found["b"] == [np.bool_(False), "y", 8]
    assert isinstance(found["b"][0], np.bool_)


def test_a_stop_in_process_0_stops_all(pair):
    here, far = pair

    def stop():
        raise errors.StoppedError("stopped after 3 images")

    with opened(0, here):
        with pytest.raises(errors.StoppedError):
            group.from_first(stop)
        said = messages.receive(far)
        messages.send(far, ["leave"])
        group.leave()
    with connected() as (here, far), opened(1, here):
        messages.send(far, said)
        with pytest.raises(errors.StoppedError, match="after 3 images"):
            group.from_first(lambda: None)
        messages.send(far, ["leave"])
        group.leave()


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_is_gone_ends_this_one_with_a_sentence(
    number, pair, ended, capfd
):
    here, far = pair
    with opened(number, here):
        far.close()
        assert ended.wait(10)
    assert ended.code == group.LOST
    said = capfd.readouterr().err.strip()
    assert said.startswith(f"dact_jax: process {1 - number} of 2 (on far) has ended")
    assert "\n" not in said


def test_the_reason_of_another_process_is_told_and_passed_on(pair, ended, capfd):
    here, far = pair
    with opened(0, here):
        messages.send(far, ["end", "process 1 of 2 (on far): the disk is full.", 2])
        assert ended.wait(10)
        assert messages.receive(far)[0] == "end"  # as to all others
    assert ended.code == 2
    said = capfd.readouterr().err.strip()
    assert said == "dact_jax: process 1 of 2 (on far): the disk is full."


def test_a_process_that_fails_tells_the_others_why(pair):
    here, far = pair
    with opened(1, here):
        group.fail("train.steps=0 must be 1 or more.", 2)
        assert messages.receive(far) == [
            "end",
            "process 1 of 2 (on near): train.steps=0 must be 1 or more.",
            2,
        ]


def test_other_data_in_another_process_are_named(monkeypatch):
    alike.check({"source": "a"})
    monkeypatch.setattr(group, "size", lambda: 2)
    other = {"source": "a", "target": "c"}
    monkeypatch.setattr(group, "everyone", lambda own: [own, other])
    alike.check({"source": "a", "target": "c"})
    with pytest.raises(errors.InputError, match=r"process 1 of 2 .* \(target\)"):
        alike.check({"source": "a", "target": "b"})
    with pytest.raises(errors.InputError, match=r"\(source\)"):
        alike.check_names({"source": np.array(["1.png", "2.png"])})
