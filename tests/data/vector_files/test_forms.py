"""Vectors written and read in every form, and what each form refuses."""

import os
import pathlib
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from dact_jax import array_files, errors
from dact_jax.data.readers import embeddings, sources
from dact_jax.data.selection import pools
from dact_jax.data.vector_files import parquet, parquet_columns, writing
from dact_jax.data.vector_files.contents import Vectors
from dact_jax.data.vector_files.reading import SUFFIXES

CLASSES = ("1", "2", "10", "Ärger, <b>")
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
PATHS = np.array(["a/1.jpg", "b c.jpg", "ü/猫.png", "=1+1", "'q\"\t.jpg"])
LABEL = np.array([2, -1, 0, 3, 1], np.int32)
SOME = Vectors(X, PATHS, LABEL, CLASSES)


def _refused(path):
    """The one sentence that a file is refused with."""
    with pytest.raises(errors.InputError) as caught:
        embeddings.read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_form_gives_back_what_was_written(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    written = writing.write(path, SOME)
    assert path in written
    assert {file.name for file in written} == set(os.listdir(tmp_path))
    assert set(written) <= set(writing.outputs(path))
    data = sources.load(str(path), size=1, channels=1, scale="raw")
    np.testing.assert_array_equal(data.image[:, 0, 0], X)
    assert data.id.tolist() == PATHS.tolist()
    assert data.label.tolist() == LABEL.tolist()
    assert (data.class_names, data.name, data.unnamed) == (CLASSES, "x", "")
    assert not sources.are_files(str(path))
    pool = pools.read(path)
    np.testing.assert_array_equal(pool.features, X)
    assert pool.path.tolist() == PATHS.tolist()
    assert pool.labelled.tolist() == (LABEL >= 0).tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_labels_no_class_is_named(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    writing.write(path, SOME)
    writing.write(path, SOME._replace(label=np.full(5, -1, np.int32)))
    found = embeddings.read(path)
    assert (found.label.tolist(), found.class_names) == ([-1] * 5, ())
    assert found.path.tolist() == PATHS.tolist()


def test_the_columns_are_those_that_others_read(tmp_path):
    writing.write(tmp_path / "x.parquet", SOME)
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["path", "label", "embedding"]
    assert table["label"].to_pylist() == ["10", None, "1", "Ärger, <b>", "2"]
    assert table["path"].to_pylist() == PATHS.tolist()
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), X)


def test_many_rows_are_written_and_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_columns, "_BLOCK", 3 * 4 * 7)  # 7 rows
    x = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)
    ids = np.array([f"{row}.jpg" for row in range(100)])
    label = np.arange(100, dtype=np.int32) % 4
    path = tmp_path / "x.parquet"
    writing.write(path, Vectors(x, ids, label, CLASSES))
    assert pq.ParquetFile(path).metadata.num_row_groups == 15
    found = embeddings.read(path)
    np.testing.assert_array_equal(found.features, x)
    assert found.path.tolist() == ids.tolist()
    assert found.label.tolist() == label.tolist()


def test_a_table_is_not_held_in_memory_beside_its_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_columns, "_BLOCK", 2**20)
    x = np.random.default_rng(0).normal(size=(2**12, 2**10)).astype(np.float32)
    ids = np.array([f"{row}.jpg" for row in range(len(x))])
    path = tmp_path / "x.parquet"
    writing.write(path, Vectors(x, ids, np.zeros(len(x), np.int32), CLASSES))
    embeddings.read(path)  # imports are no part of it
    tracemalloc.start()
    allocated = pa.total_allocated_bytes()
    found = embeddings.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.features.nbytes == 2**24
    assert peak < 2**24 + 2**22
    assert pa.total_allocated_bytes() - allocated < 2**22


def _table(file, metadata=None, /, **columns):
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata), file)
    return file


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float16(), 3), pa.list_(pa.float64()), pa.large_list(pa.float32())],
)
def test_other_lists_of_numbers_are_read(tmp_path, kind):
    dtype = kind.value_type.to_pandas_dtype()
    rows = pa.array([row.astype(dtype) for row in X], kind)
    found = embeddings.read(_table(tmp_path / "x.parquet", embedding=rows))
    assert found.features.dtype == dtype
    np.testing.assert_array_equal(found.features, X.astype(dtype))
    assert (found.path, found.class_names) == (None, ())


def test_names_of_integers_that_datasets_notes_are_found(tmp_path):
    note = '{"info": {"features": {"label": {"names": ["dog", "cat"]}}}}'
    columns = {"embedding": list(X), "label": [1, 0, None, 1, 0]}
    path = _table(tmp_path / "x.parquet", {"huggingface": note}, **columns)
    found = embeddings.read(path)
    assert (found.class_names, found.unnamed) == (("dog", "cat"), "")
    assert found.label.tolist() == [1, 0, -1, 1, 0]
    for other in (None, {"huggingface": "{]"}, {"huggingface": "[[[1]]]"}):
        found = embeddings.read(_table(tmp_path / "y.parquet", other, **columns))
        assert found.class_names == ("0", "1")
        assert "y.parquet" in found.unnamed


def test_categories_are_names(tmp_path):
    label = pa.array(["b", "a", "b", None, "a"]).dictionary_encode()
    path = _table(tmp_path / "x.parquet", embedding=list(X), label=label)
    found = embeddings.read(path)
    assert (found.class_names, found.label.tolist()) == (("a", "b"), [1, 0, 1, -1, 0])


ROWS = [row.tolist() for row in X]
WRONG = {
    "no vectors": ({"x": [1.0]}, "lacks the column embedding"),
    "another name": ({"features": ROWS}, "column features is not read; call it embed"),
    "labels": ({"embedding": ROWS, "labels": [0] * 5}, "labels is not read; call it"),
    "text": ({"embedding": ["a"]}, "list of float numbers in each row, not string"),
    "integers": ({"embedding": [[1, 2]]}, "list of float numbers in each row, not lis"),
    "lengths": ({"embedding": [[1.0, 2.0], [1.0]]}, "row 1 of embedding has 1 numb"),
    "no row": ({"embedding": pa.array([], pa.list_(pa.float32()))}, "it has no row"),
    "no number": ({"embedding": [[], []]}, "list of float numbers in each row, not"),
    "empty": ({"embedding": pa.array([[]], pa.list_(pa.float32()))}, "is empty"),
    "null": ({"embedding": [ROWS[0], None]}, "row 1 has no embedding"),
    "null inside": ({"embedding": [[1.0, 2.0], [1.0, None]]}, "row 1 of embedding hol"),
    "null path": ({"embedding": ROWS[:2], "path": ["a", None]}, "row 1 has no path"),
    "paths": ({"embedding": ROWS[:2], "path": [1, 2]}, "path must be text, not int64"),
    "twice": ({"embedding": ROWS[:2], "path": ["a", "a"]}, "'a' occurs more than once"),
    "float": ({"embedding": ROWS[:1], "label": [1.5]}, "text or integers, not double"),
    "negative": ({"embedding": ROWS[:1], "label": [-2]}, "row 0 is -2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_table_of_another_form_is_refused(case, tmp_path):
    columns, part = WRONG[case]
    said = _refused(_table(tmp_path / "x.parquet", **columns))
    assert part in said
    assert "x.parquet" in said


def test_a_file_that_claims_more_than_its_size_allows_is_refused(tmp_path, monkeypatch):
    """Vectors of zeros, or texts, that a few bytes stand for."""
    monkeypatch.setattr(array_files, "ALWAYS", 2**20)
    numbers = pa.array(np.zeros(4 * 10**6, np.float32))
    vectors = pa.FixedSizeListArray.from_arrays(numbers, 4000)
    path = _table(tmp_path / "x.parquet", embedding=vectors)
    assert path.stat().st_size < 10**5
    assert "more than 100 times the file and 1 MiB" in _refused(path)
    names = pa.array([str(row) for row in range(999)] + ["x" * 30_000])
    columns = {"embedding": [[1.0]] * 1000, "path": names}
    said = _refused(_table(tmp_path / "y.parquet", **columns))
    assert "path holds a text of 30000 characters" in said


def test_damage_is_told_in_one_sentence(tmp_path):
    path = tmp_path / "x.parquet"
    writing.write(path, SOME)
    whole = path.read_bytes()
    for content in (b"", b"no table", whole[:-9], whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert "x.parquet is not a readable .parquet file" in _refused(path)
    at = whole.index(X[2].tobytes())
    path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])  # as npz: a checksum
    assert "x.parquet cannot be read" in _refused(path)
    assert "there is no file" in _refused(tmp_path / "no.parquet")
    os.mkfifo(tmp_path / "pipe.parquet")
    assert "is not a file" in _refused(tmp_path / "pipe.parquet")
    assert "must end in .npz, .parquet, .npy" in _refused(tmp_path / "x.h5")


def test_without_pyarrow_the_error_says_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "x.parquet").write_bytes(b"")
    assert "pip install 'dact_jax[parquet]'" in _refused(tmp_path / "x.parquet")
    with pytest.raises(errors.InputError, match=r"dact_jax\[parquet\]"):
        writing.outputs(tmp_path / "y.parquet")


# .npy with text files


def _beside(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")


def test_text_files_belong_to_the_only_array_of_a_folder(tmp_path, caplog):
    np.save(tmp_path / "x.npy", X)
    _beside(tmp_path, "paths.txt", "a\r\nb\r\nc\r\nd\r\ne\r\n")
    _beside(tmp_path, "x.labels.txt", "cat\n\ndog\ncat\n\n")
    found = embeddings.read(tmp_path / "x.npy")
    assert found.path.tolist() == list("abcde")
    assert (found.label.tolist(), found.class_names) == (
        [0, -1, 1, 0, -1],
        ("cat", "dog"),
    )
    _beside(tmp_path, "x.paths.txt", "1\n2\n3\n4\n5")
    assert embeddings.read(tmp_path / "x.npy").path.tolist() == list("12345")
    assert not caplog.text
    np.save(tmp_path / "y.npy", X[:2])
    assert embeddings.read(tmp_path / "y.npy").path is None
    assert "paths.txt is not read" in caplog.text
    assert "call it y.paths.txt" in caplog.text
    assert pools.read(tmp_path / "y.npy").path is None
    assert pools.read(tmp_path / "x.npy").path.tolist() == list("12345")


def test_text_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    _beside(tmp_path, "x.paths.txt", "a\nb\nc\n")
    assert "one line for each of the 5 rows of" in _refused(path)
    with pytest.raises(errors.InputError, match="one line for each of the 5 rows of"):
        pools.read(path)
    _beside(tmp_path, "x.paths.txt", "a\nb\nc\nd\na\n")
    assert "x.paths.txt must be unique, but 'a'" in _refused(path)
    _beside(tmp_path, "x.paths.txt", "a\nb\nc\nd\ne\n")
    _beside(tmp_path, "x.labels.txt", "1\n2\n10\n\n1\n")
    said = _refused(path)
    assert "x.labels.txt holds numbers, such as 1" in said
    assert "to " + str(tmp_path / "x.classes.txt") in said
    _beside(tmp_path, "x.classes.txt", "1\n2\n")
    assert "row 2 is '10'" in _refused(path)
    _beside(tmp_path, "x.classes.txt", "1\n2\n10\n")
    found = embeddings.read(path)
    assert (found.label.tolist(), found.class_names) == ([0, 1, 2, -1, 0], CLASSES[:3])


@pytest.mark.parametrize(
    ("name", "form", "part"),
    [
        ("a\nb.jpg", ".npy", "holds a line end"),
        ("a\udcff.jpg", ".npy", "is not UTF-8"),
        ("\ufeffa", ".npy", "byte-order mark"),
        ("a\udcff.jpg", ".parquet", "is not UTF-8"),
    ],
)
def test_a_name_that_a_form_cannot_hold_is_refused(name, form, part):
    with pytest.raises(errors.InputError, match=part) as caught:
        writing.check(pathlib.Path(f"x{form}"), ["fine", name])
    assert "write an .npz file" in str(caught.value)
    writing.check(pathlib.Path("x.npz"), [name])
    writing.check(pathlib.Path("x.parquet"), ["a\nb"])
    writing.check(pathlib.Path("x.npy"), PATHS)
