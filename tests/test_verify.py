"""Published rows: their fingerprints, and how they are made again."""

import pytest

from dact_jax import errors
from experiments import fingerprints, published_rows, runs, stamp, tables, verify

FILES = sorted(path.stem for path in runs.RESULTS.glob("*.json"))


@pytest.fixture
def tree(tmp_path):
    """A package of which `a` imports `b` and what draws reports."""
    files = {
        "a": "from dact_jax import b\nfrom dact_jax.reports import page\nX = b.Y\n",
        "b": '"""Doc."""\nY = 1  # one\n',
        "c": "Z = 1\n",
        "reports/page": "W = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "dact_jax" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def fingerprint(**changes):
        for name, text in changes.items():
            path = tmp_path / "dact_jax" / f"{name.replace('_', '/')}.py"
            path.write_text(text)
        fingerprints._read.cache_clear()
        fingerprints._of.cache_clear()
        return fingerprints.of(["dact_jax.a", "dact_jax.gone"], tmp_path)

    return fingerprint


def test_a_fingerprint_is_of_the_code_that_a_module_needs(tree):
    first = tree()
    assert len(first) == 16
    assert tree(b='"""Other\n\nwords."""\n\nY = 1\n') == first
    assert tree(c="Z = 2\n") == first  # nothing imports it
    assert tree(reports_page="W = 2\n") == first  # it only shows
    assert tree(b="Y = 2\n") != first
    assert tree(b='Y = "#1"\n') != tree(b='Y = "#2"\n')  # no comment


def test_code_keeps_what_runs():
    text = 'def f():\n    """Doc."""\n    return "# x"  # y\n\n\nclass A:\n    "D."\n'
    assert fingerprints.code(text) == 'def f():\n    return "# x"\nclass A:'


@pytest.mark.parametrize("name", FILES)
def test_every_published_row_has_a_fingerprint_and_a_way_to_be_made(name):
    rows = published_rows.read(name)
    assert rows
    for row in rows:
        # A row without one was made by older code: python -m experiments.stamp --commit
        assert len(row.get("code", "")) == 16
        assert tables.modules(name, row)
    assert (name in tables.TABLES) != (name in fingerprints.TIMED)


def test_rows_of_one_kind_have_one_fingerprint_and_others_another():
    row = {"method": "dann", "task": "photo → cartoon", "seed": 0}
    found = tables.fingerprint("embeddings", row)
    assert tables.fingerprint("embeddings", {**row, "seed": 3}) == found
    other = tables.fingerprint("embeddings", {**row, "method": "jan"})
    assert other != found
    with pytest.raises(errors.InputError, match="gone"):
        tables.modules("embeddings", {**row, "method": "gone"})
    with pytest.raises(errors.InputError, match=r"does not say .* unknown\.json"):
        tables.modules("unknown", row)


def test_a_row_of_the_table_of_acquisitions_depends_on_both_of_its_acquisitions():
    row = {"task": "photo → cartoon", "adaptation": "mme", "seed": 1}
    chosen = {"acquisition": "u_herding, input", "start": "herding"}
    found = tables.modules("acquisitions", {**row, **chosen})
    for name in ("acquisitions.u_herding", "acquisitions.herding", "methods.mme"):
        assert f"dact_jax.{name}" in found
    assert "dact_jax.acquisitions.clue" not in found


def test_times_are_not_compared():
    stored = {"accuracy": [0.5, 0.7], "seconds": 1.0, "code": "a", "only_there": 1}
    made = {"accuracy": [0.5, 0.7], "seconds": 2.0, "code": "b", "new": 2}
    assert tables.differences(stored, made) == {}
    made["accuracy"] = [0.5, 0.6]
    assert tables.differences(stored, made) == {"accuracy": ([0.5, 0.7], [0.5, 0.6])}


def test_a_draw_is_of_that_share_and_can_be_repeated():
    rows = [verify.Drawn("a", number, {}) for number in range(100)]
    first = verify.draw(rows, 0.05, 1)
    assert len(first) == 5
    assert first == verify.draw(rows, 0.05, 1)
    assert first != verify.draw(rows, 0.05, 2)
    assert first == sorted(first, key=lambda one: one.number)
    assert len(verify.draw(rows[:3], 0.05, 1)) == 1
    assert verify.draw(rows, 0.0, 1) == []
    assert verify.draw(rows, 1.0, 1) == rows


def _table(accuracy):
    def again(row, places):
        if row["seed"] == 2:
            raise errors.InputError("there is no file x.npz.")
        return {**row, "accuracy": accuracy[row["seed"]], "seconds": 5.0}

    return tables.Table(again, lambda row: ["dact_jax.ops"])


def test_the_command_says_which_rows_differ(tmp_path, monkeypatch, capsys):
    rows = [{"method": "m", "seed": s, "accuracy": 0.5, "seconds": 1} for s in range(3)]
    runs.write(tmp_path / "mine.json", rows)
    runs.write(tmp_path / "startup.json", [{"code": "0"}])
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    monkeypatch.setitem(tables.TABLES, "mine", _table([0.5, 0.25]))
    tables._modules.cache_clear()
    with pytest.raises(SystemExit) as stop:
        verify.main(["verify", "--share=1", "--draw=4"])
    assert stop.value.code == 1
    text = capsys.readouterr().out
    assert "mine.json: 0 of 3 rows have the fingerprint of today's code, 3 have" in text
    assert "4 of 4 rows are made again (--draw=4)." in text
    assert "mine.json, row 1 (method m, seed 0): same" in text
    assert "(method m, seed 1): differs: accuracy was 0.5 and is 0.25" in text
    assert "(method m, seed 2): not verifiable: there is no file x.npz" in text
    assert "startup.json, row 1 (): not verifiable: its numbers are times" in text
    assert "Of 4 rows 1 are the same and 1 differ; 2 are not verifiable." in text
    monkeypatch.setitem(tables.TABLES, "mine", _table([0.5, 0.5]))
    verify.main(["verify", "--share=1", "--tables=mine"])  # exit code 0
    with pytest.raises(SystemExit):
        verify.main(["verify", "--share=2"])
    assert "--share=2.0 must be at most 1" in capsys.readouterr().err


def test_older_trees_count_as_a_whole(tmp_path):
    (tmp_path / "dact_jax").mkdir()
    (tmp_path / "dact_jax" / "old.py").write_text("X = 1\n")
    (tmp_path / "dact_jax" / "__init__.py").write_text("")
    assert stamp._there(["dact_jax.old"], tmp_path) == ["dact_jax.old"]
    found = stamp._there(["dact_jax.new"], tmp_path)
    assert found == ["dact_jax.new", "dact_jax", "dact_jax.old"]
