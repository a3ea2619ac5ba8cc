"""Which folders are classes: of a source, and of a target with labels or without."""

import pytest

from dact_jax import errors
from dact_jax.data.classes import folders
from dact_jax.data.readers import folder
from tests.data.test_folder import save

SOURCE = ("cup", "mug", "pen")


def labels(paths, known=SOURCE):
    """The label of each image, and the notes."""
    ids = [f"phone/{path}" for path in paths.split()]
    taken = folders.sort(ids, "phone", known)
    assert [image.id for image in taken.images] == ids
    return [image.label for image in taken.images], taken.notes


def test_a_flat_folder_has_no_labels():
    found, notes = labels("a.jpg b.jpg")
    assert found == [None, None]
    assert notes == []


@pytest.mark.parametrize("name", ["unlabeled", "_Unlabeled", "UNLABELLED", "Unknown"])
def test_a_folder_whose_name_says_so_is_no_class(name):
    assert labels(f"cup/1.jpg {name}/2.jpg {name}/mug/3.jpg")[0] == ["cup", None, None]
    # Also where it is the only one: its folders are no classes either.
    assert labels(f"{name}/cup/1.jpg {name}/mug/2.jpg")[0] == [None, None]


def test_folders_of_which_none_is_a_class():
    found, notes = labels("2024/05/a.jpg 2024/06/b.jpg 2025/c.jpg 1.jpg")
    assert found == [None] * 4
    (note,) = notes
    assert "phone (2024, 2025) is a class of the source: all its 4 images" in note
    assert "unlabelled" in note


@pytest.mark.parametrize(
    "names", [("cup", "lamp"), ("Cup", "Mug"), ("cups", "mugs"), ("c up", "x", "y")]
)
def test_a_typo_does_not_become_unlabelled(names):
    found, notes = labels(" ".join(f"{name.replace(' ', '_')}/1.jpg" for name in names))
    assert found == [name.replace(" ", "_") for name in names]
    assert notes == []


def test_images_beside_class_folders_are_said():
    found, (note,) = labels("cup/1.jpg mug/2.jpg 3.jpg 4.jpg")
    assert found == ["cup", "mug", None, None]
    assert note.startswith("2 images lie in phone itself")


def test_parts_of_a_split_beside_a_folder_without_labels():
    ids = [
        f"phone/{p}" for p in ("test/cup/1", "train/mug/2", "unlabeled/x/3", "val/4")
    ]
    taken = folders.sort(ids[:3], "phone", SOURCE)
    assert taken.images == [
        folders.Image(ids[0], "cup", "test"),
        folders.Image(ids[1], "mug", "train"),
        folders.Image(ids[2], None, "train"),
    ]
    # Images without a label cannot test, whatever the folder is called.
    taken = folders.sort([ids[3], "phone/test/5"], "phone", SOURCE)
    assert [(image.label, image.part) for image in taken.images] == [(None, None)] * 2


def test_a_source_leaves_out_what_has_no_label(tmp_path):
    for path in ("a/cup/1.png", "a/mug/2.png", "a/unlabeled/3.png", "b/unknown/4.png"):
        save(tmp_path / path)
    data = folder.load(tmp_path, "a", size=4)
    assert data.class_names == ("cup", "mug")
    assert data.id.tolist() == ["a/cup/1.png", "a/mug/2.png"]
    ((path, reason, damaged),) = data.left_out
    assert (path, damaged) == ("a/unlabeled", False)
    assert "(1)" in reason
    with pytest.raises(
        errors.InputError, match=r"no labelled images in .*/b; 1 .*b/un"
    ):
        folder.load(tmp_path, "b", size=4)
