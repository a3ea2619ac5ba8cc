import csv
import errno
import io
import json
import os
import pathlib
import stat
import urllib.parse
from xml.etree import ElementTree

import pytest
from PIL import ExifTags, Image

from dact_jax import cells, errors, storage
from dact_jax.queries import query as queries, writing
from dact_jax.queries.query import Item, Query
from dact_jax.queries.writers import cvat, label_studio, label_table

CLASSES = ("cat", "<b>\"d&g'", "Kätzchen", "猫", "=1+1")
FILES = (
    "a/b 1.png",
    "Bär #1?&d=.png",
    "猫.png",
    '<i>".png',
    "=x.png",
    "bad\udcff\1.png",
)


def make_query(files=FILES, classes=CLASSES, folder="/data/my photos"):
    items = tuple(
        Item(
            id=f"flat/{name}",
            file_name=name,
            path=f"{folder}/{name}" if folder else "",
            suggested=classes[number % len(classes)] if number else "",
            confidence=0.12345678 if number else None,
            score=-2.5 if number else None,
            digest="",
        )
        for number, name in enumerate(files)
    )
    return Query("0a1b2c3d", 3, classes, items)


def ids(query):
    return [queries.dact_id(query.campaign, item.id) for item in query.items]


def table(folder):
    text = (folder / "labels.csv").read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_folder_holds_every_form_and_nothing_else(tmp_path):
    query = make_query()
    place = queries.place(tmp_path, 3)
    writing.write(place, query)
    assert {path.name for path in place.iterdir()} == {*writing.FORMS}
    assert [path.name for path in place.parent.iterdir()] == ["round_03"]
    assert queries.read(place) == query
    for path in place.iterdir():
        path.read_bytes().decode("utf-8")  # no lone surrogate anywhere


def test_the_table_begins_as_a_metadata_table_and_its_cells_are_safe(tmp_path):
    query = make_query()
    writing.write(tmp_path / "round_03", query)
    rows = table(tmp_path / "round_03")
    assert tuple(rows[0]) == label_table.COLUMNS
    assert label_table.COLUMNS[:2] == ("file_name", "label")
    assert [row["id"] for row in rows] == ids(query)
    assert {row["label"] + row["skip"] for row in rows} == {""}
    assert [row["order"] for row in rows] == [*"012345"]
    names = [row["file_name"] for row in rows]
    assert names[:4] == [*FILES[:4]]
    assert names[4] == "./=x.png"  # a path still, and no formula
    assert names[5] == r"bad\xff\x01.png"
    suggested = [cells.restore(row["suggested"]) for row in rows]
    assert suggested == [item.suggested for item in query.items]
    assert (rows[0]["confidence"], rows[0]["score"]) == ("", "")
    assert (rows[1]["confidence"], rows[1]["score"]) == ("0.123457", "-2.5")


@pytest.mark.parametrize(("name", "marked"), [("a.png", False), ("ä.png", True)])
def test_excel_is_told_that_a_table_is_utf_8(tmp_path, name, marked):
    writing.write(tmp_path / "q", make_query((name,), ("cat",)))
    content = (tmp_path / "q" / "labels.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf") == marked


def test_tasks_of_label_studio(tmp_path):
    query = make_query()
    writing.write(tmp_path / "q", query, image_root="photos/ä")
    tasks = json.loads((tmp_path / "q" / "label_studio.json").read_text("utf-8"))
    assert [task["data"]["dact_id"] for task in tasks] == ids(query)
    assert tasks[0]["predictions"] == []
    (prediction,) = tasks[1]["predictions"]
    assert prediction["score"] == query.items[1].confidence
    assert prediction["result"][0]["value"] == {"choices": [query.items[1].suggested]}
    assert "annotations" not in tasks[1]
    for task, name in zip(tasks, FILES, strict=True):
        address = urllib.parse.urlsplit(task["data"]["image"])
        assert address.path == "/data/local-files/"
        assert address.fragment == ""
        assert task["data"]["image"].isascii()
        assert " " not in task["data"]["image"]
        parsed = urllib.parse.parse_qs(address.query, errors="surrogateescape")
        assert parsed == {"d": [f"photos/ä/{name}"]}


@pytest.mark.parametrize(
    ("folder", "root", "found"),
    [
        ("/data/my photos", "", "my%20photos/a%20b.png"),
        ("/data/my photos", "x/", "x/a%20b.png"),
        ("", "", "a%20b.png"),
        ("", "x", "x/a%20b.png"),
    ],
)
def test_where_label_studio_finds_an_image(folder, root, found):
    (item,) = make_query(("a b.png",), folder=folder).items
    assert label_studio.address(item, root) == f"/data/local-files/?d={found}"


@pytest.mark.parametrize("many", [False, True])
def test_the_interface_of_label_studio_offers_the_classes(many):
    classes = CLASSES + tuple(f"class {n}" for n in range(20 if many else 0))
    root = ElementTree.fromstring(label_studio.interface(make_query((), classes), ""))
    choices = root.find("Choices")
    assert [choice.get("value") for choice in choices] == [*classes]
    assert choices.get("choice") == "single"
    assert choices.get("toName") == root.find("Image").get("name") == "image"
    assert root.find("Image").get("value") == "$image"
    keys = [c.get("hotkey") for c in choices if c.get("hotkey")]
    assert keys == [*"123456789"][: len(classes)]
    assert (root.find("Filter") is not None) == many


def test_cvat_gets_labels_and_images_but_no_tags(tmp_path):
    """A tag is an annotation there: an export could not tell it from an answer."""
    writing.write(tmp_path / "q", make_query())
    root = ElementTree.parse(tmp_path / "q" / "cvat.xml").getroot()
    assert root.findtext("version") == "1.1"
    labels = [label.findtext("name") for label in root.iter("label")]
    assert labels == [*CLASSES, "skip"]
    assert {label.findtext("type") for label in root.iter("label")} == {"tag"}
    names = [image.get("name") for image in root.iter("image")]
    assert names == [*FILES[:5], r"bad\xff\x01.png"]
    assert [image.get("id") for image in root.iter("image")] == [*"012345"]
    assert root.find(".//tag") is None


def test_cvat_gets_the_size_of_upright_images(tmp_path):
    exif = Image.Exif()
    for name, orientation in (("plain", 1), ("turned", 6)):
        exif[ExifTags.Base.Orientation] = orientation
        Image.new("RGB", (9, 4)).save(tmp_path / f"{name}.jpg", exif=exif)
    names = ("plain.jpg", "turned.jpg", "gone.jpg")
    query = make_query(names, folder=str(tmp_path))
    root = ElementTree.fromstring(cvat.text(query, ""))
    sizes = [(i.get("width"), i.get("height")) for i in root.iter("image")]
    assert sizes == [("9", "4"), ("4", "9"), (None, None)]


@pytest.mark.parametrize(
    ("classes", "label"),
    [
        (("cat",), "skip"),
        (("cat", "Skip"), "dact_skip"),
        (("skip", "dact_skip"), "dact_dact_skip"),
    ],
)
def test_the_label_that_means_skip_is_no_class(classes, label):
    assert cvat.skip_label(classes) == label


def test_files_that_are_there_stay(tmp_path):
    place = queries.place(tmp_path, 3)
    place.mkdir(parents=True)
    writing.write(place, make_query())  # an empty folder is as none
    answers = place / "labels.csv"
    answers.write_text("answers")
    with pytest.raises(errors.InputError, match=r"round_03 holds files.* move"):
        writing.write(place, make_query())
    assert answers.read_text() == "answers"


def test_a_draft_of_a_killed_process_is_no_query_and_is_replaced(tmp_path, monkeypatch):
    place = queries.place(tmp_path, 3)

    def kill(*args):
        raise SystemExit

    monkeypatch.setattr(os, "replace", kill)
    monkeypatch.setattr(writing.shutil, "rmtree", lambda *a, **k: None)
    with pytest.raises(SystemExit):
        writing.write(place, make_query())
    assert list(place.parent.iterdir()) != []
    assert queries.written(tmp_path) == []
    monkeypatch.undo()
    writing.write(place, make_query())
    assert [path.name for path in place.parent.iterdir()] == ["round_03"]


# One flush for each file, one for the draft, and one after it has its name.
@pytest.mark.parametrize("call", range(len(writing.FORMS) + 1))
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, call):
    place = queries.place(tmp_path, 3)
    calls = []

    def full(handle, real=os.fsync):
        calls.append(handle)
        if len(calls) == call + 1:
            raise OSError(errno.ENOSPC, "No space")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="round_03") as caught:
        writing.write(place, make_query())
    assert str(place) in errors.sentence(caught.value)
    assert list(place.parent.iterdir()) == []


def test_a_draft_that_cannot_be_removed_is_told_with_the_reason(tmp_path, monkeypatch):
    place = queries.place(tmp_path, 3)
    place.with_name(".round_03.tmp").mkdir(parents=True)

    def refuse(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(writing.shutil, "rmtree", refuse)
    with pytest.raises(OSError, match="Input/output error") as caught:
        writing.write(place, make_query())
    assert caught.value.filename == str(place)
    monkeypatch.undo()
    writing.write(place, make_query())
    assert [path.name for path in place.parent.iterdir()] == ["round_03"]


def test_a_system_that_cannot_flush_folders_is_no_fault(tmp_path, monkeypatch):
    def refuse(handle, real=os.fsync):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    place = queries.place(tmp_path, 3)
    writing.write(place, make_query())
    assert queries.written(tmp_path) == [place]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "queries").write_text("a file")
    with pytest.raises(OSError, match="round_03"):
        writing.write(queries.place(tmp_path, 3), make_query())
    assert storage.read_text(pathlib.Path(tmp_path, "queries")) == "a file"
