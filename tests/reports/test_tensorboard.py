"""Events that a run writes for TensorBoard, read back from the file."""

import importlib.util

import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from dact_jax import errors
from dact_jax.reports import tensorboard


def _events(folder):
    """The events of the only event file, parsed by its documented format."""
    (path,) = (folder / "tensorboard").iterdir()
    data = path.read_bytes()
    while data:
        size = int.from_bytes(data[:8], "little")
        assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
        yield event_pb2.Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]


def _scalars(folder):
    """{(tag, step): value}."""
    return {
        (value.tag, event.step): value.simple_value
        for event in _events(folder)
        for value in event.summary.value
    }


def test_losses_and_accuracies_have_the_step_of_the_whole_run(tmp_path):
    with tensorboard.event_writer(tmp_path, [100, 50]) as show:
        show.step(1, 25, {"loss": 0.5})
        row = {"round": 1, "step": 50, "labels_target": 20}
        show.round({**row, "test_accuracy": 0.75, "val_accuracy": None})
    assert _scalars(tmp_path) == {
        ("train/loss", 125): 0.5,
        ("round/test_accuracy", 150): 0.75,
        ("round/labels_target", 150): 20.0,
    }


def test_a_resumed_run_purges_events_after_its_checkpoint(tmp_path):
    with tensorboard.event_writer(tmp_path, [100, 50], start=(1, 25)) as show:
        show.step(1, 50, {"loss": 0.5})
    start = event_pb2.SessionLog.START
    events = _events(tmp_path)
    purged = [event.step for event in events if event.session_log.status == start]
    assert purged == [126]  # the first step that is not in the checkpoint


def test_without_tensorboardx_the_error_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(errors.InputError, match="pip install tensorboardX"),
        tensorboard.event_writer(tmp_path, [100, 50]),
    ):
        pass
