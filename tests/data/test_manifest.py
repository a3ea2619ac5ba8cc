"""CSV manifests and list files, valid and invalid."""

import numpy as np
import pytest
from PIL import Image

from dact_jax import errors
from dact_jax.data.readers import manifest
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


def test_csv(root):
    text = "path,label\ncat/2.png,cat\ndog/1.png,dog\ncat/1 of 2.png,\n"
    data = manifest.load_csv(write(root, text), size=5)
    assert (data.name, data.class_names) == ("some", ("cat", "dog"))
    np.testing.assert_array_equal(data.label, [0, 1, UNLABELED])
    assert data.label.dtype == np.int32
    assert data.id.tolist() == ["cat/2.png", "dog/1.png", "cat/1 of 2.png"]
    assert (data.split, data.skipped) == (None, 0)
    assert data.image.shape == (3, 5, 5, 3)
    np.testing.assert_array_equal(data.image[:][:, 0, 0, 0], [3, 0, 2])


def test_csv_with_split_root_classes_and_other_columns(root):
    text = "\ufeffnote,split,label,path\nx,test,dog,1.png\n,,dog,2.png\n"
    (root / "lists").mkdir()
    data = manifest.load_csv(
        write(root, text, "lists/any.csv"),
        size=5,
        root=root / "dog",
        classes=["dog", "cat"],
        name="zoo",
    )
    assert data.name == "zoo"
    assert data.split.tolist() == ["test", "train"]
    np.testing.assert_array_equal(data.label, [0, 0])
    assert data.class_names == ("dog", "cat")


def test_labels_that_are_numbers_are_sorted_as_numbers(root):
    text = "path,label\ndog/1.png,10\ndog/2.png,9\n"
    data = manifest.load_csv(write(root, text), size=5)
    assert data.class_names == ("9", "10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n", r"some\.csv .*'path'.*'file,label'"),
        ("path\n", r"some\.csv .*column 'label'"),
        ("", r"some\.csv .*column 'path'"),
        ("path,label\n", r"some\.csv"),
        ("path,label\ndog/1.png\n", r"some\.csv, line 2: .*2 cells"),
        ("path,label\na,b.png,dog\n", r"some\.csv, line 2: .*2 cells.*quote"),
        ("path,label\n,dog\n", r"some\.csv, line 2: .*path"),
        (
            "path,label\ndog/1.png,dog\ncat/2.png,cta\n",
            r"some\.csv, line 3: .*'cta'.*'cat'",
        ),
        (
            "path,label,split\ndog/1.png,dog,tset\n",
            r"some\.csv, line 2: split .*train, val, test.*'tset'",
        ),
        (
            "path,label\ndog/1.png,dog\n./dog/1.png,dog\n",
            r"some\.csv, line 3: \./dog/1\.png .*some\.csv, line 2",
        ),
        (
            "path,label\ndog/9.png,dog\n",
            r"dog/9\.png .*No such file or directory",
        ),
    ],
)
def test_csv_errors(root, text, message):
    with pytest.raises(errors.InputError, match=message):
        manifest.load_csv(write(root, text), size=5, classes=["cat", "dog"])


def test_no_such_file(root):
    for load in (manifest.load_csv, manifest.load_list):
        with pytest.raises(errors.InputError, match=r"none\.x"):
            load(root / "none.x", size=5)
    (root / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.InputError, match=r"bytes\.csv .*utf-8"):
        manifest.load_csv(root / "bytes.csv", size=5)


def test_missing_images_can_be_skipped(root):
    text = "path,label,split\ndog/9.png,dog,train\ndog/1.png,dog,val\n"
    data = manifest.load_csv(write(root, text), size=5, on_error="skip")
    assert data.skipped == 1
    assert data.id.tolist() == ["dog/1.png"]
    assert data.split.tolist() == ["val"]


def test_numbered_classes_are_named_after_their_folders(root):
    text = "dog/1.png 0\ncat/1 of 2.png 1\n\ncat/2.png\t1\ndog/2.png -1\n"
    data = manifest.load_list(write(root, text, "some.txt"), size=5)
    assert data.class_names == ("dog", "cat")
    np.testing.assert_array_equal(data.label, [0, 1, 1, UNLABELED])
    assert data.id[1] == "cat/1 of 2.png"
    assert data.split is None
    np.testing.assert_array_equal(data.image[:][:, 0, 0, 0], [0, 2, 3, 1])


def test_list_with_class_names(root):
    text = "dog/1.png hound\ncat/2.png cat\n"
    data = manifest.load_list(write(root, text), size=5)
    assert data.class_names == ("cat", "hound")
    np.testing.assert_array_equal(data.label, [1, 0])
    data = manifest.load_list(write(root, text), size=5, classes=["hound", "cat"])
    np.testing.assert_array_equal(data.label, [0, 1])


def test_numbers_index_the_given_classes(root):
    text = "dog/1.png 2\ndog/2.png 0\n"
    data = manifest.load_list(write(root, text), size=5, classes=["a", "b", "c"])
    assert data.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(data.label, [2, 0])


@pytest.mark.parametrize(
    "text", ["dog/1.png 0\ndog/2.png 10\n", "dog/1.png 0\ncat/2.png 0\n"]
)
def test_numbers_without_one_folder_each_are_class_names(root, text):
    data = manifest.load_list(write(root, text), size=5)
    numbers = [line.split()[1] for line in text.splitlines()]
    assert [data.class_names[k] for k in data.label] == numbers


def test_lists_are_merged(root):
    labelled = write(root, "dog/1.png 0\n", "labelled.txt")
    unlabelled = write(root, "dog/2.png 0\ncat/2.png 1\n", "unlabelled.txt")
    val = write(root, "cat/2.png 1\n", "val.txt")
    data = manifest.load_list(labelled, unlabelled, val, size=5, name="t")
    assert data.id.tolist() == ["dog/1.png", "dog/2.png", "cat/2.png"]
    assert (data.name, data.class_names) == ("t", ("dog", "cat"))
    assert manifest.read_ids(val) == ["cat/2.png"]
    other = write(root, "cat/2.png 0\n", "other.txt")
    message = r"other\.txt, line 1: cat/2\.png .*0.* 1 .*unlabelled\.txt, line 2"
    with pytest.raises(errors.InputError, match=message):
        manifest.load_list(unlabelled, other, size=5)


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("dog/1.png\n", None, r"l\.txt, line 1: .*'path label'.*'dog/1\.png'"),
        (
            "dog/1.png 0\ndog/1.png 0\n",
            None,
            r"l\.txt, line 2: dog/1\.png .*l\.txt, line 1",
        ),
        ("dog/1.png 0\ndog/2.png 2\n", ["a", "b"], r"l\.txt, line 2: .*2 .*0\.\.1"),
        ("dog/1.png dgo\n", ["dog"], r"l\.txt, line 1: .*'dgo'.*'dog'"),
        ("dog/1.png -2\n", ["dog"], r"l\.txt, line 1: .*'-2'.*'dog'"),
        ("\n", None, r"l\.txt"),
    ],
)
def test_list_errors(root, text, classes, message):
    with pytest.raises(errors.InputError, match=message):
        manifest.load_list(write(root, text, "l.txt"), size=5, classes=classes)
