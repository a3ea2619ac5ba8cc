"""How a command ends that a signal asks to end. One process forks all cases."""

import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest

# Forks a process for each case; prints {case: [exit code, what it wrote to stderr]}.
SCRIPT = """
import contextlib, json, os, signal, sys, tempfile, threading, time
from dact_jax import errors, signals

# Whoever started the tests may ignore some of them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(0.1)

def works_on(number):
    with signals.handled(lambda: "last words"):
        send(number)
        time.sleep(60)

def saves(number):
    with signals.handled(lambda: "last words") as stop:
        assert not stop.asked()
        with stop.saving():
            send(number)
            while not stop.asked():
                time.sleep(0.01)
            time.sleep(0.2)
            raise errors.StoppedError("saved")

def saves_too_slowly(*numbers):
    with signals.handled(lambda: "last words") as stop, stop.saving():
        send(*numbers)
        time.sleep(60)

def saves_too_late():
    with signals.handled(lambda: "last words") as stop:
        with stop.saving():
            pass
        send(signal.SIGTERM)
        time.sleep(60)

def out_of_time():
    signals._GRACE = 0.3
    saves_too_slowly(signal.SIGTERM)

def ignores():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.handled(lambda: "last words") as stop:
        send(signal.SIGHUP)
        assert not stop.asked()

def restores():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for _ in range(2):
        with signals.handled(lambda: "last words"):
            assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    try:
        send(signal.SIGINT)
    except KeyboardInterrupt:
        sys.exit(7)

def cannot_say():
    with signals.handled(lambda: 1 / 0):
        send(signal.SIGTERM)
        time.sleep(60)

def another_process_was_asked():
    with signals.handled(lambda: "last words"):
        raise errors.StoppedError("saved")

def in_a_thread():
    def work():
        with signals.handled(lambda: "last words") as stop:
            found.append(stop.asked())
    found = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]

CASES = {
    "SIGINT": lambda: works_on(signal.SIGINT),
    "SIGTERM": lambda: works_on(signal.SIGTERM),
    "SIGHUP": lambda: works_on(signal.SIGHUP),
    "saves SIGINT": lambda: saves(signal.SIGINT),
    "saves SIGTERM": lambda: saves(signal.SIGTERM),
    "twice": lambda: saves_too_slowly(signal.SIGTERM, signal.SIGTERM),
    "two kinds": lambda: saves_too_slowly(signal.SIGINT, signal.SIGTERM),
    "out of time": out_of_time,
    "saved before": saves_too_late,
    "ignored": ignores,
    "restored": restores,
    "cannot say": cannot_say,
    "another process": another_process_was_asked,
    "in a thread": in_a_thread,
}
started = {}
for name, case in CASES.items():
    file = tempfile.TemporaryFile()
    number = os.fork()
    if not number:
        os.dup2(file.fileno(), 2)
        case()
        sys.exit(0)
    started[name] = number, file
ended = {}
for name, (number, file) in started.items():
    status = os.waitpid(number, 0)[1]
    file.seek(0)
    ended[name] = os.waitstatus_to_exitcode(status), file.read().decode()
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def ended():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_work_that_cannot_save_ends_at_once(ended, name):
    code = 128 + signal.Signals[name]
    assert ended[name] == [code, "\ndact_jax: last words\n"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_work_that_can_save_does_so_and_has_the_last_word(ended, name):
    code, words = ended[f"saves {name}"]
    assert code == 128 + signal.Signals[name]
    assert "a second signal stops at once" in words
    assert words.endswith("\ndact_jax: saved\n")
    assert "last words" not in words


@pytest.mark.parametrize(
    ("case", "number"), [("twice", signal.SIGTERM), ("two kinds", signal.SIGINT)]
)
def test_a_second_signal_ends_it_at_once(ended, case, number):
    code, words = ended[case]
    assert code == 128 + number
    assert words.endswith("\ndact_jax: last words\n")


def test_who_does_not_save_in_time_is_ended(ended):
    code, words = ended["out of time"]
    assert code == 128 + signal.SIGTERM
    assert words.endswith("\ndact_jax: last words\n")


def test_who_has_left_the_part_that_saves_is_not_waited_for(ended):
    assert ended["saved before"] == [143, "\ndact_jax: last words\n"]


def test_an_ignored_signal_stays_ignored(ended):
    assert ended["ignored"] == [0, ""]


def test_afterwards_signals_do_what_they_did(ended):
    assert ended["restored"] == [7, ""]


def test_where_even_the_last_words_fail_the_process_ends(ended):
    assert ended["cannot say"] == [143, ""]


def test_a_process_that_stops_with_another_one_ends_as_by_sigterm(ended):
    assert ended["another process"] == [143, "\ndact_jax: saved\n"]


def test_on_a_system_without_sighup_the_others_are_handled(monkeypatch):
    for name in ("SIGHUP", "siginterrupt"):
        monkeypatch.delattr(signal, name)
    before = signal.getsignal(signal.SIGTERM)
    spec = importlib.util.find_spec("dact_jax.signals")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.handled(lambda: "last words") as stop:
        assert signal.getsignal(signal.SIGTERM) != before
        assert not stop.asked()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_in_a_thread_takes_no_signals(ended):
    assert ended["in a thread"] == [0, ""]
