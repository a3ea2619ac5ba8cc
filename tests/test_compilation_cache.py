"""What one process compiled serves the next, and nothing damaged is ever read."""

import contextlib
import errno
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import warnings
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import flagsaver
from jax._src import monitoring

from dact_jax import (
    campaigns,
    compilation_cache,
    errors,
    label,
    main,
    paths,
    runner,
    storage,
)
from dact_jax.configuration import files
from dact_jax.rounds import workdir
from tests.labelling import asking


@pytest.fixture
def counted(monkeypatch):
    """Counts what JAX compiles anew; its own cache, that of the tests, is off."""
    events = []
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    monitoring.register_event_listener(lambda name, **_: events.append(name))
    yield lambda: events.count("/jax/compilation_cache/cache_misses")
    monitoring.clear_event_listeners()
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.compilation_cache.reset_cache()


def compute(root, value=2.0):
    """A program that JAX has to compile or to read, as in a new process."""
    with compilation_cache.kept(root):
        return float(jax.jit(lambda x: jnp.sin(x) * 3 + value)(jnp.float32(1)))


def entries(root):
    return sorted(path for path in root.glob("*/*-cache.*"))


def test_a_later_process_compiles_nothing(tmp_path, counted):
    first = compute(tmp_path)
    assert counted() > 0
    assert entries(tmp_path)
    compiled = counted()
    assert compute(tmp_path) == first
    assert counted() == compiled
    assert not list(tmp_path.glob("*/process-*"))


@pytest.mark.parametrize("damage", [b"", b"other", None])
def test_a_damaged_entry_is_removed_and_compiled_again(tmp_path, counted, damage):
    first, kept = compute(tmp_path), entries(tmp_path)
    compiled = counted()
    for path in kept:
        content = path.read_bytes()
        path.write_bytes(content[:-1] if damage is None else damage)
    with warnings.catch_warnings(action="error"):
        assert compute(tmp_path) == first
    assert counted() == 2 * compiled
    assert [path.stem for path in entries(tmp_path)] == [path.stem for path in kept]
    assert compute(tmp_path) == first
    assert counted() == 2 * compiled


def test_of_an_entry_that_two_processes_compiled_one_stays(tmp_path, counted):
    first = compute(tmp_path)
    kept = entries(tmp_path)
    compiled = counted()
    for path in kept:
        content = zlib.compress(zlib.decompress(path.read_bytes()), 1)
        digest = compilation_cache._digest(content)
        path.with_suffix(f".{digest}").write_bytes(content)
    assert len(entries(tmp_path)) == 2 * len(kept)
    assert compute(tmp_path) == first
    assert counted() == compiled
    assert len(entries(tmp_path)) == len(kept)


def test_an_entry_that_a_full_disk_cut_is_not_shared(tmp_path, counted):
    with compilation_cache.kept(tmp_path):
        (own,) = tmp_path.glob("*/process-*")
        whole = zlib.compress(os.urandom(1000))
        (own / "jit_cut-1-cache").write_bytes(whole[:500])
        (own / "jit_empty-1-cache").write_bytes(b"")
        (own / "jit_whole-1-cache").write_bytes(whole)
    assert [path.name[:11] for path in entries(tmp_path)] == ["jit_whole-1"]


def test_settings_of_jax_are_as_before(tmp_path, counted):
    names = ["jax_compilation_cache_dir", *compilation_cache._SETTINGS]
    before = [getattr(jax.config, name) for name in names]
    with contextlib.suppress(KeyError), compilation_cache.kept(tmp_path):
        assert getattr(jax.config, names[0]) != before[0]
        raise KeyError
    assert [getattr(jax.config, name) for name in names] == before


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of kept programs where nobody names one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "dact_jax" / "compiled"


def test_by_default_programs_are_kept_in_the_user_s_caches(home, counted):
    compute("")
    assert entries(home)


def test_within_a_block_another_one_changes_nothing(tmp_path, home, counted):
    with compilation_cache.kept(tmp_path / "named"):
        compute("")
    assert entries(tmp_path / "named")
    assert not home.exists()


def test_a_cache_of_jax_s_own_is_left_alone_unless_a_folder_is_named(home, tmp_path):
    own = jax.config.jax_compilation_cache_dir
    assert own  # that of the tests
    compute("")
    assert not home.exists()
    compute(tmp_path / "named", value=3.0)
    assert entries(tmp_path / "named")
    assert jax.config.jax_compilation_cache_dir == own


def test_no_cache_where_jax_is_told_so_unless_a_folder_is_named(
    home, tmp_path, counted
):
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        compute("")
        compute(tmp_path / "named")
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not home.exists()
    assert entries(tmp_path / "named")


def test_none_keeps_and_reads_nothing(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    seen = []
    monitoring.register_event_listener(lambda name, **_: seen.append(name))
    compute("none", value=4.0)  # though the tests have a cache of JAX's own
    monitoring.clear_event_listeners()
    assert not [name for name in seen if name.endswith(("cache_hits", "cache_misses"))]
    assert not list(tmp_path.iterdir())


def test_programs_that_others_may_write_are_not_run(home, counted):
    home.mkdir(parents=True)
    home.chmod(0o777)
    compute("")
    assert not list(home.iterdir())


def test_a_folder_that_cannot_be_made_hinders_nothing(home, counted):
    home.parent.mkdir(parents=True)
    home.write_text("")
    assert compute("") == compute("none")


def test_without_a_home_folder_nothing_is_kept(tmp_path, counted, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(storage.os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    compute("")
    assert not list(tmp_path.iterdir())


def make_file(path):
    path.write_text("")


def make_open(path):
    path.mkdir()
    path.chmod(0o777)


BAD = {
    "bad": (make_file, "bad is not a folder"),
    "bad/inside": (lambda path: make_file(path.parent), "bad is not a folder"),
    "open": (make_open, "others may write to it"),
    "~nobody-of-that-name": (lambda path: None, "there is no user"),
}
COMMANDS = {
    "main": ["--config=configs/tiny.py", "--workdir=run"],
    "dry": ["--config=configs/tiny.py", "--workdir=run", "--dry_run"],
    "select": ["--features=none.npy", "--budget=3"],
    "embed": ["--images=photos", "--output=vectors.npz"],
    "predict": ["--workdir=run", "--images=photos", "--output=labels.csv"],
    "export": ["--workdir=run", "--output=model"],
    "label": ["--workdir=asked", "--train", "--port=0"],
}


@pytest.mark.filterwarnings("ignore:the load_module")  # of config_flags
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_used_is_told_by_each_command(
    command, bad, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    make, reason = BAD[bad]
    make(pathlib.Path(bad))
    asking.write(tmp_path / "asked")
    before = sorted(tmp_path.rglob("*"))
    module = importlib.import_module(f"dact_jax.{command.replace('dry', 'main')}")
    # Without app.run, which would change the logging of this process.
    monkeypatch.setattr(
        main.app, "run", lambda execute, argv, flags_parser: execute(flags_parser(argv))
    )
    argv = [command, *COMMANDS[command], f"--compilation_cache={bad}"]
    monkeypatch.setattr(sys, "argv", argv)  # config_flags reads it
    with pytest.raises(SystemExit) as caught, flagsaver.flagsaver():
        module.main(argv)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dact_jax: --compilation_cache=")
    assert reason in line
    assert sorted(tmp_path.rglob("*")) == before


def test_the_page_hands_the_folder_to_the_rounds_that_it_starts(tmp_path):
    assert label._command("--workdir=a", "")[-1] == "--workdir=a"
    command = label._command("--workdir=a", f"{tmp_path}")
    assert command[-2:] == ["--workdir=a", f"--compilation_cache={tmp_path}"]


def test_a_campaign_hands_the_folder_to_its_runs(tmp_path, monkeypatch):
    seen = []

    def run(*_, compilation_cache, **__):
        seen.append(compilation_cache)
        raise errors.StoppedError

    monkeypatch.setattr(runner, "run", run)
    config = files.load("tiny")
    with pytest.raises(errors.InputError, match="no user"):
        campaigns.campaign(config, tmp_path, compilation_cache="~nobody-of-that-name")
    asks = campaigns.campaign(config, tmp_path, compilation_cache=tmp_path / "programs")
    with pytest.raises(errors.StoppedError):
        asks.ask()
    assert seen == [str(tmp_path / "programs")]


def test_a_folder_that_may_not_be_written_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(paths.os, "access", lambda *_: False)
    with pytest.raises(errors.InputError, match=r"--compilation_cache=.*not writable"):
        compilation_cache.check(tmp_path)


def test_a_full_disk_is_told_where_the_folder_was_named(
    tmp_path, home, counted, monkeypatch
):
    def refuse(**_):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr(compilation_cache.tempfile, "mkdtemp", refuse)
    compute("")
    with pytest.raises(OSError, match="No space left"):
        compute(tmp_path)


def test_what_a_killed_process_compiled_is_kept(tmp_path, counted):
    with compilation_cache.kept(tmp_path):
        (own,) = tmp_path.glob("*/process-*")
        (own / "jit_whole-1-cache").write_bytes(zlib.compress(b"program"))
        (own / "jit_cut-1-cache").write_bytes(zlib.compress(os.urandom(1000))[:500])
        # A process that is gone holds no lock.
        killed = pathlib.Path(shutil.copytree(own, own.with_name("process-killed")))
        (own / "jit_whole-1-cache").unlink()
        with compilation_cache.kept(tmp_path):
            (other,) = {*tmp_path.glob("*/process-*")} - {own}
            assert (other / "jit_whole-1-cache").exists()
        assert own.exists()
        assert not killed.exists()
        assert [path.name[:11] for path in entries(tmp_path)] == ["jit_whole-1"]


def test_the_oldest_entries_go_first(tmp_path, counted, monkeypatch):
    compute(tmp_path)
    old = entries(tmp_path)
    for path in old:
        os.utime(path, (1, 1))
    size = sum(path.stat().st_size for path in old)
    monkeypatch.setattr(compilation_cache, "LIMIT", size + 200)
    compute(tmp_path, value=5.0)
    left = entries(tmp_path)
    assert sum(path.stat().st_size for path in left) <= size + 200
    assert set(left) - set(old)


def numbers(folder):
    """What a run recorded, without its seconds."""
    rows = [
        {name: value for name, value in row.items() if not name.startswith("seconds")}
        for row in workdir.read(folder)
    ]
    return rows, workdir.read_picks(folder)


# Runs of several kinds in one process: each has two purchases, and evaluations.
_PROGRAM = """
import json, pathlib, sys
from jax._src import monitoring
from dact_jax import config, run
from dact_jax.rounds import workdir

place, source, target, programs = sys.argv[1:]
seen, compiled = [], {}
monitoring.register_event_listener(lambda name, **_: seen.append(name))

def record(name, seconds, **_):
    if name == "/jax/core/compile/backend_compile_duration":
        rows = workdir.read(folder) if folder.exists() else []
        finished = sum(row["event"] == "round" for row in rows)
        compiled.setdefault(folder.name, []).append(finished)

monitoring.register_event_duration_secs_listener(record)
for name in ("s_act", "s_clue", "d_act", "badge"):
    folder = pathlib.Path(place, name)
    made = config(f"embeddings:preset={'s_act' if name == 'badge' else name}")
    if name == "badge":
        made.acquisition = "badge"
    made.source, made.target, made.figures = source, target, False
    made.train.steps = made.train.save_every = 4
    made.train.chunk = made.eval.every = made.loss_predictor.steps = 2
    made.loss_predictor.batch = 16
    for policy in (made.policies.single, made.policies.dual):
        policy.purchases = 2
        policy.initial, policy.per_round = 7, 5
    made.policies.dual.source_per_round = 20
    run(made, folder, compilation_cache=programs)
misses = seen.count("/jax/compilation_cache/cache_misses")
print(json.dumps({"misses": misses, "compiled": compiled}))
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """The same runs in two processes: what each compiled, and their folders."""
    place = tmp_path_factory.mktemp("runs")
    domains, told = [place / "source.npz", place / "target.npz"], []
    for seed, path in enumerate(domains):
        features = np.random.default_rng(seed).normal(size=(150, 8)).astype(np.float32)
        np.savez(path, features=features, label=np.arange(150) % 3)
    for name in ("first", "second"):
        arguments = [place / name, *domains, place / "programs"]
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout.splitlines()[-1]))
    return told, place


def test_a_second_run_compiles_nothing_and_has_the_same_bits(two_processes):
    (first, second), place = two_processes
    assert first["misses"] > 40
    assert second["misses"] == 0
    for name in ("s_act", "s_clue", "d_act", "badge"):
        rows = [numbers(place / process / name) for process in ("first", "second")]
        assert rows[0] == rows[1]


@pytest.mark.parametrize("name", ["s_act", "s_clue", "d_act", "badge"])
def test_nothing_is_compiled_after_round_1(two_processes, name):
    """Nor read from the disk: each program is there since round 0 or 1."""
    for process in two_processes[0]:
        finished = process["compiled"][name]  # rounds, at each compilation
        assert finished
        assert max(finished) <= 1
