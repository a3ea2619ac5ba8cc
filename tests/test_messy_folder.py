"""A folder of photos with everything at once: what is said, kept and left out."""

import functools
import os

import numpy as np
import pytest
from PIL import Image

from dact_jax import errors
from dact_jax.configuration import build, defaults, files
from dact_jax.data import left_out
from dact_jax.rounds import claim, workdir
from tests.reports import reporting

ODD = os.fsdecode(b"caf\xe9")  # no UTF-8
CLASSES = ("cat", "dog", ODD)


def shoot(path, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(path, **options)


@pytest.fixture
def photos(tmp_path):
    studio, phone = tmp_path / "studio", tmp_path / "phone"
    for k, name in enumerate(CLASSES):
        for i in range(6):
            shoot(studio / "images" / name / f"{i}.jpg", 10 * k + i)
            shoot(phone / name / f"{i}.jpg", 100 + 10 * k + i)
    shoot(phone / "cat" / "=1+1.TIFF", 200, format="TIFF")
    shoot(phone / "cat" / 'a,b\n"c".png', 201)
    shoot(phone / "dog" / "IMG0001", 202, format="JPEG")
    shoot(phone / "dog" / "@eaDir" / "1.jpg", 203)
    (phone / "dog" / "x.heic").write_bytes(b"ftypheic")
    (phone / "dog" / "Thumbs.db").write_bytes(b"")
    (phone / "emu").mkdir()
    os.mkfifo(phone / "dog" / "2.png")
    (phone / "dog" / "again").symlink_to(phone)
    (phone / "cat" / "copy.jpg").hardlink_to(phone / "cat" / "1.jpg")
    (phone / "dog" / "empty.png").write_bytes(b"")
    return tmp_path


@pytest.fixture
def config(photos):
    made = files.load("configs/tiny.py")
    made.data.update(source=str(photos / "studio"), target=str(photos / "phone"))
    made.policies.single.update(initial=2, per_round=1, purchases=1)
    made.data.val_per_class = 1
    return made


def test_all_that_cannot_be_read_is_named_at_once(config):
    with pytest.raises(errors.InputError) as caught:
        build.build(config)
    head, *listed = str(caught.value).splitlines()
    assert "data.on_error='skip'" in head
    assert [line.partition(": ")[2] for line in listed] == [
        "it is a named pipe, not a file",
        "it is empty",
    ]


def test_what_is_left_out_is_kept_with_the_run(config, photos, caplog):
    config.data.on_error = "skip"
    made, data = build.build(config)
    target = made.task.target
    assert [file.path for file in target.left_out] == [
        "phone/dog/2.png",
        "phone/dog/empty.png",
        "phone/cat/copy.jpg",
        "phone/dog/again",
        "phone/dog/x.heic",
        "phone/emu",
    ]
    assert caplog.text.count("studio/images") == 1
    assert "Left out of phone: 6 files" in caplog.text
    assert data["target_skipped"] == "2 unreadable"

    folder = photos / "run"
    take = functools.partial(
        claim.claim, folder, defaults.identity(config), data=data, devices=["cpu"]
    )
    for _ in range(2):  # a new run, and its resume
        take(classes=made.task.class_names)
        left_out.write(folder, {"target": target.left_out})
    assert claim.read(folder).classes == tuple(sorted(CLASSES))
    assert len(left_out.read(folder)) == 6


def test_odd_names_are_carried_through_the_files_of_a_run(config, photos):
    config.data.on_error = "skip"
    made, _ = build.build(config)
    ids = made.task.target.id.tolist()
    assert any(os.fsencode(id).startswith(b"phone/caf\xe9/") for id in ids)
    picks = [
        workdir.Pick(0, i, "target", id, 0.5, "random", "") for i, id in enumerate(ids)
    ]
    workdir.append_picks(photos, picks)
    assert workdir.read_picks(photos) == picks
    row = {
        "event": "round",
        "round": 0,
        "step": 1,
        "labels_target": 2,
        "labels_val": 3,
        "source_samples": 18,
        "test_accuracy": 0.5,
        "val_accuracy": 0.5,
        "seconds": 1.0,
        "labels_per_class": dict.fromkeys(made.task.class_names, 1),
    }
    workdir.append(photos, [row])
    assert workdir.read(photos) == [row]
    left_out.write(photos, {"target": made.task.target.left_out})
    text = reporting.write(photos, "x").markdown.read_bytes()
    assert b"phone/dog/x.heic" in text
