"""README's Python does what README says."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np

from tests import toy

TEXT = pathlib.Path("README.md").read_text(encoding="utf-8")
SELECTION, METHOD = re.findall(
    r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL
)


def test_the_selection_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    points = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    np.save("x.npy", points)
    names: dict = {}
    exec(SELECTION, names)
    assert len(set(names["rows"].tolist()) - {4, 17}) == 100


def test_the_example_of_a_method(key):
    names: dict = {}
    exec(METHOD, names)
    method = names["make"](3, weight=0.5)
    network = toy.network(method)
    variables = network.init(key, (16, 16, 1))
    values = []
    for loss in method.losses:
        value, (variables, metrics) = loss(
            network, variables, toy.batch(key), key, jnp.float32(0)
        )
        values.append(float(value))
    assert 0 < metrics["entropy"] <= 0.5 * np.log(3)
    assert np.isfinite(values).all()
    assert jax.tree.leaves(variables.params)


def test_every_file_and_test_that_is_named_is_there():
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert pathlib.Path("tests", f"{name}.py").is_file(), name
    for name in re.findall(r"(?:configs|experiments|dact_jax)/[\w/]+\.\w+", TEXT):
        assert pathlib.Path(name).is_file(), name
