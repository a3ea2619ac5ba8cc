"""D_AcT killed at any moment and resumed: one real run, built and compiled once.

A run records what a kill would leave on the disk: at every write, and before each
training of the loss predictor. All that this leaves is resumed, in the same process.
"""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from dact_jax import run_types
from dact_jax.configuration import build
from dact_jax.rounds import actions, checkpoint, loop, workdir
from dact_jax.run_types import Experiment
from tests import toy

FILES = workdir.METRICS, workdir.PICKS
# Accuracy by the number of source samples that a trial network was trained on; of the
# target's, 0.5. The branches are then target, source, target.
ACCURACY = {8: 0.4, 16: 0.6, 24: 0.3}
OPTIONS = {
    "policies.dual.source_per_round": 8,
    "policies.dual.source_rounds": 3,
    "policies.dual.purchases": 2,
    "loss_predictor.steps": 2,
    "train.steps": 4,
    "train.save_every": 2,
}


class Moment(NamedTuple):
    """What a kill leaves on the disk."""

    saved: int  # number of checkpoints
    files: tuple[bytes, ...]  # metrics.jsonl and picks.csv


class Outcome(NamedTuple):
    experiment: Experiment
    rows: list  # of metrics.jsonl, without times
    picks: bytes  # picks.csv
    fits: int  # trainings of the loss predictor


class Disk:
    """The run's folder, watched: checkpoints are written once, and read back."""

    def __init__(self, folder, template):
        self.folder, self.template = folder, template
        self.store = checkpoint.open_store(folder / "checkpoints")
        self.checkpoints, self.moments = [], []
        self.fits, self.fits_saved = 0, []
        self.recording = True

    def look(self, *_):
        if self.recording:
            self.moments.append(Moment(len(self.checkpoints), self.read()))

    def read(self):
        paths = [self.folder / name for name in FILES]
        return tuple(path.read_bytes() if path.exists() else b"" for path in paths)

    def write(self, files):
        for name, content in zip(FILES, files, strict=True):
            (self.folder / name).write_bytes(content)

    def save(self, experiment):
        self.look()
        if self.recording:
            self.store.save(experiment)
            restored = self.store.restore(self.template)
            assert_same(restored, experiment)
            self.checkpoints.append(restored)
            self.fits_saved.append(self.fits)
            self.look()


def assert_same(one, other):
    """The same but for times, down to the types of the leaves."""
    one, other = (e._replace(seconds=0.0, written=(0, 0)) for e in (one, other))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert type(a) is type(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def watched(act, disk):
    """The real actions, with scripted accuracies and `disk` told of each step."""

    def lab(label):
        bound = act.lab(label)
        predictor, trained = bound.loss_predictor, []

        def fit(variables, pools, key):
            disk.look()
            disk.fits += 1
            trained.append(int(pools.source.sum()))
            return predictor.fit(variables, pools, key)

        def accuracy(variables):
            assert 0 <= predictor.accuracy(variables) <= 1
            return ACCURACY.get(trained[-1], 0.5)

        return bound._replace(
            loss_predictor=predictor._replace(fit=fit, accuracy=accuracy)
        )

    def record_picks(number, picked, label):
        act.record_picks(number, picked, label)
        disk.look()

    return act._replace(lab=lab, record_picks=record_picks)


@pytest.fixture(scope="module")
def disk_and_outcomes(tmp_path_factory):
    """The disk; the outcome of the whole run; {checkpoint: outcome of resuming it}."""
    folder = tmp_path_factory.mktemp("dual")
    run, _ = build.build(toy.vector_config(folder, "d_act", **OPTIONS))
    disk = Disk(folder, actions.template(run))
    store = checkpoint.Store(disk.save, disk.store.restore)
    show = run_types.Show(step=disk.look, round=disk.look, select=disk.look)
    act = watched(actions.bind(run, store, folder, show), disk)

    def go(experiment):
        disk.fits = 0
        experiment = experiment or actions.begin(run, act)
        experiment = loop.run(experiment, act, run.policy, run.key)
        rows = [
            {name: value for name, value in row.items() if "seconds" not in name}
            for row in workdir.read(folder)
        ]
        return Outcome(experiment, rows, disk.read()[1], disk.fits)

    whole = go(None)
    disk.recording = False
    # After `rewind`, all kills between two checkpoints leave the same.
    rewound = {}
    for moment in disk.moments:
        disk.write(moment.files)
        restored = disk.checkpoints[moment.saved - 1] if moment.saved else None
        workdir.rewind(folder, restored.written if restored else None)
        files = disk.read()
        assert rewound.setdefault(moment.saved, files) == files
    resumed = {}
    for number, files in rewound.items():
        disk.write(files)
        resumed[number] = go(disk.checkpoints[number - 1] if number else None)
    return disk, whole, resumed


def test_the_run_passes_every_line_and_branch(disk_and_outcomes):
    disk, whole, _ = disk_and_outcomes
    branches = [row["branch"] for row in whole.rows if "branch" in row]
    assert branches == ["target", "source", "target"]
    lines = {row["line"] for row in whole.rows if "line" in row}
    assert len(lines) == 5
    assert whole.experiment.round == 3
    # Each fit, row, and selection (`begin` is one, without a row); and each
    # save, seen before and after.
    selections = sum(row["event"] == "select" for row in whole.rows)
    seen = whole.fits + len(whole.rows) + selections + 1 + 2 * len(disk.checkpoints)
    assert len(disk.moments) == seen


def test_killed_at_any_moment_and_resumed_it_is_the_same_run(disk_and_outcomes):
    disk, whole, resumed = disk_and_outcomes
    assert sorted(resumed) == list(range(len(disk.checkpoints) + 1))
    for number, outcome in resumed.items():
        assert outcome.rows == whole.rows, f"resumed from checkpoint {number}"
        assert outcome.picks == whole.picks
        assert_same(outcome.experiment, whole.experiment)


def test_a_line_that_was_saved_is_not_executed_again(disk_and_outcomes):
    disk, whole, resumed = disk_and_outcomes
    assert whole.fits == 9
    for number, outcome in resumed.items():
        before = disk.fits_saved[number - 1] if number else 0
        assert outcome.fits == whole.fits - before
