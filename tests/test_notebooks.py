"""The notebooks in experiments/ run end to end, and are committed as they came out."""

import json
import os
import pathlib
import re
import tempfile

import numpy as np
import pytest

from dact_jax.data.readers import digits
from tests import quick

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

FOLDER = pathlib.Path("experiments")
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
SIZE = 16  # pixels


def _read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def _cells(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


@pytest.fixture(scope="module")
def small():
    """Fields that make each run of a notebook take seconds."""
    with tempfile.TemporaryDirectory() as folder:
        fields = {
            "train.steps": 4,
            "train.chunk": 2,
            "train.eval_batch": 64,
            "data.size": SIZE,
            "data.crop": SIZE,
            "figures": False,
            **{f"train.batch_{side}": 4 for side in ("source", "target", "unlabeled")},
        }
        data = digits.uci(size=SIZE, channels=1)
        every, label = np.asarray(data.image), np.asarray(data.label)
        for side, image in (("source", 255 - every[:200]), ("target", every[200:500])):
            known = label[: len(image)] if side == "source" else label[200:500]
            path = pathlib.Path(folder, f"{side}.npz")
            np.savez(path, x_train=image, y_train=known, x_test=image, y_test=known)
            fields[f"data.{side}"] = str(path)
        yield fields


def _sizes(name, fields):
    """What a notebook's cell of sizes holds here."""
    if name == "quickstart":
        return {"changes": {**fields, "policies.single.purchases": 1}}
    if name == "selection":
        return {"fields": fields, "budgets": [8], "large": (600, 4)}
    streams = [key for key in fields if key.startswith("train.batch_")]
    others = {key: fields[key] for key in fields if key not in streams}
    for given in ("train.steps", "train.chunk", "figures"):
        del others[given]
    return {
        "batches": [4],
        "steps": 6,
        "many": 64,
        "side": 32,
        "fields": others,
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_end_to_end(name, small, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    flags = [f"--{flag}={value.lower()}" for flag, value in quick.accepted().items()]
    monkeypatch.setenv("XLA_FLAGS", " ".join(flags))  # one device, as users have
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    notebook = _read(name)
    (cell,) = (c for c in notebook.cells if "sizes" in c.metadata.get("tags", ()))
    lines = [f"{key} = {value!r}" for key, value in _sizes(name, small).items()]
    known = set(re.findall(r"^(\w+) = ", cell.source, re.MULTILINE))
    assert known == set(_sizes(name, small))
    cell.source = "\n".join(lines)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    text = json.dumps([cell.get("outputs") for cell in notebook.cells])
    for told in TOLD[name]:
        assert re.search(told, text), told
    assert "Traceback" not in text


TOLD = {
    "quickstart": [
        "finished before: True",
        "the same accuracies: True",
        "of 10 suggestions were right",
        "Another question: None",
        r"\d+ of 599 images are right, with 20 labels",
    ],
    "selection": ["the first picks: ", "order,row,score,path", "500 of 600 rows"],
    "tpu_throughput": [r"3 x +\d+ images an iteration: +[\d,]+ images/s", "bfloat16: "],
}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_committed_with_its_outputs(name):
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < 10**6
    notebook = _read(name)
    nbformat.validate(notebook)
    code = _cells(notebook, "code")
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1))  # from top to bottom, once
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    text = json.dumps([cell.get("outputs") for cell in notebook.cells])
    for told in TOLD[name]:
        if told != "500 of 600 rows":
            assert re.search(told, text), told
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)


@pytest.mark.parametrize("name", NAMES)
def test_its_links_exist_and_it_opens_on_colab(name):
    text = "\n".join(cell.source for cell in _cells(_read(name), "markdown"))
    badge = f"github/OWNER/dact_jax/blob/main/experiments/{name}.ipynb"
    assert f"(https://colab.research.google.com/{badge})" in text
    for target in re.findall(r"\]\((?!https:)([^)#]+)\)", text):
        assert (FOLDER / target).is_file(), target
