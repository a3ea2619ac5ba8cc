"""`python -m dact_jax.export`: its folder, its messages, and what it refuses."""

import json
import pathlib
import shutil

import numpy as np
import pytest

import dact_jax
from dact_jax import cli, errors, export
from dact_jax.exporting import comparison, samples, torch_format, writing
from tests import toy
from tests.exporting import made


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run on vectors, with a row of batch norm a domain."""
    root = tmp_path_factory.mktemp("vectors")
    changes = {"model.num_norms": 2, "acquisition": "random"}
    config = toy.vector_config(root, **changes)
    dact_jax.run(config, root / "run")
    return root / "run"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def command(*arguments):
    export.main(["export", *map(str, arguments)])


def refused(capsys, *arguments):
    """The one sentence of a mistake."""
    with pytest.raises(SystemExit) as caught:
        command(*arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("dact_jax: ")


def test_the_folder_of_a_model(finished, capsys):
    command(f"--workdir={finished}", "--output=model")
    out = capsys.readouterr().out
    assert "round 1 (iteration 8)" in out
    assert ": mlp, 3 classes." in out
    assert "batch norm of the target" in out
    assert "on 64 images of the run's target" in out
    names = sorted(path.name for path in pathlib.Path("model").iterdir())
    assert names == sorted(
        ["inputs.py", "load_model.py", "model.json", "model.safetensors", "network.py"]
    )
    assert list(pathlib.Path().iterdir()) == [pathlib.Path("model")]
    record = json.loads(pathlib.Path("model/model.json").read_text())
    assert record["classes"] == ["0", "1", "2"]
    assert record["input"]["shape"] == ["batch", 6]
    assert record["input"]["done_inside"] == [
        "each vector is divided by its root mean square"
    ]
    assert record["network"]["norm_row"] == "target"
    assert record["network"]["method_options"]["temperature"] == 0.05
    assert record["provenance"]["labels"] == 6
    rows = [
        json.loads(x) for x in (finished / "metrics.jsonl").read_text().splitlines()
    ]
    (last,) = [row for row in rows if row["event"] == "round" and row["round"] == 1]
    assert record["provenance"]["test_accuracy"] == last["test_accuracy"] > 0.3
    assert record["compared"]["agreeing"] == record["compared"]["images"] == 64
    assert str(finished) not in json.dumps(record)


def test_an_existing_folder_is_replaced_only_on_request(finished, capsys):
    command(f"--workdir={finished}", "--output=model", "--checked=3")
    old = pathlib.Path("model/model.json").read_text()
    given = f"--workdir={finished}", "--output=model", "--format=torch"
    assert "--overwrite" in refused(capsys, *given)
    command(*given, "--overwrite", "--checked=4")
    assert pathlib.Path("model/model.json").read_text() != old
    pathlib.Path("model/notes.txt").write_text("mine")
    assert "'notes.txt'" in refused(capsys, *given, "--overwrite")
    assert pathlib.Path("model/notes.txt").read_text() == "mine"
    assert list(pathlib.Path().iterdir()) == [pathlib.Path("model")]


def test_mistakes_end_before_any_work(finished, capsys, monkeypatch):
    monkeypatch.setattr(export.classifiers, "load", None)  # nothing is loaded
    pathlib.Path("file").write_text("")
    run = f"--workdir={finished}"
    assert "--output=" in refused(capsys, run)
    assert "is no folder" in refused(capsys, run, "--output=file")
    assert "there is no folder" in refused(capsys, run, "--output=a/b")
    assert "torch" in refused(capsys, run, "--output=x", "--format=pickle")
    assert "--checked" in refused(capsys, run, "--output=x", "--checked=0")


def test_mistakes_about_the_run_and_the_images(finished, capsys):
    assert "not the folder of a run" in refused(capsys, "--workdir=.", "--output=x")
    given = f"--workdir={finished}", "--output=x"
    assert "on vectors" in refused(capsys, *given, "--input_type=uint8")
    assert "'photos'" in refused(capsys, *given, "--images=photos")
    np.savez("x.npz", features=np.ones((4, 5), np.float32))
    assert "vectors of 5 numbers" in refused(capsys, *given, "--images=x.npz")
    np.savez("y.npz", features=np.eye(6, dtype=np.float32))
    command(*given, "--images=y.npz")
    assert "on 6 images of y.npz" in capsys.readouterr().out
    shutil.rmtree("x")
    assert not pathlib.Path("x").exists()


def test_data_that_are_gone_are_said(finished, tmp_path, capsys):
    shutil.copytree(finished, "run")
    config = pathlib.Path("run/config.yaml")
    text = config.read_text()
    config.write_text(text.replace(str(finished.parent), "/gone"))
    command("--workdir=run", "--output=model")
    out = capsys.readouterr().out
    assert "random vectors, since the run's data cannot be read" in out
    assert "/gone/" in out


def test_a_model_that_differs_is_not_written(monkeypatch, tmp_path):
    classifier, stored, _ = made.computed("mlp")
    write = torch_format.write

    def wrong(*args, **options):
        done = write(*args, **options)
        return done._replace(logits=done.logits + np.float32(amount))

    monkeypatch.setattr(torch_format, "write", wrong)
    given = samples.Samples(stored, "that were drawn", "random")
    for amount in (0.002, np.nan):  # noqa: B007 (`wrong` adds it)
        with pytest.raises(errors.InputError, match=r"more than 0\.001"):
            writing.write(classifier, tmp_path, "torch", tmp_path / "model", given)
        assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_the_old_folder(finished, monkeypatch):
    command(f"--workdir={finished}", "--output=model", "--checked=3")
    old = pathlib.Path("model/model.json").read_text()
    rename = writing.os.rename

    def killed(source, target):
        if str(source).endswith(".tmp"):
            raise toy.Killed  # the old folder has made room, the new one has no name
        rename(source, target)

    monkeypatch.setattr(writing.os, "rename", killed)
    with pytest.raises(toy.Killed):
        command(f"--workdir={finished}", "--output=model", "--overwrite")
    assert pathlib.Path("model/model.json").read_text() == old
    assert list(pathlib.Path().iterdir()) == [pathlib.Path("model")]


def test_differences():
    ours = np.array([[1.0, 2.0], [3.0, 0.0]], np.float32)
    theirs = ours + np.array([[0.5, 0.0], [0.0, 4.0]], np.float32)
    found = comparison.difference(ours, theirs)
    assert (found.logits, found.agreeing, found.images) == (4.0, 1, 2)
    assert 0.6 < found.probabilities < 0.75
    with pytest.raises(errors.InputError, match=r"\[2, 3\].*\[2, 2\]"):
        comparison.difference(ours, np.zeros((2, 3), np.float32))


def test_the_command_is_listed():
    assert "export" in cli.listing()
