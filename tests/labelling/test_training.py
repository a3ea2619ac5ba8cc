"""The command of the next round: when it starts, what is shown of it, how it ends."""

import io
import sys
import time

import pytest

from dact_jax.labelling import training
from dact_jax.labelling.training import Trainer

SAYS = """
import sys
print("one\\rtwo", flush=True)
print("dact_jax: no \\x1b[31mluck", file=sys.stderr)
"""


def python(code):
    return [sys.executable, "-S", "-c", code]


def waited(trainer, *states):
    end = time.monotonic() + 20
    while trainer.snapshot()["state"] not in states:
        assert time.monotonic() < end, trainer.snapshot()
        time.sleep(0.01)
    return trainer.snapshot()


def test_it_starts_by_itself_once_all_is_answered(tmp_path):
    open_questions = [1]
    trainer = Trainer(
        python(f"open({str(tmp_path / 'ran')!r}, 'w'); print('round 4')"),
        lambda: not open_questions,
        str,
        grace=0.01,
    )
    trainer.arm()
    trainer.start()
    assert trainer.snapshot()["state"] == training.IDLE
    open_questions.clear()
    trainer.arm()
    found = waited(trainer, training.ENDED)
    assert found["lines"] == ["round 4"]
    assert (tmp_path / "ran").exists()
    trainer.arm()
    trainer.start()
    assert trainer.snapshot()["state"] == training.ENDED


def test_new_questions_are_no_end():
    asked = []
    trainer = Trainer(python(""), lambda: not asked, str, grace=0)
    trainer.arm()
    asked.append(1)
    assert waited(trainer, training.IDLE, training.ENDED)["state"] == training.IDLE


def test_questions_may_be_answered_before_the_round_has_ended(tmp_path):
    ran, asked = tmp_path / "ran", tmp_path / "asked"
    code = f"""
import os, time
with open({str(ran)!r}, "a") as file:
    file.write("x")
if os.path.getsize({str(ran)!r}) == 1:
    open({str(asked)!r}, "w").close()
    time.sleep(0.3)"""
    trainer = Trainer(
        python(code), lambda: True, lambda: str(asked.exists()), grace=0.01
    )
    trainer.arm()
    while not asked.exists():
        time.sleep(0.01)
    trainer.arm()  # the last answer, while the process still runs
    assert trainer.snapshot()["state"] == training.RUNNING
    waited(trainer, training.ENDED)
    assert ran.read_text() == "xx"


def test_who_goes_back_holds_it():
    trainer = Trainer(python(""), lambda: True, str, grace=60)
    trainer.arm()
    assert trainer.snapshot()["state"] == training.SOON
    trainer.hold()
    assert trainer.snapshot()["state"] == training.HELD
    trainer.arm()  # another answer
    assert trainer.snapshot()["state"] == training.SOON
    trainer.hold()
    trainer.start()
    assert waited(trainer, training.ENDED)["state"] == training.ENDED


def test_it_starts_once(tmp_path):
    log = tmp_path / "log"
    code = f"open({str(log)!r}, 'a').write('x'); import time; time.sleep(0.3)"
    trainer = Trainer(python(code), lambda: True, str, grace=0)
    for _ in range(5):
        trainer.arm()
        trainer.start()
    waited(trainer, training.ENDED)
    assert log.read_text() == "x"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (f"{SAYS}\nsys.exit(2)", "no luck"),
        ("print('a'); print('b'); raise SystemExit(3)", "it ended with exit code 3: b"),
        ("raise SystemExit(3)", "it ended with exit code 3."),
        ("import os; os.kill(os.getpid(), 9)", "it ended with signal 9."),
    ],
)
def test_a_failure_is_told_and_may_be_tried_again(code, sentence):
    trainer = Trainer(python(code), lambda: True, str, grace=0)
    trainer.arm()
    assert waited(trainer, training.FAILED)["sentence"] == sentence
    trainer.start()
    assert waited(trainer, training.FAILED)["sentence"] == sentence


def test_a_command_that_cannot_start_is_told(tmp_path):
    trainer = Trainer([str(tmp_path / "none")], lambda: True, str, grace=0)
    trainer.arm()
    assert waited(trainer, training.FAILED)["sentence"] == "No such file or directory."


def test_stopped_it_may_save(tmp_path):
    saved = tmp_path / "saved"
    code = f"""
import signal, sys, time
def save(*_):
    open({str(saved)!r}, "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)"""
    trainer = Trainer(python(code), lambda: True, str, grace=0)
    assert not trainer.stop()
    trainer = Trainer(python(code), lambda: True, str, grace=0)
    trainer.arm()
    waited(trainer, training.RUNNING)
    while not trainer.snapshot()["lines"]:
        time.sleep(0.01)
    assert trainer.stop()
    assert saved.exists()
    trainer.arm()
    assert trainer.snapshot()["state"] == training.OFF


def test_without_a_command_nothing_starts():
    trainer = Trainer([], lambda: True, str, grace=0)
    trainer.arm()
    trainer.start()
    assert trainer.snapshot()["state"] == training.OFF


def test_lines_hold_no_control_characters():
    raw = b"\x1b[2K a\x07b\r\x1b[1;31mc\x1b[0m \xff\n\n" + 999 * b"x" + b"\n"
    first, second, third = training.lines(io.BytesIO(raw))
    assert (first, second, third) == ("ab", "c \ufffd", 400 * "x")


WAITS = """
import pathlib, sys
begun = pathlib.Path(sys.argv[1])
begun.with_suffix(".waits").write_text("")
if sys.stdin.readline():
    begun.write_text(begun.read_text() + "x" if begun.exists() else "x")
    print("round 4")
"""


def ahead(begun, is_answered=lambda: True):
    trainer = Trainer(
        [*python(WAITS), str(begun)], is_answered, str, grace=0.01, ahead=True
    )
    trainer.prepare()
    until(begun.with_suffix(".waits").exists)
    return trainer


def until(reached):
    end = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_that_is_started_ahead_begins_when_all_is_answered(tmp_path):
    begun, answered = tmp_path / "begun", []
    trainer = ahead(begun, lambda: bool(answered))
    waiting = trainer._waiting
    trainer.prepare()
    trainer.arm()
    assert trainer._waiting is waiting
    assert trainer.snapshot()["state"] == training.IDLE
    assert not begun.exists()
    answered.append(1)
    trainer.arm()
    assert waited(trainer, training.ENDED)["lines"] == ["round 4"]
    assert trainer._process is waiting
    assert begun.read_text() == "x"


def test_a_waiting_process_that_was_killed_is_replaced(tmp_path):
    trainer = ahead(tmp_path / "begun")
    trainer._waiting.kill()
    trainer._waiting.wait()
    trainer.arm()
    waited(trainer, training.ENDED)
    assert (tmp_path / "begun").read_text() == "x"


def test_a_waiting_process_ends_with_the_page(tmp_path):
    trainer = ahead(tmp_path / "begun")
    waiting = trainer._waiting
    assert not trainer.stop()
    assert waiting.poll() is not None
    trainer.prepare()
    assert trainer._waiting is None
    assert not (tmp_path / "begun").exists()
