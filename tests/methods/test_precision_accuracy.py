"""Accuracies after training in bfloat16 are those after float32, over five seeds."""

import numpy as np
import pytest

from dact_jax import keys
from dact_jax.configuration import build
from dact_jax.training import feeding, inference, loop, step
from dact_jax.types import TARGET, Pools
from experiments import precision, runs
from tests import toy

BAND = 0.05  # of the mean over seeds
STEPS = 40


def accuracies(folder, name):
    """Of five networks, each from other first weights, on the target's test images."""
    changes = {"train.steps": STEPS, "train.chunk": STEPS, "train.save_every": STEPS}
    config = toy.vector_config(folder, **changes, **{"train.precision": name})
    run, _ = build.build(config)
    fit, test = loop.make_fit(run), run.task.target.test
    label = np.asarray(run.task.target.train.label)
    pools = Pools(
        np.ones(len(run.task.source.train.label), bool), np.arange(len(label)) < 9
    )
    found = []
    for seed in range(5):
        key = keys.root(seed)
        variables = run.model.init(key, test.image.shape[1:])
        state = step.init_state(variables, run.optimizer(STEPS))
        chunks = feeding.draw_chunks(run, pools, label, key, 0, STEPS)
        *_, last = fit(state, chunks, key, STEPS, loop.pack({}, STEPS))
        swept = inference.sweep(
            run.forward, last.state.variables, test, TARGET, batch_size=32
        )
        found.append(inference.accuracy(swept.outputs["classifier"], test.label))
    return np.array(found)


def test_training_in_bfloat16_reaches_the_accuracy_of_float32(tmp_path):
    exact, rounded = (accuracies(tmp_path, name) for name in precision.PRECISIONS)
    assert exact.mean() > 0.6  # a third is guessing
    assert abs(rounded.mean() - exact.mean()) < BAND


def test_the_tiny_runs_that_were_measured_are_within_the_band():
    rows = runs.read(runs.RESULTS / "precision.json")
    found = precision.differences(rows) / 100
    assert found.shape == (5, 3)  # seeds, rounds
    assert np.abs(found.mean(0)).max() < BAND
    assert np.abs(found).max() < 2 * BAND


def test_a_row_is_written_once(tmp_path, capsys, monkeypatch):
    measured = []

    def measure(spec, seed, name, steps):
        measured.append((seed, name))
        accuracy = [0.5, 0.75 if name == "float32" else 0.76]
        return {"seed": seed, "precision": name, "test_accuracy": accuracy}

    monkeypatch.setattr(precision, "measure", measure)
    output = tmp_path / "rows.json"
    for seeds in (1, 2):
        precision.main(["precision", f"--seeds={seeds}", f"--output={output}"])
    assert measured == [(s, p) for s in (0, 1) for p in precision.PRECISIONS]
    assert len(output.read_text().splitlines()) == 4
    assert "last round mean +1.0 ± 0.0" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        precision.main(["precision", "--seeds=6"])
    assert "--commit" in capsys.readouterr().err
