"""The command that a user types, on real digits: its result, its folder, its resume."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import dact_jax
from dact_jax import main
from dact_jax.data.readers import digits, printed
from dact_jax.rounds import workdir
from tests.crash import campaign

pytestmark = pytest.mark.filterwarnings("ignore:the load_module")  # of config_flags

CONFIG = "configs/tiny.py"
SHORT = [
    "--config.train.steps=40",
    "--config.train.chunk=10",
    "--config.train.save_every=20",
    "--config.policies.single.purchases=2",
    "--config.figures=False",
]


def _command(folder, preset, *options):
    """The command; `preset` may name another config too, as "embeddings:preset=..."."""
    spec = f"{CONFIG}:{preset}" if preset.startswith("preset=") else preset
    command = [sys.executable, "-m", "dact_jax.main", f"--config={spec}"]
    return [*command, f"--workdir={folder}", *options]


@pytest.fixture
def run(monkeypatch):
    """Does the command in this process, which compiles once, and returns its output."""
    monkeypatch.setattr(  # the rest of it would change the logging of this process
        main.app, "run", lambda execute, argv, flags_parser: execute(flags_parser(argv))
    )

    def run(folder, preset, *options, code=0):
        ended = campaign.run(["main", *_command(folder, preset, *options)[3:]])
        assert ended.code == code, ended.err
        return ended.err if code else ended.out

    return run


def _begun(folder, preset, *options):
    """A process of its own does the command."""
    return subprocess.Popen(
        _command(folder, preset, *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _as_users():
    """One device, as on a user's CPU, and programs compiled as there."""
    return {**os.environ, "XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The digits of the tiny config in files: a process reads them in no time."""
    folder = tmp_path_factory.mktemp("digits")
    source = printed.load(size=16, per_class=150)
    target = digits.uci(size=16, channels=1)
    for name, data in (("source", source), ("target", target)):
        image, label = np.asarray(data.image), np.asarray(data.label)
        order = np.random.default_rng(0).permutation(len(label))
        last = len(label) // 3
        test, train = order[:last], order[last:]
        np.savez(
            folder / f"{name}.npz",
            x_train=image[train],
            y_train=label[train],
            x_test=image[test],
            y_test=label[test],
        )
    return [f"--config.{name}={folder / name}.npz" for name in ("source", "target")]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """Vectors of ten classes: networks on them compile in no time."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(10, 32))
    for shift, name in enumerate(("source", "target")):
        label = np.arange(600) % 10
        features = centers[label] + 0.5 * shift + rng.normal(size=(600, 32))
        np.savez(folder / f"{name}.npz", features=features, label=label)
    return [f"--config.{name}={folder / name}.npz" for name in ("source", "target")]


def _rows(folder):
    """All rows without the seconds, which no two runs share."""
    rows = workdir.read(folder)
    return [
        {k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows
    ]


def _accuracies(folder):
    return [row["test_accuracy"] for row in _rows(folder) if row["event"] == "round"]


def test_active_adaptation_beats_source_only_and_leaves_its_files(tmp_path):
    config = dact_jax.config("tiny:preset=source_only", figures=False)
    dact_jax.run(config, tmp_path / "source")
    active, plain = tmp_path / "active", "--config.figures=False"
    done = subprocess.run(
        _command(active, "preset=s_act", plain),
        capture_output=True,
        text=True,
        env=_as_users(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = done.stdout
    (alone,) = _accuracies(tmp_path / "source")
    adapted = _accuracies(tmp_path / "active")
    assert adapted[-1] > alone + 0.15
    assert len(adapted) == 3
    last = workdir.read(tmp_path / "active")[-1]
    assert (last["labels_target"], last["labels_val"]) == (30, 30)
    assert last["source_samples"] == 4000
    folder = tmp_path / "active"
    for name in ("config.yaml", "metrics.jsonl", "picks.csv", "report.md"):
        assert (folder / name).stat().st_size > 0
    assert f"Report: {folder / 'report.md'}\nPage: {folder / 'report.html'}\n" in out
    assert (folder / "report.html").exists()
    with Image.open(folder / "learning_curve.png") as curve:
        assert curve.format == "PNG"
    assert "\x1b" not in out  # quiet: no terminal, no control codes
    picks = workdir.read_picks(folder)
    assert [pick.round for pick in picks] == [0] * 10 + [1] * 10 + [2] * 10
    assert len({pick.id for pick in picks}) == 30
    assert {pick.checkpoint for pick in picks} == {"", "0/100", "1/100"}
    report = (folder / "report.md").read_text()
    assert f"{100 * adapted[-1]:.2f}" in report


STAGED = [
    *SHORT,
    "--config.pretrain.steps=40",
    "--config.eval.every=10",
    "--config.eval.keep=best_val",
]


def test_killed_in_any_stage_and_started_again_it_is_the_same_run(
    tmp_path, vectors, run
):
    s_act = "embeddings:preset=s_act"
    staged = [*STAGED, *vectors]
    run(tmp_path / "whole", s_act, *staged)
    killed = tmp_path / "killed"
    stage = killed / "pretrained"
    # Both between two checkpoints; `tests.crash` kills at every other moment.
    for folder, place in ((stage, (0, 30)), (killed, (1, 10))):
        with _begun(killed, s_act, *staged) as process:
            _wait_for(folder, place, process)
            process.send_signal(signal.SIGKILL)
    out = run(killed, s_act, *staged)
    assert _rows(stage) == _rows(tmp_path / "whole" / "pretrained")
    assert _rows(killed) == _rows(tmp_path / "whole")  # floats as text: every bit
    assert (killed / "picks.csv").read_bytes() == (
        tmp_path / "whole" / "picks.csv"
    ).read_bytes()
    for finished in ("pre-training:", "round 0:"):
        assert finished not in out  # it went on, it did not start over
    events = [row["event"] for row in _rows(killed)]
    assert (events[0], events.count("pretrain"), events.count("eval")) == (
        "pretrain",
        1,
        9,
    )

    before = _contents(killed)
    again = run(killed, s_act, *staged)
    assert "finished" in again
    assert _contents(killed) == before


def test_killed_while_it_chooses_source_samples_it_is_the_same_run(
    tmp_path, vectors, run
):
    d_act = "embeddings:preset=d_act"
    short = [
        *SHORT,
        *vectors,
        "--config.policies.dual.purchases=2",
        "--config.policies.dual.source_rounds=2",
        "--config.loss_predictor.steps=20",
        "--config.loss_predictor.batch=16",
    ]
    short += ["--config.policies.dual.source_per_round=200"]
    out = run(tmp_path / "whole", d_act, *short)
    last = workdir.read(tmp_path / "whole")[-1]
    assert (last["labels_target"], last["labels_val"]) == (30, 30)
    assert last["source_samples"] == 400
    assert out.count("loss predictor") == out.count("validation accuracy") == 2
    killed = tmp_path / "killed"
    for lines in (3, 6):  # of Algorithm 2 that are done
        with _begun(killed, d_act, *short) as process:
            _wait(killed, lambda rows, n=lines: _lines(rows) >= n, process)
            process.send_signal(signal.SIGKILL)
    run(killed, d_act, *short)
    assert _rows(killed) == _rows(tmp_path / "whole")
    assert (killed / "picks.csv").read_bytes() == (
        tmp_path / "whole" / "picks.csv"
    ).read_bytes()
    picks = workdir.read_picks(killed)
    kept = [pick for pick in picks if pick.side == "source"]
    assert len({pick.id for pick in kept}) == len(kept) == 400
    assert {pick.acquisition for pick in kept} == {"predicted_loss"}
    assert {pick.checkpoint for pick in kept} == {"predictor/1", "predictor/2"}
    report = (killed / "report.md").read_text()
    pool = last["source_pool"]
    assert f"400 of {pool}" in report
    assert f"| {pool} |" in report  # source labels read, to rank or to train


def _lines(rows):
    return sum(row["event"] == "select" for row in rows)


def _wait_for(folder, place, process):
    """Until metrics.jsonl holds a training row of that place or a later one."""

    def there(rows):
        return any(
            row["event"] == "train" and (row["round"], row["step"]) >= place
            for row in rows
        )

    _wait(folder, there, process)


def _wait(folder, there, process):
    """Until the rows of metrics.jsonl are as wanted."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if there(workdir.read(folder)):
            return
        time.sleep(0.005)
    pytest.fail(f"the rows did not come; exit code {process.poll()}")


def _contents(folder):
    files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in files}


# The largest steps that a config may ask for: weights of about 1e12.
RUINOUS = [
    "--config.train.learning_rate=1e6",
    "--config.train.multipliers.encoder=1e6",
    "--config.train.multipliers.classifier=1e6",
    "--config.train.bias_multiplier=1e6",
]


def test_a_loss_that_becomes_nan_stops_the_run_and_keeps_the_checkpoint(
    tmp_path, drawn, run
):
    short = [*SHORT, *drawn, *RUINOUS]
    told = run(tmp_path / "run", "preset=s_act", *short, code=2)
    (line,) = told.strip().split("\n")
    assert "round 0: " in line
    assert "at step " in line
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["1"]


def test_weights_ruined_by_the_last_update_are_not_kept(tmp_path, drawn, run):
    short = [*drawn, "--config.train.steps=1", *RUINOUS]
    told = run(tmp_path / "run", "preset=source_only", *short, code=2)
    assert "round 0: " in told
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["1"]


@pytest.fixture
def interruptible():
    """Jobs in the background ignore Ctrl-C, and so would their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_stopped_by_ctrl_c_it_says_how_to_go_on(tmp_path, vectors):
    with _begun(tmp_path / "run", "embeddings:preset=s_act", *vectors) as process:
        _wait_for(tmp_path / "run", (0, 25), process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from" in err
    assert "Traceback" not in err


def test_own_photos_with_a_norm_a_domain_from_disk_as_from_the_device(tmp_path):
    _photos(tmp_path)
    rows = {}
    for place, device_bytes in (("disk", 0), ("device", 2**30)):
        options = {
            "data.source": tmp_path / "studio",
            "data.target": tmp_path / "phone",
            "data.channels": 3,
            "data.size": 20,
            "data.flip": True,
            "data.mean": (0.5, 0.5, 0.5),
            "data.std": (0.5, 0.5, 0.5),
            "data.device_bytes": device_bytes,
            "model.batch_norm": True,
            "model.num_norms": 2,
            "policies.single.initial": 4,
            "policies.single.per_round": 4,
            "policies.single.purchases": 1,
            "train.batch_source": 8,
            "train.batch_target": 8,
            "train.batch_unlabeled": 8,
        }
        short = {"train.steps": 20, "train.chunk": 10, "train.save_every": 10}
        config = dact_jax.config("tiny", figures=False, **short, **options)
        dact_jax.run(config, tmp_path / place)
        rows[place] = _rows(tmp_path / place)
        ids = {pick.id for pick in workdir.read_picks(tmp_path / place)}
        assert len(ids) == 8
        assert all(id.startswith("phone/") for id in ids)
    assert len(_accuracies(tmp_path / "disk")) == 2
    # The same images in the same order; the programs differ, so not every bit agrees.
    for disk, device in zip(rows["disk"][:2], rows["device"][:2], strict=True):
        assert disk["loss"] == pytest.approx(device["loss"], rel=1e-3)


def _photos(root):
    rng = np.random.default_rng(0)
    for domain, light in (("studio", 120), ("phone", 60)):
        for name, stripe in (("flat", 1), ("striped", 4)):
            folder = root / domain / name
            folder.mkdir(parents=True)
            for i in range(24):
                pixels = rng.integers(0, light, (20, 20, 3))
                pixels[:, ::stripe] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.jpg")
