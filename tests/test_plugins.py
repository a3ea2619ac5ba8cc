"""Plug-ins: found by file name, checked without data, and described by themselves."""

import ast
import importlib
import pathlib
import sys

import jax
import numpy as np
import pytest

from dact_jax import errors, keys, plugins
from dact_jax.configuration import (
    build,
    build_inference,
    build_stages,
    checks,
    defaults,
    files,
    plugin_checks,
)
from dact_jax.rounds import oracle


def test_names_are_the_files():
    assert {"mme", "source_only"} <= set(plugins.names("methods"))
    assert {"random", "k_center"} <= set(plugins.names("acquisitions"))
    assert {"fixed", "single"} <= set(plugins.names("policies"))


def test_options_are_the_keywords_with_their_defaults():
    assert plugins.options("methods", "source_only") == {}
    assert plugins.options("methods", "mme")["weight"] == 0.1
    assert "labelled" not in plugins.options("policies", "single")


def test_every_option_is_a_field_of_the_config():
    fields = defaults.leaves(defaults.get_config())
    for family in ("methods", "acquisitions", "policies"):
        for name in plugins.names(family):
            for option, default in plugins.options(family, name).items():
                assert fields[f"{family}.{name}.{option}"] == default


def test_unknown_names_and_options_are_errors_that_suggest_the_nearest():
    with pytest.raises(errors.InputError, match="'mme'"):
        plugins.load("methods", "mmee", 3)
    with pytest.raises(errors.InputError, match=r"'wieght'.*'weight'"):
        plugins.load("methods", "mme", 3, wieght=1.0)
    with pytest.raises(errors.InputError, match=r"'zzz'.*'aada', 'adda'"):
        plugins.load("methods", "zzz", 3)


@pytest.mark.parametrize(
    ("family", "name", "options", "part"),
    [
        ("methods", "mme", {"head": "cosin"}, "methods.mme.head='cosin'"),
        ("methods", "dann", {"form": "x"}, "methods.dann.form='x'"),
        ("methods", "adda", {"form": "x"}, "methods.adda.form='x'"),
        ("methods", "jan", {"estimator": "x"}, "methods.jan.estimator='x'"),
        ("methods", "alda", {"adversarial_mean": "x"}, "adversarial_mean='x'"),
        ("methods", "loss_prediction", {"width": 0}, "width=0"),
        ("acquisitions", "aada", {"share": 0.0}, "share=0.0"),
        ("acquisitions", "clue", {"restarts": 0}, "restarts=0"),
        ("acquisitions", "k_center", {"features": "x"}, "features='x'"),
        ("acquisitions", "predicted_loss", {"margin": -1.0}, "margin=-1.0"),
        ("policies", "single", {"initial": -1}, "policies.single.initial=-1"),
        ("policies", "dual", {"per_round": -1}, "policies.dual.per_round=-1"),
        ("policies", "dual", {"trial": "x"}, "policies.dual.trial='x'"),
        ("policies", "fixed", {"initial": 1}, "'initial'"),
        ("methods", "mme", {"wieght": 1.0}, "'weight'"),
        ("methods", "mmee", {}, "'mme'"),
    ],
    ids=str,
)
def test_options_are_checked_without_data(family, name, options, part):
    with pytest.raises(errors.InputError) as caught:
        plugins.check(family, name, options)
    assert part in str(caught.value)


def test_every_default_option_passes_the_check():
    for family in defaults.CHOSEN:
        for name in plugins.names(family):
            plugins.check(family, name, {})
            plugins.check(family, name, plugins.options(family, name))


def test_methods_have_the_heads_that_they_provide():
    for name in plugins.names("methods"):
        method = plugins.load("methods", name, 2)
        heads = {output.partition(".")[0] for output in plugins.provides(name)}
        assert heads <= set(method.heads), name
    for name in plugins.names("policies"):
        predictor = plugins.loss_predictor(name)
        if predictor is not None:
            assert plugins.load("methods", predictor, 2).actual_loss is not None


def test_declarations_of_acquisitions_are_about_options_that_exist():
    for name in plugins.names("acquisitions"):
        options = plugins.options("acquisitions", name)
        assert set(plugins.on_target(name)) <= set(options)
        if not plugins.needs(name):
            continue
        providers = [plugins.providers(output) for output in plugins.needs(name)]
        assert all(providers), name
    assert plugins.needs("k_center") == ()
    assert plugins.needs("k_center", {"features": "head"}) == ("classifier.features",)


NEW_METHOD = """
from dact_jax import errors
from dact_jax.methods import source_only
from dact_jax.models import heads
from dact_jax.types import Method

PROVIDES = ("certainty",)
TRAINS_TARGET_NORM = False


def make(num_classes, *, width: int = 3, weight: float = 1.0):
    check(width=width)
    modules = {
        "classifier": heads.Linear(num_classes),
        "certainty": heads.Linear(width),
    }
    return Method(modules, (source_only.supervised,))


def check(*, width):
    if width < 1:
        raise errors.InputError(f"methods.certain.width={width} must be 1 or more.")
"""
NEW_ACQUISITION = """
from dact_jax.acquisitions import random

NEEDS = ("certainty",)
ON_TARGET = {"order": "falling"}


def make(*, order: str = "falling"):
    return random.make()
"""
NEW_POLICY = """
from dact_jax.policies import single

LOSS_PREDICTOR = "certain"
make = single.make
"""


@pytest.fixture
def new_files(tmp_path, monkeypatch):
    """A method, an acquisition and a policy as files on the path of their packages."""
    texts = {
        "methods.certain": NEW_METHOD,
        "acquisitions.doubtful": NEW_ACQUISITION,
        "policies.choosy": NEW_POLICY,
    }
    for place, text in texts.items():
        family, name = place.split(".")
        (tmp_path / family).mkdir()
        (tmp_path / family / f"{name}.py").write_text(text)
        package = importlib.import_module(f"dact_jax.{family}")
        path = [*package.__path__, str(tmp_path / family)]
        monkeypatch.setattr(package, "__path__", path)
    importlib.invalidate_caches()
    yield
    for place in texts:
        family, name = place.split(".")
        sys.modules.pop(f"dact_jax.{place}", None)
        package = importlib.import_module(f"dact_jax.{family}")
        if hasattr(package, name):
            delattr(package, name)


def test_a_new_file_is_a_plug_in_of_the_config(new_files):
    config = files.load("tiny", method="certain", acquisition="doubtful")
    assert config.methods.certain.to_dict() == {"width": 3, "weight": 1.0}
    defaults.check(config)
    checks.check(config)
    method = plugins.load("methods", "certain", 3, width=2)
    assert build_stages.outputs(config, "doubtful", method) == (
        "classifier",
        "certainty",
    )
    config.policy = "choosy"
    config.source_acquisition = "doubtful"
    checks.check(config)
    assert set(defaults.identity(config)["methods"]) == {"certain"}


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"methods.certain.width": 0}, ("methods.certain.width=0",)),
        ({"model.batch_norm": True, "model.num_norms": 2}, ("'certain'", "num_norms")),
        ({"method": "mme"}, ("'doubtful'", "'certainty'", "'mme'", "do: 'certain'")),
        ({"acquisition": "aada"}, ("'discriminator'", "'certain'", "'dann'")),
        (
            {"acquisitions.doubtful.order": "rising"},
            ("acquisitions.doubtful.order='falling'",),
        ),
        (
            {"policy": "choosy", "source_acquisition": "aada"},
            ("source_acquisition 'aada'", "'discriminator'", "'certain'", "'doubtful'"),
        ),
        ({"policy": "dual", "source_acquisition": "doubtful"}, ("'certainty'",)),
    ],
    ids=str,
)
def test_checks_read_what_a_new_file_declares(new_files, fields, parts):
    config = files.load("tiny", method="certain", acquisition="doubtful")
    config.update_from_flattened_dict(fields)
    with pytest.raises(errors.InputError) as caught:
        checks.check(config)
    for part in parts:
        assert part in str(caught.value)


def test_a_policy_that_buys_nothing_needs_nothing_of_its_method(new_files):
    config = files.load("tiny", method="mme", acquisition="doubtful", policy="fixed")
    checks.check(config)


@pytest.mark.parametrize(
    "module",
    [build, build_inference, build_stages, checks, plugin_checks, plugins],
)
def test_no_plug_in_is_named_where_all_are_handled(module):
    """Neither as a string nor by import: a new file needs no change there."""
    named = {name for family in defaults.CHOSEN for name in plugins.names(family)}
    tree = ast.parse(pathlib.Path(module.__file__).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            assert node.value not in named, node.lineno
        if isinstance(node, ast.ImportFrom):
            family = (node.module or "").removeprefix("dact_jax.")
            assert family not in defaults.CHOSEN, node.lineno


def test_random_does_not_pick_more_than_there_is(key):
    taken = np.arange(5) > 1
    with pytest.raises(errors.InputError, match="budget=3 is more than the 2 rows"):
        plugins.load("acquisitions", "random")(None, taken, 3, key)


def test_keys_depend_on_name_and_counters(key):
    seen = {
        tuple(np.asarray(jax.random.key_data(keys.key(key, *place))).tolist())
        for place in [("a",), ("b",), ("a", 0), ("a", 1), ("a", 0, 1), ("a", 1, 0)]
    }
    assert len(seen) == 6


def test_two_seeds_have_two_keys_or_are_refused():
    for seed in (0, 1, 2**31, keys.MAX_SEED):  # seeds that runs have used stay
        data = jax.random.key_data(keys.root(seed))
        np.testing.assert_array_equal(
            data, jax.random.key_data(jax.random.key(np.uint32(seed)))
        )
    assert not np.array_equal(
        jax.random.key_data(keys.root(keys.MAX_SEED)), jax.random.key_data(keys.root(0))
    )
    for seed in (-1, 2**32, 2**63, 10**20):
        with pytest.raises(errors.InputError, match=f"seed={seed} "):
            keys.root(seed)


def test_the_oracle_knows_what_the_data_set_holds():
    reveal = oracle.from_dataset(np.array([2, -1, 0], np.int32))

    def ask(*rows):
        score, bought = np.zeros(len(rows), np.float32), np.full(3, -1, np.int32)
        return reveal(oracle.Asked(0, np.array(rows), score, bought, None)).tolist()

    assert ask(2, 0) == [2, -1, 0]
    assert ask(0) == [2, -1, -1]
    with pytest.raises(ValueError, match="row 1"):
        ask(1)


def test_an_acquisition_without_enough_classes_is_rejected():
    with pytest.raises(errors.InputError, match=r"'margin' .* 2 classes.* 1;"):
        plugins.check_classes("margin", 1)
    plugins.check_classes("margin", 2)
    plugins.check_classes("entropy", 1)
