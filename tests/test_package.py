"""What the package gives a Python user, and what it loads for that."""

import ast
import subprocess
import sys

import pytest

import dact_jax
from dact_jax import cli
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


def test_k_center_alone_loads_no_training_library():
    picks = "dact_jax.k_center(np.eye(4, dtype=np.float32), 2)"
    assert _loaded(f"import numpy as np, dact_jax; {picks}") == "[]"


def test_a_run_loads_no_library_that_it_may_not_need():
    loaded = _loaded("import dact_jax.main, dact_jax.data.readers.sources")
    assert not {"tensorflow_datasets", "grain", "sklearn"} & {*ast.literal_eval(loaded)}
    assert "flax" in loaded  # or this test sees nothing


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
