"""What the package gives a Python user, and what it loads for that."""

import ast
import os
import subprocess
import sys

import jax
import pytest

import dact_jax
from dact_jax import cli, devices, errors
from dact_jax.configuration import files

HEAVY = (
    "flax",
    "optax",
    "orbax",
    "tensorflow_datasets",
    "grain",
    "matplotlib",
    "sklearn",
)


def _loaded(code):
    """Which of the heavy libraries a fresh interpreter has loaded after the code."""
    report = f"import sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_selection_alone_loads_no_training_library():
    points = "np.eye(4, dtype=np.float32)"
    picks = f"dact_jax.k_center({points}, 2); dact_jax.herd({points}, 2)"
    assert _loaded(f"import numpy as np, dact_jax; {picks}") == "[]"


def test_a_run_loads_no_library_that_it_may_not_need():
    loaded = _loaded("import dact_jax.main, dact_jax.data.readers.sources")
    assert not {"tensorflow_datasets", "grain", "sklearn"} & {*ast.literal_eval(loaded)}
    assert "flax" in loaded  # or this test sees nothing


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_the_log_of_xla_is_silent_before_jax_is_imported(command):
    code = f"""
import os, sys
class Watch:
    def find_spec(self, name, *rest):
        if name == "jaxlib":
            print(os.environ["TF_CPP_MIN_LOG_LEVEL"], flush=True)
            os._exit(0)  # the rest of the imports would take seconds
sys.meta_path.insert(0, Watch())
import dact_jax.{command}"""
    environment = {**os.environ}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "3\n", done.stderr


@pytest.mark.parametrize("error", [RuntimeError("no libtpu"), AssertionError()])
def test_a_platform_that_is_not_there_is_named(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    monkeypatch.setattr(jax, "devices", fail)
    with pytest.raises(errors.InputError, match="JAX_PLATFORMS='tpu'"):
        devices.check()


def test_the_public_names_are_there():
    assert set(dact_jax.__all__) <= set(dir(dact_jax))
    assert dact_jax.config("tiny", seed=3).seed == 3
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = dact_jax.no_such_name


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_command_lists_its_commands(arguments, capsys):
    cli.main(["dact-jax", *arguments])
    listed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    for name in cli.COMMANDS:
        assert ["dact-jax", name] in listed


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_answers_help(name, capsys):
    cli.main(["dact-jax", name, "--help"])
    out = capsys.readouterr().out
    assert f"dact_jax.{name}" in out


def test_an_unknown_command_gets_the_nearest(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["dact-jax", "slect"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'select'" in line


def test_packaged_configs_are_listed():
    assert {"digits", "tiny", "folder", "embeddings"} <= set(files.names())
