"""List files, valid and invalid."""

import numpy as np
import pytest
from PIL import Image

from dact_jax import errors
from dact_jax.data.readers import lists
from dact_jax.types import UNLABELED

PATHS = ("dog/1.png", "dog/2.png", "cat/1 of 2.png", "cat/2.png")


@pytest.fixture
def root(tmp_path):
    for shade, path in enumerate(PATHS):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 6), (shade,) * 3).save(tmp_path / path)
    return tmp_path


def write(root, text, name="some.csv"):
    path = root / name
    path.write_text(text, encoding="utf-8")
    return path


def test_numbered_classes_are_named_after_their_folders(root):
    text = "dog/1.png 0\ncat/1 of 2.png 1\n\ncat/2.png\t1\ndog/2.png -1\n"
    data = lists.load(write(root, text, "some.txt"), size=5)
    assert data.class_names == ("dog", "cat")
    np.testing.assert_array_equal(data.label, [0, 1, 1, UNLABELED])
    assert data.id[1] == "cat/1 of 2.png"
    assert data.split is None
    np.testing.assert_array_equal(data.image[:][:, 0, 0, 0], [0, 2, 3, 1])


def test_list_with_class_names(root):
    text = "dog/1.png hound\ncat/2.png cat\n"
    data = lists.load(write(root, text), size=5)
    assert data.class_names == ("cat", "hound")
    np.testing.assert_array_equal(data.label, [1, 0])
    data = lists.load(write(root, text), size=5, classes=["hound", "cat"])
    np.testing.assert_array_equal(data.label, [0, 1])


def test_numbers_index_the_given_classes(root):
    text = "dog/1.png 2\ndog/2.png 0\n"
    data = lists.load(write(root, text), size=5, classes=["a", "b", "c"])
    assert data.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(data.label, [2, 0])


@pytest.mark.parametrize(
    "text", ["dog/1.png 0\ndog/2.png 10\n", "dog/1.png 0\ncat/2.png 0\n"]
)
def test_numbers_without_one_folder_each_are_class_names(root, text):
    data = lists.load(write(root, text), size=5)
    numbers = [line.split()[1] for line in text.splitlines()]
    assert [data.class_names[k] for k in data.label] == numbers


def test_lists_are_merged(root):
    labelled = write(root, "dog/1.png 0\n", "labelled.txt")
    unlabelled = write(root, "dog/2.png 0\ncat/2.png 1\n", "unlabelled.txt")
    val = write(root, "cat/2.png 1\n", "val.txt")
    data = lists.load(labelled, unlabelled, val, size=5, name="t")
    assert data.id.tolist() == ["dog/1.png", "dog/2.png", "cat/2.png"]
    assert (data.name, data.class_names) == ("t", ("dog", "cat"))
    assert lists.read_ids(val) == ["cat/2.png"]
    other = write(root, "cat/2.png 0\n", "other.txt")
    message = r"other\.txt, line 1: cat/2\.png .*0.* 1 .*unlabelled\.txt, line 2"
    with pytest.raises(errors.InputError, match=message):
        lists.load(unlabelled, other, size=5)


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("dog/9.png\n", None, r"l\.txt, line 1: .*'path label'.*'dog/9\.png'"),
        ("dog/1.png 0\ndog/2.png\n", None, r"line 2: .*'path label'.*'dog/2\.png'"),
        (
            "dog/1.png 0\ndog/1.png 0\n",
            None,
            r"l\.txt, line 2: dog/1\.png .*l\.txt, line 1",
        ),
        ("dog/1.png 0\ndog/2.png 2\n", ["a", "b"], r"l\.txt, line 2: .*2 .*0\.\.1"),
        ("dog/1.png dgo\n", ["dog"], r"l\.txt, line 1: .*'dgo'.*'dog'"),
        ("dog/1.png -2\n", ["dog"], r"l\.txt, line 1: .*'-2'.*'dog'"),
        ("dog/1.png None\n", None, r"l\.txt, line 1: 'None' may be a class or an unk"),
        ("dog/1.png 1\ndog/2.png " + "9" * 4400, None, r"l\.txt, line 2: .*4400 char"),
        ("dog/1.png 1\ndog/2.png\0 1", None, r"l\.txt, line 2: .*NUL"),
        ("\n", None, r"l\.txt"),
    ],
)
def test_list_errors(root, text, classes, message):
    with pytest.raises(errors.InputError, match=message):
        lists.load(write(root, text, "l.txt"), size=5, classes=classes)


def test_a_list_of_files_alone_has_no_labels(root):
    path = write(root, "\n".join(["", *PATHS, "dog\\3.png"]), "l.txt")
    (root / "dog/3.png").write_bytes((root / "dog/1.png").read_bytes())
    data = lists.load(path, size=5)
    assert data.id.tolist() == lists.read_ids(path) == [*PATHS, "dog/3.png"]
    assert data.label.tolist() == [UNLABELED] * 5
    assert data.class_names == ()
    path = write(root, "dog/1.png\n./dog/1.png\n", "l.txt")
    with pytest.raises(errors.InputError, match=r"line 2: .* line 1"):
        lists.load(path, size=5)


def test_lists_of_other_programs(root):
    path = root / "l.txt"
    path.write_bytes("dog\\1.png 1\r\ndog\\2.png ?\r\n".encode("utf-16"))
    data = lists.load(path, size=5)
    assert data.id.tolist() == lists.read_ids(path) == ["dog/1.png", "dog/2.png"]
    assert data.label.tolist() == [0, UNLABELED]
    assert lists.read_ids(path, root=root / "dog")[0] == "dog\\1.png"
