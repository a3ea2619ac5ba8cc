"""Events that a run writes for TensorBoard, read back from the file."""

import importlib.util
import io
import types

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from dact_jax import errors
from dact_jax.reports import tensorboard
from dact_jax.reports.pictures import picked_images
from dact_jax.types import Domain, Examples, Picked


def events(folder):
    """The events of a run's only event file, parsed by its documented format."""
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
        for event in events(folder)
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


def _images(folder):
    """{(tag, step): the image}, after a look at what the event says of it."""
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("image"):
                shown = Image.open(io.BytesIO(value.image.encoded_image_string))
                said = value.image.width, value.image.height, value.image.colorspace
                assert said == (*shown.size, len(shown.getbands()))
                found[value.tag, event.step] = shown
    return found


def test_after_each_round_the_curves_are_shown_as_they_are_then(tmp_path):
    row = {"round": 0, "step": 100, "labels_target": 20, "test_accuracy": None}
    row["val_accuracy"] = None
    with tensorboard.event_writer(tmp_path, [100, 50]) as show:
        show.round(row)
        for number, color in ((0, "red"), (1, "blue")):
            Image.new("RGBA", (7, 5), color).save(tmp_path / "learning_curve.png")
            show.round({**row, "round": number, "step": 50})
    images = _images(tmp_path)
    assert {key: image.getpixel((0, 0)) for key, image in images.items()} == {
        ("curves/learning_curve", 50): (255, 0, 0, 255),
        ("curves/learning_curve", 150): (0, 0, 255, 255),
    }


def _run(domain):
    task = types.SimpleNamespace(target=domain, class_names=("cat", "dog"))
    return types.SimpleNamespace(task=task, acquisition="margin")


def _picked(*rows):
    return {"target": Picked(np.array(rows, np.int32), np.zeros(len(rows)))}


def _draws(run):
    return lambda *selection: picked_images.draw(run, *selection)


def test_of_each_purchase_a_bounded_number_of_images_is_shown(tmp_path, monkeypatch):
    groups = []
    draw = picked_images.contact_sheet.draw

    def drawn(made):
        groups.extend(made)
        return draw(made)

    monkeypatch.setattr(picked_images.contact_sheet, "draw", drawn)
    pixels = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 6, 6, 3), np.uint8
    )
    label = np.full(40, -1, np.int32)
    label[[7, 3]] = 0, 1
    domain = Domain("t", Examples(pixels, label), None, None, np.arange(40))
    draws = _draws(_run(domain))
    with tensorboard.event_writer(tmp_path, [10, 10], draw_picks=draws) as show:
        show.picks(0, _picked(7, 3, 5), label)
        show.picks(1, {"source": _picked(1)["target"]}, label)
        show.picks(1, _picked(), label)
        show.picks(1, _picked(*range(30)), label)
    assert set(_images(tmp_path)) == {("picks/round_00", 0), ("picks/round_01", 10)}
    assert groups[0].title == "Round 0, initial: 3 images"
    assert groups[0].class_names == ["cat", "dog", ""]
    np.testing.assert_array_equal(groups[0].images, pixels[[7, 3, 5]])
    assert groups[1].title == "Round 1, margin: the first 24 of 30 images"
    assert len(groups[1].images) == len(groups[1].class_names) == 24


def test_vectors_are_shown_as_the_files_that_they_are_of(tmp_path, caplog):
    paths = [str(tmp_path / f"{row}.png") for row in range(3)]
    for path, color in zip(paths, ("red", "lime", "blue"), strict=True):
        Image.new("RGB", (12, 9), color).save(path)
    vectors = Examples(np.zeros((3, 1, 1, 4), np.float32), np.zeros(3, np.int32))
    domain = Domain("t", vectors, None, None, np.arange(3))
    assert not picked_images.any_in(domain)
    assert picked_images.draw(_run(domain), 1, _picked(0), vectors.label) is None
    domain = domain._replace(files=tuple(paths))
    made = picked_images.group("x", domain, np.array([2, 0]), vectors.label, ("cat",))
    assert made.images[:, 0, 0].tolist() == [[0, 0, 255], [255, 0, 0]]
    (tmp_path / "2.png").unlink()
    draws = _draws(_run(domain))
    with tensorboard.event_writer(tmp_path, [10, 10], draw_picks=draws) as show:
        show.picks(1, _picked(0, 2), vectors.label)  # the run goes on
        show.picks(1, _picked(0), vectors.label)
    assert "2.png" in caplog.text
    assert set(_images(tmp_path)) == {("picks/round_01", 10)}


def test_a_resumed_run_purges_events_after_its_checkpoint(tmp_path):
    with tensorboard.event_writer(tmp_path, [100, 50], start=(1, 25)) as show:
        show.step(1, 50, {"loss": 0.5})
    start = event_pb2.SessionLog.START
    written = events(tmp_path)
    purged = [event.step for event in written if event.session_log.status == start]
    assert purged == [126]  # the first step that is not in the checkpoint


def test_without_tensorboardx_the_error_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(errors.InputError, match="pip install tensorboardX"),
        tensorboard.event_writer(tmp_path, [100, 50]),
    ):
        pass
