"""Runs whose target has no test, no validation or no training image."""

import numpy as np
import pytest

import dact_jax
from dact_jax.configuration import build
from dact_jax.reports import gallery, sweeps
from dact_jax.rounds import actions

SHORT = {"train.steps": 4, "train.chunk": 2, "train.save_every": 2}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    label = np.arange(24) % 3
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        features = np.eye(3, 8)[label] + rng.normal(size=(24, 8))
        np.savez(folder / name, features=features, label=label)
    return folder


def config(vectors, preset, **changes):
    fields = {
        "source": vectors / "a.npz",
        "target": vectors / "b.npz",
        "model.widths": (4,),
        "figures": False,
        **SHORT,
        **changes,
    }
    return dact_jax.config(f"embeddings:preset={preset}", **fields)


def test_no_test_part(vectors, tmp_path):
    made = config(
        vectors,
        "s_rt",
        **{
            "data.test_fraction": 0,
            "data.val_per_class": 2,
            "eval.every": 2,
            "eval.keep": "best_val",
            "policies.single.initial": 3,
            "policies.single.per_round": 3,
            "policies.single.purchases": 1,
        },
    )
    result = dact_jax.run(made, tmp_path / "run")
    assert result.accuracies == [None, None]
    rounds = [row for row in result.rows if row["event"] == "round"]
    assert [row["labels_target"] for row in rounds] == [3, 6]
    assert all(0 <= row["val_accuracy"] <= 1 for row in rounds)
    assert all(row["test_images"] == 0 for row in rounds)
    text = result.report.read_text()
    assert "test accuracy is unknown; with 6 target labels bought, the accuracy" in text
    assert "18 (6 a class) in the training pool, 6 (2 a class) for val" in text
    assert (result.workdir / "learning_curve.png").exists()
    assert repr(result).startswith("Result(accuracies=[-, -]")
    assert dact_jax.run(made, tmp_path / "run").finished_before
    classifier = dact_jax.load(tmp_path / "run")
    assert classifier.predict(np.eye(8, dtype=np.float32)).shape == (8, 3)


def test_no_training_part_and_no_accuracy_but_validation(vectors, tmp_path):
    changes = {"data.test_fraction": 0, "data.val_per_class": 8}
    made = config(vectors, "source_only", **changes)
    result = dact_jax.run(made, tmp_path / "run")
    (row,) = [row for row in result.rows if row["event"] == "round"]
    assert (row["labels_target"], row["labels_val"], row["test_images"]) == (0, 24, 0)
    assert 0 <= row["val_accuracy"] <= 1
    built, _ = build.build(made)
    state = actions.template(built)
    swept = sweeps.lazily(built, state)
    drawers = gallery._drawers(built, state, tmp_path, swept)
    assert list(drawers) == ["embedding_source.png"]
    assert dact_jax.run(made, tmp_path / "run").finished_before
    assert "3 classes are without an image in the training pool" in (
        result.report.read_text()
    )


def test_no_accuracy_at_all(vectors, tmp_path):
    changes = {"data.test_fraction": 0, "data.val_per_class": 0}
    result = dact_jax.run(config(vectors, "source_only", **changes), tmp_path / "run")
    assert result.accuracies == [None]
    text = result.report.read_text()
    assert "test accuracy is unknown. Rounds finished: 1." in text
    assert "accuracy is not known" in text
