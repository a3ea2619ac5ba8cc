"""What one process compiled serves the next, and nothing damaged is ever read."""

import contextlib
import os
import subprocess
import sys
import warnings
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import monitoring

from dact_jax import compilation_cache, storage
from dact_jax.rounds import workdir


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
        with compilation_cache.kept(tmp_path / "inner"):  # the outer one stays
            pass
        raise KeyError
    assert [getattr(jax.config, name) for name in names] == before
    assert not (tmp_path / "inner").exists()


def test_a_cache_of_jax_s_own_is_left_alone(tmp_path):
    assert jax.config.jax_compilation_cache_dir  # that of the tests
    compute(tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_cache_where_jax_is_told_so(tmp_path, counted):
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        compute(tmp_path)
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not list(tmp_path.iterdir())


def test_programs_that_others_may_write_are_not_run(tmp_path, counted):
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o777)
    compute(root)
    assert not list(root.iterdir())


def test_a_folder_that_cannot_be_made_hinders_nothing(tmp_path, counted):
    (tmp_path / "file").write_text("")
    assert compute(tmp_path / "file" / "inside") == compute(tmp_path / "good")


def test_without_a_home_folder_nothing_is_kept(tmp_path, counted, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(storage.os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    compute(None)
    assert not list(tmp_path.iterdir())


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


_PROGRAM = """
import sys
from dact_jax import run, config
from jax._src import monitoring
seen = []
monitoring.register_event_listener(lambda name, **_: seen.append(name))
made = config("embeddings")
made.source, made.target = sys.argv[2:]
made.train.steps = made.train.save_every = made.train.chunk = 2
made.policies.single.purchases, made.figures = 1, False
run(made, sys.argv[1])
print(seen.count("/jax/compilation_cache/cache_misses"))
"""


def test_a_second_run_compiles_nothing_and_has_the_same_bits(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "home")}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    del environment["JAX_COMPILATION_CACHE_DIR"]
    domains, misses = [tmp_path / "source.npz", tmp_path / "target.npz"], []
    for seed, path in enumerate(domains):
        features = np.random.default_rng(seed).normal(size=(120, 8)).astype(np.float32)
        np.savez(path, features=features, label=np.arange(120) % 3)
    for name in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(tmp_path / name), *map(str, domains)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        misses.append(int(done.stdout.split()[-1]))
    assert misses[0] > 10
    assert misses[1] == 0
    rows = [numbers(tmp_path / name) for name in ("first", "second")]
    assert rows[0] == rows[1]
