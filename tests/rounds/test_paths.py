"""Every folder that a user may have works, or is refused before any work."""

import os
import pathlib
import tempfile

import jax.numpy as jnp
import numpy as np
import pytest

import dact_jax
from dact_jax import errors, runner
from dact_jax.rounds import checkpoint, workdir
from dact_jax.rounds.formats import trees
from tests import toy
from tests.crash import campaign

NAMES = [
    "lr[0.1]",
    "[sweep]/one",
    "x\\y",
    "back\\",
    "a*b",
    "a?b",
    "{a,b}",
    "a b ",
    'it\'s "so"',
    "50%",
    "a%20b",
    "a#b",
    "~",
    "$HOME",
    "a|b;c&d",
    "file:",
    "a:b@c",
    "<a>",
    "line\nend",
    "zwölf/数字",
    "u\u0308ber",  # an umlaut of two characters
    os.fsdecode(b"not-\xff-utf8"),
    "n" * 255,
    "/".join(["deep" * 50] * 8),
]


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_are_read_again_from_every_folder(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    tree = {"round": 0, "weights": jnp.arange(3.0)}
    trees.check_path(folder)
    store = checkpoint.open_store(folder)
    store.save({**tree, "round": 3})
    found = store.restore(tree)
    assert found["round"] == 3
    np.testing.assert_array_equal(found["weights"], [0, 1, 2])
    assert checkpoint.read(folder, {"round": 0})["round"] == 3
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert [path.name for path in tmp_path.iterdir()] == [name.split("/")[0]]


def test_a_folder_is_not_mistaken_for_one_that_its_name_would_match(tmp_path):
    for number, name in enumerate(("a*b", "axb", "a/b", "a\\b"), start=1):
        checkpoint.open_store(tmp_path / name).save({"round": number})
    for number, name in enumerate(("a*b", "axb", "a/b", "a\\b"), start=1):
        assert checkpoint.read(tmp_path / name, {"round": 0})["round"] == number


def test_a_relative_folder_and_a_link_are_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = pathlib.Path("sub", "..", "runs[1]")
    pathlib.Path("sub").mkdir()
    checkpoint.open_store(relative).save({"round": 1})
    (tmp_path / "link").symlink_to("runs[1]")
    checkpoint.open_store(tmp_path / "link").save({"round": 2})
    assert checkpoint.read(tmp_path / "runs[1]", {"round": 0})["round"] == 2


def test_no_link_stays_in_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "plain"))
    (tmp_path / "plain").mkdir()
    checkpoint.open_store(tmp_path / "[1]").save({"round": 1})
    assert list((tmp_path / "plain").iterdir()) == []
    assert checkpoint.read(tmp_path / "[1]", {"round": 0})["round"] == 1


def _config(folder):
    changes = {"train.steps": 4, "policies.single.purchases": 0}
    config = toy.vector_config(folder, "source_only", **changes)
    config.source = str(folder / "nowhere.npz")
    return config


def test_where_no_link_helps_the_folder_is_refused_before_data_are_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp[1]"))
    (tmp_path / "tmp[1]").mkdir()
    with pytest.raises(errors.InputError) as caught:
        runner.run(_config(tmp_path), tmp_path / "lr[0.1]")
    assert str(tmp_path / "lr[0.1]") in str(caught.value)
    assert "so has the folder for temporary files" in str(caught.value)
    assert not (tmp_path / "lr[0.1]").exists()


def test_where_links_are_forbidden_it_says_so(tmp_path, monkeypatch):
    def fail(self, target, target_is_directory):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(pathlib.Path, "symlink_to", fail)
    trees.check_path(tmp_path / "plain")
    with pytest.raises(errors.InputError, match="for it: Operation not permitted; use"):
        trees.check_path(tmp_path / "lr[0.1]")


@pytest.mark.parametrize("field", ["workdir", "pretrain.folder"])
def test_too_long_a_path_is_refused_before_data_are_read(tmp_path, field):
    config, long = _config(tmp_path), tmp_path.joinpath(*["x" * 200] * 20)
    folder = long if field == "workdir" else tmp_path / "run"
    if field == "pretrain.folder":
        config.pretrain.folder, config.pretrain.steps = str(long), 2
    with pytest.raises(errors.InputError, match=r"has \d{4} bytes: give one of at m"):
        runner.run(config, folder)


def test_a_name_that_the_system_refuses_is_told(tmp_path):
    with pytest.raises(OSError, match="name too long") as caught:
        runner.run(_config(tmp_path), tmp_path / ("n" * 256))
    assert errors.sentence(caught.value)


@pytest.mark.parametrize("field", ["workdir", "pretrain.folder"])
@pytest.mark.parametrize("name", ["", "new/run"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_data_are_read(
    tmp_path, monkeypatch, field, name
):
    config, locked = _config(tmp_path), tmp_path / "locked"
    config.source = str(tmp_path / "nowhere.npz")
    locked.mkdir()
    may = os.access  # the superuser may write anywhere
    monkeypatch.setattr(
        os, "access", lambda path, how: path != locked and may(path, how)
    )
    folder = locked / name if field == "workdir" else tmp_path / "run"
    if field == "pretrain.folder":
        config.pretrain.folder, config.pretrain.steps = str(locked / name), 2
    told = f"nothing may be written to .*: give another --.*{field}"
    with pytest.raises(errors.InputError, match=told):
        runner.run(config, folder)
    assert not any(locked.iterdir())
    monkeypatch.undo()
    with pytest.raises(errors.InputError, match="nowhere"):
        runner.run(config, folder)


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
def test_a_command_tells_it_in_one_sentence(tmp_path):
    ended = campaign.run(campaign.command(tmp_path, tmp_path / ("n" * 256), "s_act"))
    assert ended.code == 2
    assert ended.err.startswith(f"dact_jax: {tmp_path}/nnn")
    assert ended.err.endswith(
        ": File name too long; the folder of the run cannot be read, so give another "
        "--workdir.\n"
    )


def test_a_run_in_such_a_folder_goes_on_and_is_loaded(tmp_path, monkeypatch):
    config = toy.vector_config(tmp_path, "source_only", **{"train.steps": 8})
    plain, odd = tmp_path / "plain", tmp_path / "lr[0.1]" / "a\\b"
    whole = runner.run(config, plain)
    append = workdir.append

    def killed(folder, rows):
        append(folder, rows)
        if any(row["event"] == "train" and row["step"] == 6 for row in rows):
            raise toy.Killed

    with monkeypatch.context() as patch:
        patch.setattr(workdir, "append", killed)
        with pytest.raises(toy.Killed):
            runner.run(config, odd)
    assert runner.run(config, odd).accuracies == whole.accuracies
    assert runner.run(config, odd).finished_before
    vectors = np.zeros((2, 6), np.float32)
    expected = dact_jax.load(plain).predict(vectors)
    np.testing.assert_array_equal(dact_jax.load(odd).predict(vectors), expected)
