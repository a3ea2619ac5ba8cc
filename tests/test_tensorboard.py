import importlib.util

import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from dact_jax import errors, tensorboard


def _scalars(folder):
    """{(tag, step): value} of the one event file, read as its format says."""
    (path,) = (folder / "tensorboard").iterdir()
    data, found = path.read_bytes(), {}
    while data:
        size = int.from_bytes(data[:8], "little")
        assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
        event = event_pb2.Event.FromString(data[12 : 12 + size])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        data = data[16 + size :]
    return found


def test_losses_and_accuracies_stand_at_the_step_of_the_whole_run(tmp_path):
    with tensorboard.make(tmp_path, 100) as show:
        show.step(1, 25, {"loss": 0.5})
        row = {"round": 1, "step": 100, "labels_target": 20}
        show.round({**row, "test_accuracy": 0.75, "val_accuracy": None})
    assert _scalars(tmp_path) == {
        ("train/loss", 125): 0.5,
        ("round/test_accuracy", 200): 0.75,
        ("round/labels_target", 200): 20.0,
    }


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(errors.InputError, match="pip install tensorboardX"),
        tensorboard.make(tmp_path, 100),
    ):
        pass
