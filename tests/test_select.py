"""The command that picks rows of a pool: what it reads, writes and rejects."""

import csv
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

from dact_jax import cells, errors, plugins, select, select_methods
from dact_jax.data.selection import picks, pools
from dact_jax.geometry import k_center
from dact_jax.geometry.coverage import herding
from dact_jax.types import Picked
from tests.fuzz import torch_seeds

N, F, K = 40, 5, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, F)).astype(np.float32)
LOGITS = RNG.normal(size=(N, K))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a user works: a pool, as .npy and .npz, and predictions of it."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("logits.npy", LOGITS)
    label = np.where(np.arange(N) < 4, 1, -1)
    path = np.array([f"é/{row}, really.png" for row in range(N)])
    np.savez("pool.npz", features=X, label=label, path=path)
    return tmp_path


def _select(*args):
    select.main(["select", *args])


def _table(path="picks.csv"):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _rows(path="picks.csv"):
    return [int(record["row"]) for record in _table(path)]


def _command(*args):
    return [sys.executable, "-m", "dact_jax.select", *args]


def test_the_command_in_a_process(folder):
    command = _command("--features=x.npy", "--budget=6", "--output=some.csv")
    environment = os.environ | {"PYTHONPATH": _root()}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (process.returncode, process.stderr) == (0, "")
    expected = k_center.select(X, 6)
    assert process.stdout.count("\n") == 1  # no bar
    summary = process.stdout.split()
    radius = f"{expected.score[-1]:.4g}"
    assert {"6", str(N), "k_center", f"{radius}.", "some.csv"} <= set(summary)
    table = _table("some.csv")
    assert list(table[0]) == ["order", "row", "score"]
    assert [record["order"] for record in table] == list("012345")
    assert _rows("some.csv") == expected.row.tolist()
    assert table[0]["score"] == ""  # no distance to anything
    scores = np.array([record["score"] for record in table[1:]], np.float32)
    np.testing.assert_array_equal(scores, expected.score[1:])  # every digit
    assert sorted(os.listdir()) == ["logits.npy", "pool.npz", "some.csv", "x.npy"]


def _root():
    return os.path.dirname(os.path.dirname(select.__file__))


# An XLA program that never ends in place of k-center: it says when it runs.
ENDLESS = """
import signal, sys
import jax, numpy as np
from dact_jax import select
from dact_jax.geometry import k_center
from dact_jax.types import Picked
from tests.fuzz import torch_seeds
signal.signal(signal.SIGINT, signal.default_int_handler)

def report(x):
    print("running", flush=True)
    return x

@jax.jit
def program(x):
    x = jax.pure_callback(report, jax.ShapeDtypeStruct((), np.float32), x)
    return jax.lax.while_loop(lambda x: x >= 0, lambda x: x * 0, x)

k_center.select = lambda *_, **__: program(np.float32(0)).block_until_ready()
select.main(sys.argv)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_does_not_wait_for_a_program_and_writes_nothing(folder, number):
    """The process can end only if it does not wait for the selection.

    Whoever started the tests may ignore SIGINT, so the script sets its handler.
    """
    before = sorted(os.listdir())
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, "--features=x.npy", "--budget=5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": _root()},
    ) as process:
        try:
            assert process.stdout.readline() == "running\n"
            process.send_signal(number)
            _, message = process.communicate(timeout=60)
        finally:
            process.kill()  # or leaving the block would wait for its end
    assert process.returncode == 128 + number
    # A new line below the bar, and one sentence.
    assert message == "\ndact_jax: stopped; picks.csv is not written.\n"
    assert sorted(os.listdir()) == before


def test_a_pool_on_disk_is_memory_mapped(folder):
    pool = pools.read(folder / "x.npy")
    assert isinstance(pool.features, np.memmap)
    assert pool.path is None
    assert not pool.labelled.any()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4", np.int8])
def test_any_real_numbers(folder, dtype):
    x = (10 * X).astype(dtype)
    np.save("other.npy", np.asfortranarray(x))
    _select("--features=other.npy", "--budget=5")
    assert _rows() == k_center.k_center(x.astype(np.float32), 5).tolist()


def test_rows_as_an_array(folder):
    _select("--features=x.npy", "--budget=6", "--output=picks.npy")
    row = np.load("picks.npy")
    assert row.dtype == np.int32
    np.testing.assert_array_equal(row, k_center.k_center(X, 6))


def test_a_pool_with_names_and_labels(folder, capsys):
    _select("--features=pool.npz", "--budget=3")
    assert _rows() == k_center.k_center(X, 3, labelled=[0, 1, 2, 3]).tolist()
    assert [r["path"] for r in _table()] == [f"é/{r}, really.png" for r in _rows()]
    summary = capsys.readouterr().out
    assert "(4 labelled" in summary
    assert "pool.npz" in summary
    (folder / "no.txt").write_text("\n")
    _select("--features=pool.npz", "--budget=3", "--labelled=no.txt", "--overwrite")
    assert _rows() == k_center.k_center(X, 3).tolist()
    assert "(0 labelled already, by no.txt)" in capsys.readouterr().out


def test_a_pool_without_names(folder):
    np.savez("bare.npz", features=X)
    _select("--features=bare.npz", "--budget=2")
    assert list(_table()[0]) == ["order", "row", "score"]


@pytest.mark.parametrize("form", ["rows", "mask", "text", "csv", "several", "none"])
def test_rows_that_are_labelled_already(folder, form, capsys):
    taken = [] if form == "none" else [7, 2]
    names = ["labelled.npy"]
    if form == "mask":
        np.save("labelled.npy", np.isin(np.arange(N), taken))
    elif form in ("rows", "none"):
        np.save("labelled.npy", np.array(taken + taken))
    elif form == "text":
        names = ["labelled.txt"]
        (folder / names[0]).write_text("\ufeff7\r\n\r\n 2 \r\n", encoding="utf-8")
    elif form == "csv":
        names = ["before.csv"]
        (folder / names[0]).write_text('order,path,row\n0,"a,\nb",7\n1,c,2\n')
    else:
        names = ["a.txt", "b.txt"]
        (folder / "a.txt").write_text("7")
        (folder / "b.txt").write_text("2\n7\n")
    flags = [f"--labelled={name}" for name in names]
    _select("--features=x.npy", "--budget=5", *flags)
    assert _rows() == k_center.k_center(X, 5, labelled=taken).tolist()
    summary = capsys.readouterr().out
    assert f"({len(taken)} labelled already, by {', '.join(names)})" in summary


def test_a_selection_continues_an_earlier_one(folder):
    _select("--features=x.npy", "--budget=4", "--output=first.csv")
    _select("--features=x.npy", "--budget=3", "--labelled=first.csv")
    assert _rows("first.csv") + _rows() == k_center.k_center(X, 7).tolist()


@pytest.mark.parametrize("method", select_methods.methods())
def test_every_method(folder, method, capsys):
    required = ["--features=x.npy", "--budget=4", f"--method={method}"]
    flags = [*required, "--labelled=taken.txt"]
    if plugins.needs_logits(method):
        flags.append("--logits=logits.npy")
    (folder / "taken.txt").write_text("0\n1\n2\n")
    for seed in "001":
        _select(*flags, f"--seed={seed}", f"--output={seed}.csv", "--overwrite")
        assert len({*_rows(f"{seed}.csv")} - {0, 1, 2}) == 4
    draws = method in ("random", "badge")
    may_draw = method in ("clue", "las", "typiclust", "prob_cover")
    assert (_rows("0.csv") != _rows("1.csv")) == draws or may_draw
    assert f"by {method} in" in capsys.readouterr().out
    if plugins.needs_logits(method):
        message = _error(capsys, *required)
        assert f"--method={method} " in message
        assert "--logits=" in message


def test_herding_is_that_of_the_package(folder):
    flags = ["--features=x.npy", "--budget=5", "--method=herding", "--labelled=3,4"]
    _select(*flags, "--option=sigma=2.5")
    assert _rows() == herding.herd(X, 5, labelled=[3, 4], scale=2.5).tolist()
    _select(*flags, "--option=normalize=True", "--output=unit.csv")
    unit = X / np.linalg.norm(X, axis=-1, keepdims=True)
    assert _rows("unit.csv") == herding.herd(unit, 5, labelled=[3, 4]).tolist()


def test_entropy_is_of_the_logits(folder):
    _select("--features=x.npy", "--budget=3", "--method=entropy", "--logits=logits.npy")
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    assert _rows() == np.argsort((p * np.log(p)).sum(-1))[:3].tolist()


def test_options_of_a_method(folder):
    _select("--features=x.npy", "--budget=4", "--option=features=normalized")
    unit = X / np.linalg.norm(X, axis=-1, keepdims=True)
    assert _rows() == k_center.k_center(unit, 4).tolist()
    assert select_methods.read_options("clue", ["restarts=3", "temperature=2"]) == {
        "restarts": 3,
        "temperature": 2,
    }


def test_help(capsys):
    _select("--help")
    text = " ".join(capsys.readouterr().out.split())  # absl breaks lines
    assert all(f"--{name}" in text for name in ("features", "budget", "labelled"))
    assert ", ".join(select_methods.methods()) in text
    assert {"aada", "predicted_loss"}.isdisjoint(select_methods.methods())


def _error(capsys, *args):
    """The one sentence that the command ends with; it leaves the folder as it was."""
    before = {name: os.stat(name).st_mtime_ns for name in os.listdir()}
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        _select(*args)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("dact_jax: ")
    assert printed.err.count("\n") == 1
    assert {name: os.stat(name).st_mtime_ns for name in os.listdir()} == before
    return printed.err


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("--features=", ("--features=", "--budget=")),
        ("--features=no.npy", ("no.npy", "--features")),
        ("--features=no.npz", ("no.npz",)),
        ("--features=.", ("--features=. is not a file",)),
        ("--features=line.npy", ("--features=line.npy", "[N, F]", "float32[40]")),
        ("--features=words.npy", ("--features=words.npy", "[N, F]", "<U1[2, 2]")),
        ("--features=objects.npy", ("--features=objects.npy", "numpy.save")),
        ("--features=cut.npy", ("--features=cut.npy", "numpy.save")),
        ("--features=zip.npy", ("--features=zip.npy", "numpy.save")),
        ("--features=text.txt", ("text.txt, line 2: 'two'", "number")),
        ("--features=empty.npy", ("--features=empty.npy", "float32[0, 3]")),
        ("--features=nan.npy", ("features", "row 7 ")),
        ("--features=nan.npy --method=badge --logits=logits.npy", ("row 7 ",)),
        ("--features=bare.npz", ("bare.npz", "features")),
        ("--budget=0", ("--budget=0 must be a positive integer.",)),
        ("--budget=-3", ("--budget=-3 ", "positive integer")),
        ("--budget=1e3", ("--budget=1e3 ", "positive integer")),
        ("--budget=41", ("--budget=41", "40 rows of x.npy")),
        ("--budget=39 --labelled=1.txt --labelled=2.txt", ("38 rows of x.npy",)),
        ("--seed=-1", ("--seed=-1 ", "[0, 4294967295]")),
        ("--seed=a", ("--seed=a ", "[0, 4294967295]")),
        ("--method=kcenter", ("--method=kcenter", "'k_center'")),
        ("--method=zzz", ("--method=zzz", "'badge', 'clue', ")),
        ("--method=aada", ("--method=aada", "only a run computes", "'k_center'")),
        ("--option=form=a", ("k_center", "--option=form", "'features'")),
        ("--option=features=unit", ("k_center.features='unit'", "'normalized'")),
        ("--option=features=head", ("k_center.features='head'",)),
        (
            "--method=clue --logits=logits.npy --option=restarts=1.5",
            ("--option=restarts=1.5", "int", "10"),
        ),
        (
            "--method=clue --logits=logits.npy --option=restarts=0",
            ("clue.restarts=0", "from 1 "),
        ),
        ("--method=entropy --logits=no.npy", ("no.npy", "--logits")),
        ("--method=entropy --logits=line.npy", ("--logits=line.npy", "[N, K]")),
        (
            "--method=entropy --logits=short.npy",
            ("--logits=short.npy", "40 rows", "39"),
        ),
        ("--method=entropy --logits=nan.npy", ("--logits=nan.npy", "row 7 ")),
        ("--labelled=no.txt", ("no.txt", "--labelled")),
        ("--labelled=no.npy", ("no.npy", "--labelled")),
        ("--labelled=x.npy", ("--labelled=x.npy", "bool[40]")),
        ("--labelled=mask.npy", ("--labelled=mask.npy", "bool[40]", "bool[39]")),
        ("--labelled=far.npy", ("far.npy: 40 ", "0 .. 39")),
        ("--labelled=far.txt", ("far.txt, line 3: -1 ", "0 .. 39")),
        ("--labelled=huge.txt", ("huge.txt, line 1: 1" + "0" * 30 + " ",)),
        ("--labelled=text.txt", ("text.txt, line 2: 'two' ",)),
        ("--labelled=one_line.txt", ("line 1: '3,4' ",)),
        ("--labelled=short.csv", ("short.csv, line 3: there must be 2 cells, not 1",)),
        ("--labelled=pool.npz", ("--labelled=pool.npz ", "one row number per line")),
        ("--output=there.csv", ("--output=there.csv", "--overwrite")),
        ("--output=a/b.csv", ("--output=a/b.csv", "folder a;")),
        ("--output=dir.csv --overwrite", ("--output=dir.csv", "folder")),
        ("--output=picks.txt", ("--output=picks.txt", ".csv or .npy")),
        ("--output=x.npy --overwrite", ("--output=x.npy", "input")),
        ("--buget=3", ("buget", "budget")),
        ("--features", ("--features",)),
        ("more.npy", ("'more.npy'", "--name=value")),
    ],
)
def test_one_sentence_names_what_is_wrong(folder, capsys, args, parts):
    _write_bad_files(folder)
    # The last of a flag that is given twice counts.
    message = _error(capsys, "--features=x.npy", "--budget=5", *args.split(" "))
    for part in parts:
        assert part in message, message


def _write_bad_files(folder):
    np.save("line.npy", X[:, 0])
    np.save("words.npy", np.array([["a", "b"], ["c", "d"]]))
    np.save("objects.npy", np.array([[1, {}]], object), allow_pickle=True)
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:-8])
    (folder / "zip.npy").write_bytes((folder / "pool.npz").read_bytes())
    np.save("empty.npy", np.zeros((0, 3), np.float32))
    np.save("nan.npy", np.where(np.arange(N)[:, None] == 7, np.nan, X))
    np.savez("bare.npz", x=X)
    np.save("short.npy", LOGITS[1:])
    np.save("mask.npy", np.zeros(N - 1, bool))
    np.save("far.npy", np.array([3, N]))
    texts = {
        "1.txt": "1\n",
        "2.txt": "1\n2\n",
        "far.txt": "3\n\n-1\n",
        "huge.txt": f"{10**30}\n",
        "text.txt": "1\ntwo\n",
        "one_line.txt": "3,4\n",
        "short.csv": "order,row\n0,5\n1\n",
        "there.csv": "mine\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "dir.csv").mkdir()


def test_a_folder_that_is_not_writable(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(errors.InputError, match="writable"):
        picks.check_output(folder / "a.csv", [], overwrite=False)


def test_an_old_file_stays_until_the_new_one_is_complete(folder, monkeypatch, capsys):
    (folder / "picks.csv").write_text("mine\n")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    before = sorted(os.listdir())
    with pytest.raises(SystemExit, match="2"):
        _select("--features=x.npy", "--budget=2", "--overwrite")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "dact_jax: picks.csv: No space left on device."
    assert (folder / "picks.csv").read_text() == "mine\n"
    assert sorted(os.listdir()) == before
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    _select("--features=x.npy", "--budget=2", "--overwrite")
    assert len(_rows()) == 2


def test_picks_of_a_pool_in_another_order_are_found_by_name(folder):
    path = np.array([f"{row}.jpg" for row in range(N)])
    np.savez("monday.npz", features=X, path=path)
    order = np.random.default_rng(1).permutation(N)
    np.savez("tuesday.npz", features=X[order], path=path[order])
    _select("--features=monday.npz", "--budget=10", "--output=first.csv")
    _select("--features=tuesday.npz", "--budget=20", "--labelled=first.csv")
    first, second = ({r["path"] for r in _table(n)} for n in ("first.csv", "picks.csv"))
    assert not first & second


def test_a_carriage_return_in_a_name_survives(folder):
    path = np.array([f"a\r{row}, \n=b.jpg" for row in range(N)])
    np.savez("pool.npz", features=X, path=path)
    _select("--features=pool.npz", "--budget=4", "--output=first.csv")
    names = [cells.restore(record["path"]) for record in _table("first.csv")]
    assert names == path[_rows("first.csv")].tolist()
    _select("--features=pool.npz", "--budget=4", "--labelled=first.csv")
    assert not {*_rows("first.csv")} & {*_rows()}


def test_the_first_pick_has_no_score_without_labelled_rows(folder):
    _select("--features=x.npy", "--budget=2")
    assert _table()[0]["score"] == ""
    assert float(_table()[1]["score"]) > 0
    _select("--features=x.npy", "--budget=2", "--labelled=17,4", "--overwrite")
    assert float(_table()[0]["score"]) > 0


@pytest.mark.parametrize("method", ["k_center", "random"])
def test_exact_copies_are_told(folder, method, capsys):
    np.save("few.npy", np.tile(X[:10], (6, 1)))
    _select("--features=few.npy", "--budget=50", f"--method={method}")
    note = capsys.readouterr().out.splitlines()[1]
    assert {"50", "40", "10"} <= set(note.replace(",", "").split())
    _select("--features=x.npy", "--budget=5", f"--method={method}", "--overwrite")
    assert capsys.readouterr().out.count("\n") == 1


def test_arrays_that_are_not_read_are_named(folder, capsys):
    np.savez("more.npz", features=X, caption=np.arange(N))
    _select("--features=more.npz", "--budget=2")
    assert "not read: caption." in capsys.readouterr().out


def test_probabilities_in_place_of_logits(folder):
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    np.save("p.npy", p)
    flags = ["--features=x.npy", "--budget=5", "--method=margin"]
    _select(*flags, "--logits=logits.npy", "--output=a.csv")
    _select(*flags, "--probabilities=p.npy", "--output=b.CSV")
    assert _rows("a.csv") == _rows("b.CSV")


def test_a_tensor_in_a_file_of_pytorch(folder, capsys):
    path, bias = folder / "x.pt", np.zeros(3, np.float32)
    tensors = {"bias": bias, "x": X}
    path.write_bytes(torch_seeds.zipped(torch_seeds.state(tensors), tensors))
    _select("--features=x.pt", "--budget=5")
    assert _rows() == k_center.k_center(X, 5).tolist()
    os.remove("picks.csv")
    tensors = {"x": X, "y": X}
    path.write_bytes(torch_seeds.zipped(torch_seeds.state(tensors), tensors))
    message = _error(capsys, "--features=x.pt", "--budget=2")
    assert "called features" in message
    path.write_bytes(b"anything")
    message = _error(capsys, "--features=x.pt", "--budget=2")
    assert "numpy.save('x.npy', torch.load('x.pt', weights_only=True)" in message


@pytest.mark.parametrize("method", ["k_center", "random", "clue"])
def test_rows_are_checked_whatever_the_method(folder, method, capsys):
    _write_bad_files(folder)
    flags = [f"--method={method}"]
    flags += ["--logits=logits.npy"] if method == "clue" else []
    message = _error(capsys, "--features=nan.npy", "--budget=2", *flags)
    assert "row 7 " in message
    np.save("far.npy", X.astype(np.float64) + 1e12)
    if method == "clue":
        message = _error(capsys, "--features=far.npy", "--budget=2", *flags)
        assert "subtract the mean" in message


def test_predictions_that_a_method_does_not_use_are_rejected(folder, capsys):
    message = _error(capsys, "--features=x.npy", "--budget=2", "--logits=logits.npy")
    assert "--method=k_center" in message
    assert "--logits=" in message


def test_no_warning_of_numpy_reaches_the_user(folder):
    np.save("half.npy", (1e4 * X).astype(np.float16))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        _select("--features=half.npy", "--budget=2")
    assert not seen


@pytest.fixture
def seen(monkeypatch):
    """What the method `margin` gets, if it reads all that there is."""
    found = []

    def make():
        def acquire(evidence, taken, budget, key):
            found.append(evidence)
            row = np.flatnonzero(~taken)[:budget].astype(np.int32)
            return Picked(row, np.zeros(budget, np.float32))

        return acquire

    margin = plugins.module("acquisitions", "margin")
    monkeypatch.setattr(margin, "make", make)
    monkeypatch.setattr(margin, "READS", ("input", "bought"), raising=False)
    return found


def _margin(features, *args):
    logits = "--logits=logits.npy"
    _select(f"--features={features}", "--budget=2", "--method=margin", logits, *args)


def test_a_method_sees_the_vectors_and_the_labels_that_are_known(folder, seen):
    label = np.where(np.arange(N) < 4, np.arange(N) % 3, -1)
    path = np.arange(N).astype(str)
    np.savez("some.npz", features=X, label=label, path=path, classes=["b", "a", "c"])
    _margin("some.npz")
    np.testing.assert_array_equal(seen[0].input, X)
    np.testing.assert_array_equal(seen[0].bought, label)
    assert seen[0].label is None
    with open("more.csv", "w") as file:
        file.write("row,path,label\n1,1,a\n7,7,b\n")
    _margin("some.npz", "--labelled=more.csv", "--output=b.csv")
    expected = np.full(N, -1)  # row 0 has a label that does not count now
    expected[[1, 7]] = 1, 0
    np.testing.assert_array_equal(seen[1].bought, expected)


def test_labels_in_text_are_classes_too(folder, seen):
    lines = [",".join(map(str, row)) for row in X]
    with open("x.csv", "w") as file:
        file.write("a,b,c,d,e,label\n")
        file.writelines(
            f"{line},{'cup' if row == 3 else 'bag' if row == 5 else ''}\n"
            for row, line in enumerate(lines)
        )
    _margin("x.csv")
    assert seen[0].bought[[3, 5]].tolist() == [1, 0]
    assert (seen[0].bought >= 0).sum() == 2
    with open("x.labels.txt", "w") as file:
        file.writelines("dog\n" if row == 8 else "\n" for row in range(N))
    _margin("x.npy", "--output=b.csv")
    assert np.flatnonzero(seen[1].bought == 0).tolist() == [8]
    _margin("logits.npy", "--output=c.csv")  # nothing is labelled
    assert (seen[2].bought == -1).all()


def test_a_method_that_reads_labels_is_given_all(folder, seen, capsys):
    (folder / "more.csv").write_text("row,label\n2,cat\n")
    (folder / "wrong.csv").write_text("row,label\n2,ct\n")
    np.savez("named.npz", features=X, label=np.full(N, -1), classes=["cat", "dog"])
    logits = ["--budget=2", "--method=margin", "--logits=logits.npy"]
    for args, expected in (
        (["--features=x.npy", "--labelled=2,3"], "row 2 has none: give them in x.npy"),
        (["--features=x.npy", "--labelled=more.csv", "--labelled=3"], "row 3 has none"),
        (
            ["--features=named.npz", "--labelled=wrong.csv"],
            "'ct' in named.npz; did you",
        ),
    ):
        message = _error(capsys, *args, *logits)
        assert expected in message, message
    assert not seen


def test_labels_that_no_method_reads_may_be_missing(folder):
    _select("--features=x.npy", "--budget=2", "--labelled=2,3")
