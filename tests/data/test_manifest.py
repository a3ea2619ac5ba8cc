"""Manifests, valid and invalid."""

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
    assert (data.split, data.left_out) == (None, ())
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
    assert data.split.tolist() == ["test", ""]
    np.testing.assert_array_equal(data.label, [0, 0])
    assert data.class_names == ("dog", "cat")


def test_labels_that_are_numbers_are_sorted_as_numbers(root):
    text = "path,label\ndog/1.png,10\ndog/2.png,9\n"
    data = manifest.load_csv(write(root, text), size=5)
    assert data.class_names == ("9", "10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n", r"some\.csv: .* path,label .*commas.*'id,label'"),
        ("path,lable\n", r"some\.csv: .*first line .* path,label .*'path,lable'"),
        ("path\n", r"some\.csv lists no images"),
        ("dog/1.png,dog\n", r"some\.csv: .*first line .* path,label .*'dog/1"),
        ("", r"some\.csv: .*first line"),
        ("path,label,Label\n", r"some\.csv: .*'label', 'Label' .*label"),
        ("file,filename,class\n", r"some\.csv: .*'file', 'filename' .*'path'"),
        ("path,label,split,SPLIT\n", r"some\.csv: .*'split', 'SPLIT'"),
        ("path,label\n", r"some\.csv"),
        ("path,label\ndog/1.png\n", r"some\.csv, line 2: .*2 cells"),
        ("path,label\na,b.png,dog\n", r"some\.csv, line 2: .*2 cells, not 3.*quote"),
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
            'path,label\ndog/1.png,dog\n"dog/2.png,cat\ncat/2.png,cat\n',
            r"some\.csv, line 3: a quote .* not closed",
        ),
        (
            'path,label\n"dog/1.png,dog\ndog/2.png",dog\n',
            r"some\.csv, line 2: a quote .* later line",
        ),
        (  # the images between two quotes would be lost
            'path,label\ndog/1.png,"dog\ndog/2.png,dog\ncat/2.png,cat"\n',
            r"some\.csv, line 2: a quote .* later line",
        ),
        ('path,label\n"dog/1.png", "dog"\n', r"some\.csv, line 2: .*blank before a q"),
        (f"path,label\ndog/1.png,{'9' * 4400}\n", r"some\.csv, line 2: .*4400 charact"),
        (f"path,label\n{'x' * 2**18},dog\n", r"some\.csv, line 2: .*131072"),
        ("path,label\ndog/1.png,d\0g\n", r"some\.csv, line 2: .*NUL"),
        (
            "path,label\ndog/9.png,dog\n",
            r"dog/9\.png .*no such file",
        ),
    ],
)
def test_csv_errors(root, text, message):
    with pytest.raises(errors.InputError, match=message):
        manifest.load_csv(write(root, text), size=5, classes=["cat", "dog"])


def test_a_target_may_have_no_label_column(root):
    path = write(root, "File;Split;\ndog/1.png;val;\ncat/2.png;;\n")
    data = manifest.load_csv(path, size=5, classes=["cat", "dog"])
    assert data.label.tolist() == [UNLABELED] * 2
    assert data.split.tolist() == ["val", ""]
    with pytest.raises(errors.InputError, match=r"first line must be path,label"):
        manifest.load_csv(path, size=5)  # a source


def test_further_labels_are_classes_if_asked(root):
    path = write(root, "path,label\ndog/1.png,dog\ncat/2.png,lynx\ncat/1.png,None\n")
    data = manifest.load_csv(
        path, size=5, classes=["cat", "dog"], others=True, on_error="skip"
    )
    assert data.class_names == ("cat", "dog", "lynx")
    assert data.label.tolist()[:2] == [1, 2]
    assert (data.label[2:] == UNLABELED).all()  # "None" is no class of the source


def test_no_such_file(root):
    with pytest.raises(errors.InputError, match=r"none\.x"):
        manifest.load_csv(root / "none.x", size=5)


def test_missing_images_can_be_skipped(root):
    text = "path,label,split\ndog/9.png,dog,train\ndog/1.png,dog,val\n"
    data = manifest.load_csv(write(root, text), size=5, on_error="skip")
    assert [file.damaged for file in data.left_out] == [True]
    assert data.id.tolist() == ["dog/1.png"]
    assert data.split.tolist() == ["val"]


@pytest.mark.parametrize(
    "text",
    [
        "path;label;split\ndog/1.png;dog;val\ncat/2.png;;\n",
        "Path\tLabel\tSplit\ndog/1.png\tdog\tval\ncat/2.png\t\t\n",
        "FILENAME,Class,split\ndog/1.png,dog,Validation\ncat/2.png,?,\n",
        "file_name,label,SPLIT\r\ndog/1.png,dog,valid\r\n\r\ncat/2.png,nan,\r\n",
        "File Name,category,split,,\ndog/1.png,dog,VAL,,\ncat/2.png,-1,,,\n,,,,\n",
        "\nfilename,path,label,split\nx,dog\\1.png,dog,val\ny, cat/2.png,None,\n",
    ],
)
def test_manifests_of_other_programs(root, text):
    data = manifest.load_csv(write(root, text), size=5, classes=["cat", "dog"])
    assert data.id.tolist() == ["dog/1.png", "cat/2.png"]
    assert data.label.tolist() == [1, UNLABELED]
    assert data.split.tolist() == ["val", ""]


def test_a_file_whose_name_looks_like_another_programs_path(root):
    name = "dog\\1.png"
    (root / "dog/1.png").rename(root / name)
    (root / 'a "b"\n1.png').write_bytes((root / name).read_bytes())
    text = f'path,label\n{name},dog\n"a ""b""\n1.png",cat\ncat/2.png,cat\n'
    data = manifest.load_csv(write(root, text), size=5)
    assert data.id.tolist() == [name, 'a "b"\n1.png', "cat/2.png"]


@pytest.mark.parametrize("word", ["nan", "None", "NA", "?", "-1"])
def test_a_word_for_unknown_that_is_a_class_of_the_source(root, word):
    text = f"path,label\ndog/1.png,dog\ndog/2.png,{word}\n"
    data = manifest.load_csv(write(root, text), size=5, classes=["dog", word])
    assert data.label.tolist() == [0, 1]


def test_words_for_unknown_without_known_classes(root):
    def labels(word, other="a"):
        rows = f"dog/1.png,{other}\ndog/2.png,{word}\ncat/2.png,2\n"
        data = manifest.load_csv(write(root, "path,label\n" + rows), size=5)
        return [data.class_names[k] if k != UNLABELED else "" for k in data.label]

    assert labels("nan") == labels("?") == ["a", "", "2"]
    assert labels("-1", "1") == ["1", "", "2"]
    for word in ("None", "NA", "null", "-1"):
        with pytest.raises(
            errors.InputError, match=rf"some\.csv, line 3: '{word}' may"
        ):
            labels(word)


def test_a_split_column_that_is_empty_is_none(root):
    text = "path,label,split\ndog/1.png,dog,\n"
    assert manifest.load_csv(write(root, text), size=5).split is None
