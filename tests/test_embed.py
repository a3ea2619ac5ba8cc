"""`python -m dact_jax.embed`: its file, its messages, and that it goes on."""

import os
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from dact_jax import embed, errors, run_types
from dact_jax.data.readers import embeddings, opening
from dact_jax.models import backbones
from tests.embedding import tiny


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two classes of three images, and the small backbone under the default's name."""
    random = np.random.default_rng(0)
    for name in ("pets/cat/1", "pets/cat/2", "pets/dog/1 \u00fc", "pets/dog/\u732b"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backbones, "load", lambda name, **options: tiny.backbone())


def command(*arguments):
    embed.main(["embed", *arguments])


def refused(capsys, *arguments):
    """The one sentence of a mistake."""
    with pytest.raises(SystemExit) as caught:
        command(*arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("dact_jax: ")


def test_the_file_is_one_of_embeddings(capsys):
    command("--images=pets", "--output=x.npz")
    data = embeddings.load("x.npz", name="x", scale="raw")
    assert data.id.tolist() == [
        "pets/cat/1.png",
        "pets/cat/2.png",
        "pets/dog/1 \u00fc.png",
        "pets/dog/\u732b.png",
    ]
    assert data.label.tolist() == [0, 0, 1, 1]
    assert data.class_names == ("cat", "dog")
    network = tiny.backbone()
    for path, vector in zip(data.id, data.image[:, 0, 0], strict=True):
        with Image.open(path) as image:
            pixels = np.asarray(image.resize((8, 8), Image.Resampling.BICUBIC))
        expected = network.forward(network.variables, np.stack([pixels] * 2))[0]
        np.testing.assert_array_equal(vector, expected)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Embedded 4 images by tiny, 5 numbers each, in ")
    assert "Written: x.npz; x.cache keeps" in line


@pytest.mark.parametrize("name", ["y.parquet", "y.npy"])
def test_other_forms_hold_the_same(name, capsys):
    command("--images=pets", "--output=y.npz")
    command("--images=pets", f"--output={name}")
    expected, found = embeddings.read("y.npz"), embeddings.read(name)
    np.testing.assert_array_equal(found.features, expected.features)
    assert found.path.tolist() == expected.path.tolist()
    assert found.label.tolist() == expected.label.tolist()
    assert found.class_names == expected.class_names == ("cat", "dog")
    _, second = capsys.readouterr().out.splitlines()
    written = {
        "y.parquet": "y.parquet",
        "y.npy": "y.paths.txt, y.labels.txt, y.classes.txt, y.npy",
    }
    assert f"Written: {written[name]}; y.cache keeps" in second
    pathlib.Path(name).unlink()
    if name == "y.npy":
        said = refused(capsys, "--images=pets", f"--output={name}")
        assert said.startswith("--output=y.npy: y.paths.txt exists: name another, or")
        command("--images=pets", f"--output={name}", "--overwrite")


def test_a_name_that_the_form_cannot_hold_is_told_before_the_work(capsys):
    os.rename("pets/cat/1.png", "pets/cat/a\nb.png")
    said = refused(capsys, "--images=pets", "--output=x.npy")
    assert said == (
        "x.npy: the name 'pets/cat/a\\nb.png' holds a line end, and one line of a text "
        "file cannot: write an .npz file, or rename it."
    )
    assert not os.path.exists("x.cache")
    command("--images=pets", "--output=x.parquet")
    assert "pets/cat/a\nb.png" in embeddings.read("x.parquet").path


def test_images_without_labels_have_none():
    os.makedirs("flat")
    for number, path in enumerate(pathlib.Path("pets").rglob("*.png")):
        shutil.copy(path, f"flat/{number}.png")
    command("--images=flat", "--output=x.npz")
    assert sorted(np.load("x.npz")) == ["features", "path"]
    pathlib.Path("list.txt").write_text("flat/2.png\nflat/0.png\n")
    command("--images=list.txt", "--output=y.npz")
    some, every = np.load("y.npz"), np.load("x.npz")
    assert some["path"].tolist() == ["flat/2.png", "flat/0.png"]
    np.testing.assert_array_equal(some["features"], every["features"][[2, 0]])


def test_labels_of_a_manifest(tmp_path):
    os.makedirs("lists")
    rows = ["path,label", "cat/1.png,b", "dog/1 \u00fc.png,", "cat/2.png,a"]
    pathlib.Path("lists/m.csv").write_text("\n".join(rows), encoding="utf-8")
    command("--images=lists/m.csv", "--root=pets", "--output=x.npz")
    arrays = np.load("x.npz")
    assert arrays["label"].tolist() == [1, -1, 0]
    assert arrays["classes"].tolist() == ["a", "b"]


def test_unreadable_images_are_refused_or_named(capsys):
    pathlib.Path("pets/dog/bad.jpg").write_text("no image")
    said = refused(capsys, "--images=pets", "--output=x.npz")
    assert said == (
        "pets/dog/bad.jpg cannot be read: it holds no image that Pillow knows; "
        "--on_error=skip leaves it out."
    )
    assert not os.path.exists("x.npz")
    assert not os.path.exists("x.cache")
    command("--images=pets/", "--output=x.npz", "--on_error=skip")
    _, head, line = capsys.readouterr().out.splitlines()
    assert head == "Left out: 1 file or folder."
    assert line == "  pets/dog/bad.jpg: it holds no image that Pillow knows"
    assert len(np.load("x.npz")["features"]) == 4


def test_a_stopped_command_goes_on(monkeypatch):
    asked = run_types.Stop(asked=lambda: True)
    arguments = ("pets", pathlib.Path("x.npz"))
    with pytest.raises(errors.StoppedError, match="after 1 of 4 images; the same"):
        embed.run(*arguments, stop=asked)
    assert not os.path.exists("x.npz")
    read, content = [], opening.content

    def count(path, stamp):
        read.append(path)
        return content(path, stamp)

    monkeypatch.setattr(opening, "content", count)
    features = embed.run(*arguments).features
    assert len(read) == 3  # the first is known
    fresh = embed.run("pets", pathlib.Path("y.npz")).features
    np.testing.assert_array_equal(features, fresh)


WRONG = {
    "nothing": ((), "give --images= and --output="),
    "no output": (("--images=pets",), "give --images= and --output="),
    "a word": (("pets",), "'pets' is not a flag"),
    "unknown": (("--imgs=pets",), "Unknown command line flag 'imgs'"),
    "no folder": (("--images=pts", "--output=x.npz"), "pts: there is no such file"),
    "vectors": (("--images=x.npz", "--output=y.npz"), "does not name image files"),
    "built in": (("--images=uci", "--output=y.npz"), "does not name image files"),
    "suffix": (("--images=pets", "--output=x.h5"), "end in .npz, .parquet, .npy"),
    "is a folder": (("--images=pets", "--output=a.npz"), "a.npz is a folder"),
    "no parent": (("--images=pets", "--output=no/x.npz"), "there is no folder no"),
    "exists": (("--images=pets", "--output=old.npz"), "exists: name another"),
    "cache": (("--images=pets", "--output=x.npz", "--cache=old.npz/a"), "not a folder"),
    "batch": (("--images=pets", "--output=x.npz", "--batch=0"), "positive integer"),
    "empty": (("--images=void", "--output=x.npz"), "there are no images in void"),
    "bad only": (("--images=bad", "--output=x.npz"), "bad has no readable image; the "),
    "user": (("--images=~nobody-here/a", "--output=x.npz"), "there is no user"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_sentence(case, capsys):
    for name in ("a.npz", "void", "bad"):
        os.makedirs(name)
    pathlib.Path("old.npz").write_text("")
    pathlib.Path("bad/x.png").write_text("")
    arguments, part = WRONG[case]
    before = sorted(os.listdir())
    assert part in refused(capsys, *arguments)
    assert sorted(os.listdir()) == before


def test_a_folder_that_is_not_writable(capsys, monkeypatch):
    os.makedirs("closed")
    allowed = os.access

    def access(path, mode):  # root may write everywhere
        return os.fspath(path) != "closed" and allowed(path, mode)

    monkeypatch.setattr(os, "access", access)
    said = refused(capsys, "--images=pets", "--output=closed/x.npz")
    assert "the folder closed is not writable" in said


def test_overwrite_replaces_the_file():
    command("--images=pets/cat", "--output=x.npz")
    command("--images=pets", "--output=x.npz", "--overwrite")
    assert len(np.load("x.npz")["features"]) == 4
