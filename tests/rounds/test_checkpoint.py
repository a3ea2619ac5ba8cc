import concurrent.futures
import errno
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from dact_jax import errors, storage
from dact_jax.rounds import checkpoint
from dact_jax.rounds.formats import manifest, trees
from dact_jax.run_types import Experiment, Track
from dact_jax.types import Pools, TrainState, Variables


def _experiment(number):
    params = {"encoder": {"w": jnp.full((2, 3), number / 3, jnp.float32)}}
    state = optax.sgd(0.1, momentum=0.9).init(params)
    train = TrainState(jnp.int32(number), Variables(params, {}, {}), state)
    pools = Pools(np.ones(3, bool), np.arange(4) < number)
    label = np.arange(4, dtype=np.int32)
    track = Track(number / 9, -1.0, number, 0.5, train.variables)
    return Experiment(number, pools, label, (), train, number / 7, track)


def test_what_was_saved_comes_back_bit_for_bit(tmp_path):
    store = checkpoint.open_store(tmp_path)
    assert store.restore(_experiment(0)) is None
    store.save(_experiment(1))
    store.save(_experiment(2))
    found = store.restore(_experiment(0))
    assert (found.round, found.seconds) == (2, 2 / 7)
    assert isinstance(found.round, int)
    assert isinstance(found.label, np.ndarray)
    assert found.pools.target.dtype == bool
    np.testing.assert_array_equal(found.pools.target, [True, True, False, False])
    weights = found.train.variables.params["encoder"]["w"]
    np.testing.assert_array_equal(weights, np.full((2, 3), 2 / 3, np.float32))
    assert (found.track.val, found.track.step) == (2 / 9, 2)
    np.testing.assert_array_equal(
        found.track.kept.params["encoder"]["w"], np.full((2, 3), 2 / 3, np.float32)
    )
    assert type(found.train.opt_state) is type(_experiment(0).train.opt_state)


def test_the_newest_two_stay(tmp_path):
    store = checkpoint.open_store(tmp_path)
    for number in range(4):
        store.save(_experiment(number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with checkpoints 1 and 2 and the files that they vouch for."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "record").write_text("rows")
    store = checkpoint.open_store(folder / "of", record=[folder / "record"])
    for number in (1, 2):
        store.save(_experiment(number))
    return folder / "of"


@pytest.fixture
def saved(two, tmp_path):
    """A copy of it, to be damaged."""
    return pathlib.Path(shutil.copytree(two, tmp_path / "checkpoints"))


def _flip(path, *, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _goes_on_from_1(folder, caplog, told):
    """The one before is taken, the damaged one is named and set aside, not deleted."""
    store = checkpoint.open_store(folder)
    assert store.restore(_experiment(0)).round == 1
    aside = folder.with_name("checkpoints_damaged")
    names = [path.name for path in aside.iterdir()]
    for name in names:
        (message,) = [text for text in caplog.messages if f"/{name} is dam" in text]
        assert told in message
        assert f"it is now {aside / name}, " in message
        assert "\n" not in message
    assert len(caplog.messages) == len(names)  # and no others, of orbax
    store.save(_experiment(3))
    assert store.restore(_experiment(0)).round == 3
    return names


def test_a_flipped_bit_in_any_file_is_noticed(two, tmp_path, caplog):
    """Each file in turn, in the middle."""
    files = [path.relative_to(two) for path in _files(two / "2")]
    assert len(files) > 5
    for number, name in enumerate(files):
        folder = tmp_path / str(number) / "checkpoints"
        shutil.copytree(two, folder)
        size = (folder / name).stat().st_size
        if size:
            _flip(folder / name, bit=4 * size)
            reason = manifest.damage(folder / "2")
            assert reason is not None
            assert name.name in reason
        if name.name == "manifest.ocdbt":
            assert _goes_on_from_1(folder, caplog, "is not what was saved") == ["2"]
            caplog.clear()


def test_no_bit_of_the_digests_may_change(two, tmp_path):
    folder = tmp_path / "2"
    shutil.copytree(two / "2", folder)
    path = folder / manifest.FILE
    for bit in range(3, 8 * path.stat().st_size, 101):
        _flip(path, bit=bit)
        if manifest.damage(folder) is None:  # blanks between values say nothing
            assert json.loads(path.read_text()) == json.loads(
                (two / "2" / manifest.FILE).read_text()
            )
        _flip(path, bit=bit)
    assert manifest.damage(folder) is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda place: [os.truncate(file, 0) for file in _files(place)], "missing or"),
        (lambda place: shutil.rmtree(place / "default"), "is missing"),
        (lambda place: shutil.rmtree(place / "default" / "d"), "is missing"),
        (lambda place: (place / manifest.FILE).unlink(), f"{manifest.FILE} is missing"),
        (lambda place: (place / manifest.FILE).write_text("[]"), "missing or damaged"),
        (lambda place: (place / manifest.FILE).write_text("[" * 99999), "or damaged"),
        (lambda place: (shutil.rmtree(place), place.mkdir()), "missing or damaged"),
        (lambda place: (shutil.rmtree(place), place.write_text("")), "is missing or"),
    ],
)
def test_what_is_damaged_gives_way_to_the_one_before(saved, caplog, damage, told):
    damage(saved / "2")
    assert _goes_on_from_1(saved, caplog, told) == ["2"]


def test_alien_folders_and_files_are_tried_each_for_itself(saved, caplog):
    (saved / "9999").mkdir()  # as a power cut can leave
    (saved / "77").write_text("")
    (saved / "3.tmp").mkdir()  # drafts of killed processes
    (saved / "4.orbax-checkpoint-tmp-12").mkdir()
    aliens = (".DS_Store", "notes", "0003", "\u00b2", "-1", "1e3", "keep.tmp")
    for name in aliens:
        (saved / name).mkdir()
        (saved / "2" / name).mkdir()
    store = checkpoint.open_store(saved)
    assert store.restore(_experiment(0)).round == 2
    aside = saved.with_name("checkpoints_damaged")
    assert {path.name for path in aside.iterdir()} == {"9999", "77"}
    assert len(caplog.messages) == 2
    store.save(_experiment(3))
    assert {path.name for path in saved.iterdir()} == {"2", "3", *aliens}


def test_what_was_set_aside_stays(saved):
    for _ in range(3):
        (saved / "9999").mkdir()
        assert checkpoint.open_store(saved).restore(_experiment(0)).round == 2
    aside = saved.with_name("checkpoints_damaged")
    assert {path.name for path in aside.iterdir()} == {"9999", "9999_2", "9999_3"}


def test_where_no_checkpoint_can_be_used_none_is_touched(saved, caplog):
    shutil.rmtree(saved / "1" / "default")
    (saved / "2" / manifest.FILE).unlink()
    before = _files(saved)
    with pytest.raises(errors.InputError) as caught:
        checkpoint.open_store(saved).restore(_experiment(0))
    assert re.fullmatch(
        rf"no checkpoint in {saved} can be read: 2: digests\.json is missing or "
        r"damaged; 1: default/\S+ is missing; none was changed\. .*",
        str(caught.value),
    )
    assert _files(saved) == before
    assert not saved.with_name("checkpoints_damaged").exists()
    assert caplog.messages == []


def test_a_checkpoint_of_another_network_is_refused_and_kept(saved):
    other = _experiment(0)
    variables = Variables({"another": jnp.ones(3)}, {}, {})
    other = other._replace(train=other.train._replace(variables=variables))
    with pytest.raises(errors.InputError, match="/2 is what was saved, but not by suc"):
        checkpoint.open_store(saved).restore(other)
    assert sorted(path.name for path in saved.iterdir()) == ["1", "2"]


def test_a_reader_takes_the_one_before_too_and_changes_nothing(saved, caplog):
    (saved / "9999").mkdir()
    _flip(max(_files(saved / "2"), key=lambda path: path.stat().st_size), bit=99)
    wanted = {"round": 0, "train": {"step": 0}}
    assert checkpoint.read(saved, wanted)["round"] == 1
    told = [text.removeprefix(f"{saved}/") for text in caplog.messages]
    assert told[0] == "9999 is damaged (digests.json is missing or damaged): 1 is used."
    assert re.fullmatch(
        r"2 is damaged \(.* is not what was saved\): 1 is used\.", told[1]
    )
    assert sorted(path.name for path in saved.iterdir()) == ["1", "2", "9999"]
    shutil.rmtree(saved / "1")
    with pytest.raises(errors.InputError, match=r"no readable .*: 9999: .*; 2: .* not"):
        checkpoint.read(saved, wanted)


def test_a_reader_looks_again_if_a_run_has_replaced_what_it_saw(
    saved, monkeypatch, caplog
):
    look = manifest.damage

    def damage(path):
        if path.name in ("1", "2") and path.exists():  # as two saves meanwhile
            path.rename(path.with_name(f"{int(path.name) + 2}"))
        return look(path)

    monkeypatch.setattr(manifest, "damage", damage)
    assert checkpoint.read(saved, {"round": 0})["round"] == 2
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("module", "name"), [(manifest, "_digest"), (trees, "read_part")]
)
def test_a_reader_looks_again_if_a_run_removes_what_it_reads(
    saved, monkeypatch, caplog, module, name
):
    read = getattr(module, name)

    def during(*arguments, **options):
        if (saved / "2").exists():  # as two saves meanwhile
            (saved / "1").rename(saved / "3")
            (saved / "2").rename(saved / "2.tmp")
        return read(*arguments, **options)

    monkeypatch.setattr(module, name, during)
    assert checkpoint.read(saved, {"round": 0})["round"] == 1
    assert caplog.messages == []


def _saved_by_an_earlier_version(folder, *, lacks=()):
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    with ocp.CheckpointManager(folder, options=options) as manager:
        for number in (1, 2):
            fields = _experiment(number)._replace(losses=np.full((1, 1), 0.5))._asdict()
            tree = {k: v for k, v in fields.items() if k not in lacks}
            tree = jax.tree.map(jnp.asarray, tree)
            manager.save(number, args=ocp.args.StandardSave(tree))


@pytest.mark.parametrize("lacks", [(), ("losses",), ("losses", "turn")])
def test_what_an_earlier_version_saved_is_read_with_a_warning(tmp_path, caplog, lacks):
    folder = tmp_path / "checkpoints"
    _saved_by_an_earlier_version(folder, lacks=lacks)
    caplog.clear()
    store = checkpoint.open_store(folder)
    template = _experiment(0)._replace(losses=np.zeros((1, 1), np.float32))
    found = store.restore(template)
    assert (found.round, found.seconds) == (2, np.float32(2 / 7))
    assert isinstance(found.round, int)
    assert found.losses == (0 if lacks else 0.5)
    assert found.turn is False
    assert type(found.train.opt_state) is type(template.train.opt_state)
    weights = found.train.variables.params["encoder"]["w"]
    np.testing.assert_array_equal(weights, np.full((2, 3), 2 / 3, np.float32))
    (told,) = caplog.messages
    assert told.startswith(f"{folder / '2'} was saved by an earlier version, without")
    assert checkpoint.read(folder, {"round": 0})["round"] == 2
    store.save(_experiment(3))
    assert manifest.damage(folder / "3") is None
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]


def test_damage_in_what_an_earlier_version_saved(tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    _saved_by_an_earlier_version(folder)
    shutil.rmtree(folder / "2" / "default")
    assert checkpoint.open_store(folder).restore(_experiment(0)).round == 1
    assert any("it is damaged, or of another network" in m for m in caplog.messages)


def test_a_failing_save_leaves_the_last_checkpoint_and_no_draft(saved, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = checkpoint.open_store(saved)
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "seal", fail)
        with pytest.raises(OSError, match="No space left") as caught:
            store.save(_experiment(3))
    assert caught.value.filename == str(saved / "3")
    assert sorted(path.name for path in saved.iterdir()) == ["1", "2"]
    store.save(_experiment(3))
    assert store.restore(_experiment(0)).round == 3


def test_a_checkpoint_notes_how_the_record_began(two, tmp_path):
    assert manifest.newest_record(two) == {
        "record": (4, hashlib.sha256(b"rows").hexdigest())
    }
    assert manifest.newest_record(tmp_path) == {}


def test_the_names_of_the_record_are_on_the_disk_before_a_checkpoint_counts(
    tmp_path, monkeypatch
):
    synced = []
    monkeypatch.setattr(storage, "flush_names", synced.append)
    (tmp_path / "2.tmp").mkdir()
    (tmp_path / "picks.csv").touch()
    manifest.seal(tmp_path / "2.tmp", [tmp_path / "picks.csv", tmp_path / "no" / "row"])
    assert synced == [tmp_path, tmp_path / "2.tmp"]


def test_a_save_that_was_cut_off_does_not_count(tmp_path):
    store = checkpoint.open_store(tmp_path)
    store.save(_experiment(1))
    torn = tmp_path / "2.orbax-checkpoint-tmp"  # what a kill leaves behind
    (torn / "default").mkdir(parents=True)
    (torn / "default" / "manifest.ocdbt").write_bytes(b"half")
    again = checkpoint.open_store(tmp_path)
    assert again.restore(_experiment(0)).round == 1
    again.save(_experiment(2))
    assert again.restore(_experiment(0)).round == 2


def test_saves_in_threads_leave_warnings_and_hooks_as_they_were(tmp_path):
    loggers = logging.getLogger("absl"), logging.getLogger("asyncio")
    before = sys.excepthook, sys.unraisablehook

    def save(number):
        store = checkpoint.open_store(tmp_path / str(number))
        for _ in range(3):
            store.save({"round": number})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(4)))
    assert not any(logger.disabled for logger in loggers)
    assert (sys.excepthook, sys.unraisablehook) == before
    for number in range(4):
        assert checkpoint.read(tmp_path / str(number), {"round": 0})["round"] == number
