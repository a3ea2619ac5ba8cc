"""Which images are meant, and which of their labels are classes of the run."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.prediction import pool as pools
from tests.embedding import tiny
from tests.prediction import colors


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("red/1", "pink/2", "blue/3", "4"):
        colors.write(tmp_path / "photos" / f"{name}.png", "red")
    return tmp_path


def test_a_folder(folder):
    (folder / "photos" / "note.txt").write_text("")
    found = pools.read("photos", colors.classifier())
    assert found.id.tolist() == [
        f"photos/{name}.png" for name in ("4", "blue/3", "pink/2", "red/1")
    ]
    assert found.label.tolist() == [-1, 2, -1, 0]  # order of the run, not of names
    assert found.files == tuple(str(folder / id) for id in found.id)
    assert [file.path for file in found.left_out] == ["photos/note.txt"]
    (note,) = [note for note in found.notes if "no class of the run" in note]
    assert note.startswith("1 images have a label that is no class of the run (pink)")


def test_folders_that_are_no_classes(folder):
    for year in ("2023", "2024"):
        colors.write(folder / "years" / year / "1.png", "red")
    found = pools.read("years", colors.classifier())
    assert found.label.tolist() == [-1, -1]
    assert len(found.id) == 2


def test_manifests_and_lists(folder):
    rows = ["path,label", "red/1.png,blue", "4.png,", "pink/2.png,violet"]
    (folder / "m.csv").write_text("\n".join(rows))
    found = pools.read("m.csv", colors.classifier(), root="photos")
    assert found.label.tolist() == [2, -1, -1]
    assert found.files[1] == str(folder / "photos" / "4.png")
    (folder / "paths.csv").write_text("path\nphotos/4.png\nphotos/gone.png\n")
    assert pools.read("paths.csv", colors.classifier()).label.tolist() == [-1, -1]
    (folder / "l.txt").write_text("photos/4.png\nphotos/red/1.png\n")
    found = pools.read("l.txt", colors.classifier(embeds=True))
    assert found.id.tolist() == ["photos/4.png", "photos/red/1.png"]


def test_numbers_in_a_list_are_no_names(folder):
    colors.write(folder / "photos" / "5.png", "red")  # no folder names these classes
    (folder / "l.txt").write_text("photos/5.png 2\nphotos/4.png 10\n")
    strings = colors.classifier()._replace(class_names=("1", "10", "2"))
    found = pools.read("l.txt", strings)
    assert found.label.tolist() == [-1, -1]
    assert "write the names of the classes in their place" in found.notes[0]
    (folder / "n.txt").write_text("photos/red/1.png blue\nphotos/4.png red\n")
    found = pools.read("n.txt", colors.classifier())
    assert found.label.tolist() == [2, 0]


def _vectors(file, **arrays):
    np.savez(file, features=np.eye(3, tiny.WIDTH), **arrays)


def test_vectors(folder):
    network = colors.classifier(on_vectors=True)
    _vectors("x.npz", label=np.array(["blue", "", "red"]), path=np.array([*"abc"]))
    found = pools.read("x.npz", network)
    assert found.label.tolist() == [2, -1, 0]
    assert found.id.tolist() == [*"abc"]
    assert found.files is None
    _vectors("y.npz", label=np.array([1, 0, -1]), classes=np.array(["blue", "red"]))
    assert pools.read("y.npz", network).label.tolist() == [0, 2, -1]


def test_bare_numbers_are_no_classes_of_a_run_with_names(folder):
    _vectors("x.npz", label=np.array([1, 0, 2]))
    found = pools.read("x.npz", colors.classifier(on_vectors=True))
    assert found.label.tolist() == [-1, -1, -1]
    assert any(
        "numbers without the names of their classes" in note for note in found.notes
    )
    # The order of strings is another one: class 2 of this run is called "10".
    strings = colors.classifier(on_vectors=True)._replace(class_names=("1", "10", "2"))
    assert pools.read("x.npz", strings).label.tolist() == [-1, -1, -1]
    numbers = colors.classifier(on_vectors=True)._replace(class_names=("0", "1", "2"))
    assert pools.read("x.npz", numbers).label.tolist() == [1, 0, 2]


def test_what_the_network_cannot_take(folder):
    np.savez("x.npz", features=np.ones((2, 4)))
    with pytest.raises(
        errors.InputError, match=r"x\.npz has vectors of 4 numbers, but"
    ):
        pools.read("x.npz", colors.classifier(on_vectors=True))
    with pytest.raises(errors.InputError, match="was trained on images: give a folder"):
        pools.read("x.npz", colors.classifier())
    with pytest.raises(errors.InputError, match=r"give an \.npz file with features of"):
        pools.read("photos", colors.classifier(on_vectors=True))
    with pytest.raises(errors.InputError, match="no data at 'nothing'"):
        pools.read("nothing", colors.classifier())
