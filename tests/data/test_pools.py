"""The pool of a selection, from every form of file, and predictions for its rows."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data.selection import pools

X = np.random.default_rng(0).normal(size=(5, 3))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
@pytest.mark.parametrize("suffix", ["csv", "txt", "TSV"])
def test_a_table_of_numbers(tmp_path, delimiter, suffix):
    path = tmp_path / f"x.{suffix}"
    np.savetxt(path, X, delimiter=delimiter, fmt="%.17g")
    pool = pools.read(path)
    np.testing.assert_array_equal(pool.features, X)
    assert pool.path is None
    assert not pool.labelled.any()


def test_a_table_with_names_and_labels(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('Path,f1,f2,label\n"a, b.jpg",1,2.5,dog\nc.jpg,-1e3,0,\n')
    pool = pools.read(path)
    assert pool.features.tolist() == [[1, 2.5], [-1000, 0]]
    assert pool.path.tolist() == ["a, b.jpg", "c.jpg"]
    assert pool.labelled.tolist() == [True, False]


def test_digits_of_features_are_kept(tmp_path):
    wide = X + 1.7e9
    np.savez(tmp_path / "x.npz", features=wide, label=[1, -1, -1, 0, -1])
    pool = pools.read(tmp_path / "x.npz")
    np.testing.assert_array_equal(pool.features, wide)
    assert pool.labelled.tolist() == [True, False, False, True, False]


def test_arrays_that_are_not_read_are_named(tmp_path):
    np.savez(tmp_path / "x.npz", features=X, captions=np.arange(5), label=[-1] * 5)
    assert pools.read(tmp_path / "x.npz").unread == ("captions",)


@pytest.mark.parametrize("name", ["labels", "y", "paths", "ids"])
def test_an_array_of_nearly_the_right_name_is_rejected(tmp_path, name):
    np.savez(tmp_path / "x.npz", features=X, **{name: np.arange(5)})
    right = "label" if name in ("labels", "y") else "path"
    with pytest.raises(errors.InputError, match=f"x.npz.* {name} .* call it {right}"):
        pools.read(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["x.feather", "x.h5", "x.mat", "x.pkl"])
def test_other_files_come_with_the_line_that_converts_them(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"anything")
    with pytest.raises(errors.InputError) as told:
        pools.read(path)
    line = str(told.value).partition("in Python: ")[2]
    compile(line, "line", "exec")
    assert str(path) in line
    assert str(path.with_suffix(".npy")) in line


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("1,2\n3\n", ("line 2", "2 cells", "not 1")),
        ("1,2\n3,x\n", ("line 2", "'x'", "path")),
        ("a,b\n", ("no row",)),
        ("", ("no row",)),
        ("path,f\na,1\na,2\n", ("'a'", "more than once")),
    ],
)
def test_bad_tables(tmp_path, content, parts):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(errors.InputError, match=r"x\.csv") as told:
        pools.read(path)
    assert all(part in str(told.value) for part in parts), told.value


def test_probabilities_are_told_from_logits(tmp_path):
    p = np.array([[0.25, 0.75], [0, 1]])
    path = tmp_path / "p.npy"
    np.save(path, p)
    with pytest.raises(errors.InputError, match=r"--logits=.*--probabilities="):
        pools.read_logits(path, 2)
    logits = pools.read_probabilities(path, 2)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(np.exp(logits), p, atol=1e-30)
    np.save(path, 3 * p - 1)
    np.testing.assert_array_equal(pools.read_logits(path, 2), 3 * p - 1)
    with pytest.raises(errors.InputError, match=r"--probabilities=.* row 0 .*--logits"):
        pools.read_probabilities(path, 2)


def test_labels_that_stand_for_none_do_not_count(tmp_path):
    path = tmp_path / "x.csv"
    labels = ["cat", "-1", "?", "nan", "<NA>", " "]
    path.write_text("\n".join(["label,a,b", *(f"{name},1,2" for name in labels)]))
    assert pools.read(path).labelled.tolist() == [True, *[False] * 5]


def test_a_label_that_may_be_a_class_or_none_is_rejected(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("label,a\ncat,1\nNone,2\n")
    with pytest.raises(errors.InputError, match=r"x\.csv, line 3: 'None' may be"):
        pools.read(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0,1,2\n.5,.1,.3\n", "line 1: 0, 1, ... seem to be numbers of columns"),
        (",0,1\n0,.5,.1\n", "line 1: column 1 has no name"),
        ("a,Unnamed: 0\n1,2\n", "line 1: column 2 has no name"),
        ("\na;Labels\n1;0\n", "line 2: the column 'labels' .* call it label"),
        ('a,path\n1,"b.jpg\n2,c.jpg\n', "line 2: a quote .* not closed"),
    ],
)
def test_what_is_no_feature_is_not_taken_for_one(tmp_path, text, told):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(errors.InputError, match=told):
        pools.read(path)


@pytest.mark.parametrize("name", ["x.json", "x.npy.gz"])
def test_an_unknown_ending_comes_with_those_that_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(
        errors.InputError, match=f"{name} must end in .npy, .npz, .parquet"
    ):
        pools.read(tmp_path / name)


def test_a_missing_file_is_not_to_be_converted(tmp_path):
    with pytest.raises(errors.InputError, match=r"there is no file .*x\.parquet"):
        pools.read(tmp_path / "x.parquet")
