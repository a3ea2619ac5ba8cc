"""What train.precision stands for, when a run begins and when it goes on."""

import jax
import numpy as np
import pytest
import yaml

import dact_jax
from dact_jax import dry_run, errors, preparation
from dact_jax.configuration import build, build_stages
from tests import toy

SHORT = {"train.steps": 2, "train.save_every": 2, "policies.single.purchases": 0}


@pytest.mark.parametrize(
    ("backend", "precision"),
    [("cpu", "float32"), ("gpu", "bfloat16"), ("tpu", "bfloat16")],
)
def test_auto_is_decided_by_the_devices(backend, precision, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    config = toy.vector_config(tmp_path)
    assert build_stages.precision(config) == precision
    decided = preparation.decided(config, tmp_path / "run")
    assert (decided.train.precision, config.train.precision) == (precision, "auto")
    config.train.precision = "float32"
    assert build_stages.precision(config) == "float32"
    assert preparation.decided(config, tmp_path / "run").train.precision == "float32"


@pytest.mark.parametrize("preset", ["s_act", "d_act", "adda"])
def test_all_stages_train_in_it_and_sweep_in_float32(preset, tmp_path, key):
    config = toy.vector_config(tmp_path, preset, **{"train.precision": "bfloat16"})
    run, _ = build.build(config)
    stages = [run]
    if run.pretraining is not None:
        stages.append(run.pretraining.run)
    if run.loss_predictor is not None:
        stages.append(run.loss_predictor.run)
    assert len(stages) == (1 if preset == "s_act" else 2)
    vectors = run.task.target.test.image[:2]
    for stage in stages:
        assert stage.model.exact is not None
        variables = stage.train.variables
        encode = jax.make_jaxpr(
            lambda variables, encode=stage.model.encode: encode(
                variables, vectors[None], (0,), train=True, key=key
            )
        )
        assert "bf16" in str(encode(variables))
        sweep = jax.make_jaxpr(stage.forward, static_argnums=2)
        assert "bf16" not in str(sweep(variables, vectors, 0))


def test_a_run_goes_on_in_the_precision_in_which_it_began(tmp_path, monkeypatch):
    config = toy.vector_config(tmp_path, **SHORT)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    config.model.convolution = "stock"
    begun = preparation.decided(config, tmp_path / "run")
    monkeypatch.undo()
    dact_jax.run(begun, tmp_path / "run", progress=False)
    recorded = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert recorded["config"]["train"]["precision"] == "bfloat16"
    assert "Trained in bfloat16." in (tmp_path / "run/report.md").read_text()
    # On CPU, where auto is float32.
    assert dact_jax.run(config, tmp_path / "run", progress=False).finished_before
    config.train.precision = "float32"
    with pytest.raises(errors.InputError, match="precision=bfloat16, this run"):
        dact_jax.run(config, tmp_path / "run", progress=False)
    with pytest.raises(errors.InputError, match="precision=bfloat16, this run"):
        dry_run.run(config, tmp_path / "run")


def test_a_run_from_before_there_was_the_field_goes_on_in_float32(
    tmp_path, monkeypatch
):
    config, folder = toy.vector_config(tmp_path, **SHORT), tmp_path / "run"
    done = dact_jax.run(config, folder, progress=False)
    record = yaml.safe_load((folder / "config.yaml").read_text())
    assert record["config"]["train"].pop("precision") == "float32"
    (folder / "config.yaml").write_text(yaml.safe_dump(record))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert preparation.decided(config, folder).train.precision == "float32"
    monkeypatch.undo()
    again = dact_jax.run(config, folder, progress=False)
    assert (again.finished_before, again.rows) == (True, done.rows)
    with np.load(tmp_path / "target.npz") as arrays:
        assert dact_jax.load(folder).predict(arrays["features"]).shape == (90, 3)


def test_a_precision_that_there_is_not_is_refused(tmp_path):
    config = toy.vector_config(tmp_path, **{"train.precision": "float16"})
    with pytest.raises(errors.InputError, match=r"train.precision.*'float16'"):
        dact_jax.run(config, tmp_path / "run", progress=False)
