"""Tables that hold what they were given, whatever names and classes are called."""

import csv
import io
import json

import numpy as np
import pytest

from dact_jax import cells, errors, storage
from dact_jax.prediction import writers
from dact_jax.prediction.writers import Form, Line

CLASSES = ("dog", "=1+1", 'a "b",\n<i>', "label", "\u202ehund", "\udcff")
SHARES = np.linspace(0, 1, len(CLASSES)).astype(np.float32) / np.float32(3)
LINES = [
    Line("a/\udcfe,=1.png", CLASSES[1], np.float32(0.1), np.float32(0), "", CLASSES[2]),
    Line("-b\n.png", None, None, None, "it is empty", None),
    Line("c.png", None, np.float32(0.4), np.float32(1e-7), "too low", CLASSES[5]),
]
LINES = [x if x.confidence is None else x._replace(probabilities=SHARES) for x in LINES]
FORM = Form(CLASSES, probabilities=True, true_labels=True)


def _written(path, form=FORM):
    with writers.opened(path, path.suffix, form) as write:
        write(LINES[:1])
        write(LINES[1:])
    return path


def test_csv(tmp_path):
    text = storage.read_text(_written(tmp_path / "x.csv"))
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert "=1+1" not in header  # a spreadsheet runs no name of a class
    names = [cells.restore(name) for name in header]
    assert names[:6] == [
        "path",
        "label",
        "confidence",
        "margin",
        "reason",
        "true_label",
    ]
    assert names[6:] == [f"p_{name}" for name in CLASSES]
    for line, row in zip(LINES, rows, strict=True):
        assert len(row) == len(header)
        texts = [cells.restore(row[k]) for k in (0, 1, 4, 5)]
        assert texts == [
            text or "" for text in (line.path, line.label, line.reason, line.true_label)
        ]
        if line.confidence is None:
            assert row[2:4] == ["", ""]
            assert row[6:] == [""] * len(CLASSES)
        else:
            assert np.float32(row[2]) == line.confidence
            assert np.float32(row[3]) == line.margin
            np.testing.assert_array_equal(np.array(row[6:], np.float32), SHARES)


def test_jsonl(tmp_path):
    lines = _written(tmp_path / "x.jsonl").read_text().splitlines()
    for line, row in zip(LINES, map(json.loads, lines), strict=True):
        assert (row["path"], row["label"]) == (line.path, line.label)
        assert (row["reason"] or "", row["true_label"]) == (
            line.reason,
            line.true_label,
        )
        if line.confidence is None:
            assert row["confidence"] is row["margin"] is row["probabilities"] is None
        else:
            assert np.float32(row["confidence"]) == line.confidence
            assert tuple(row["probabilities"]) == CLASSES
            values = np.array([*row["probabilities"].values()], np.float32)
            np.testing.assert_array_equal(values, SHARES)


def test_parquet(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(writers, "_GROUP", 1)  # a group after each call
    table = parquet.read_table(_written(tmp_path / "x.parquet"))
    spelled = [*CLASSES[:5], "\\xff"]  # Parquet holds UTF-8 alone
    assert json.loads(table.schema.metadata[b"classes"]) == spelled
    assert table.column_names[6:] == [f"p_{name}" for name in spelled]
    first, second, third = table.to_pylist()
    assert first["path"] == "a/\\xfe,=1.png"
    assert (first["label"], first["true_label"]) == CLASSES[1:3]
    assert third["true_label"] == "\\xff"
    assert second["path"] == "-b\n.png"
    assert second["reason"] == "it is empty"
    assert second["label"] is second["confidence"] is second["p_dog"] is None
    for row in (first, third):
        values = np.array([row[f"p_{name}"] for name in spelled], np.float32)
        np.testing.assert_array_equal(values, SHARES)


def test_columns_that_nobody_asked_for_are_not_there(tmp_path):
    plain = Form(CLASSES)
    text = storage.read_text(_written(tmp_path / "x.csv", plain))
    assert text.startswith("path,label,confidence,margin,reason\n")
    (first, *_) = _written(tmp_path / "x.jsonl", plain).read_text().splitlines()
    assert [*json.loads(first)] == ["path", "label", "confidence", "margin", "reason"]


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(errors.InputError, match=r"dact_jax\[parquet\]"):
        writers.require(".parquet")
    writers.require(".csv")
