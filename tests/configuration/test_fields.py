"""Every field and option: declared with its values, and no other value goes on."""

import itertools
import re

import pytest

from dact_jax import errors, kinds, plugins, runner
from dact_jax.configuration import checks, defaults, files, listing
from tests import quick, toy

DECLARED = defaults.declared()
OPTIONS = [
    (family, name, option)
    for family in defaults.CHOSEN
    for name in plugins.names(family)
    for option in plugins.options(family, name)
]
NAN, INFINITE = float("nan"), float("inf")
ODD = (
    *(-1, 0, 2, 10**30, 2**63, -(2**63), 10**5000),
    *(-0.5, 0.5, 1e300, NAN, INFINITE, -INFINITE),
    *("", "abc", "a\x00b", b"x", None, True, object(), {}),
    *((), (0.0,), (NAN,), (-1.0,), ("x",), [1, 2], ((1,),)),
)


@pytest.mark.parametrize("field", DECLARED)
def test_a_field_is_declared_with_a_line_and_a_default_that_fits(field):
    default, kind, about = DECLARED[field]
    assert about
    assert "\n" not in about
    kinds.check(field, default, kind)


@pytest.mark.parametrize(("family", "name", "option"), OPTIONS)
def test_an_option_is_declared_by_its_plug_in(family, name, option):
    assert option in plugins.module(family, name).OPTIONS
    assert len(plugins.module(family, name).OPTIONS) == len(
        plugins.options(family, name)
    )


def _changed(field, value):
    """The tiny config with a field of any value, as a file may set it."""
    nested = files.load("tiny").to_dict()
    *sections, last = field.split(".")
    place = nested
    for section in sections:
        place = place[section]
    place[last] = value
    if field in ("source", "target"):
        nested["data"][field] = value
    if field in ("data.source", "data.target"):
        nested[last] = value
    return defaults.Config(nested)


def _sentence(field, value, config):
    """What the checks say of a value in a config; None if a run would begin."""
    try:
        kinds.check(field, value, DECLARED[field].kind)
    except errors.InputError as error:
        return str(error)
    config.update_from_flattened_dict({field: type(DECLARED[field].default)(value)})
    try:
        defaults.check(config)
        checks.check(config)
    except errors.InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("field", DECLARED)
def test_an_odd_value_is_accepted_or_refused_in_one_sentence(field):
    refused, config = 0, files.load("tiny")
    for value in ODD:
        said = _sentence(field, value, config)
        if said is not None:
            refused += 1
            assert "\n" not in said
            assert len(said) < 400
            assert said.endswith(".")
            assert field.rpartition(".")[2] in said, said
    assert refused > len(ODD) / 2, "the kind of this field refuses hardly anything"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("seed", value) for value in (-1, 2**32, 2**63, 10**20, 1.0, True)),
        *(("train.learning_rate", v) for v in (-0.1, NAN, INFINITE, 1e39, "0.1")),
        *(("train.momentum", value) for value in (2.0, 1.0, -0.1)),
        *(("data.std", value) for value in ((0.0,), (-1.0,), (1e-300,), (), 0.5)),
        *(("data.mean", value) for value in (("a",), (NAN,), ())),
        *(("data.size", value) for value in (0, 1_000_000)),
        *(("methods.mme.weight", value) for value in (NAN, -1.0, INFINITE)),
        *(("methods.mme.temperature", value) for value in (0, -1.0, 1e-300)),
        *(("figures", value) for value in ("maybe", 1)),
        *(("eval.crops", value) for value in (True, 5, 10.0)),
        *(("reference", value) for value in ((1,), (("a", 1),), (("a", 1, 101.0),))),
    ],
)
def test_a_value_that_once_passed_or_ended_in_a_traceback(field, value):
    with pytest.raises(errors.InputError, match=rf"^{field}=") as caught:
        defaults.check(_changed(field, value))
    assert "must be" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 2**32 - 1),
        ("train.learning_rate", 1),
        ("train.momentum", 0.0),
        ("train.multipliers.encoder", 0.0),
        ("data.mean", [0.1]),
        ("reference", (("paper", 10, 55.5),)),
        ("methods.adda.hidden", (8,)),
    ],
)
def test_an_unusual_value_that_is_right(field, value):
    defaults.check(_changed(field, value))


def test_every_preset_passes():
    for name, preset in itertools.product(("tiny", "folder"), ("s_act", "alda_dsbn")):
        defaults.check(files.load(f"{name}:preset={preset}"))


def test_an_override_from_python_is_checked_at_once():
    with pytest.raises(errors.InputError, match=r"train\.learning_rate=-0\.1 must"):
        files.load("tiny", **{"train.learning_rate": -0.1})


def test_home_folders_are_put_in_place_of_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = files.load("tiny", source="~/a", **{"model.weights": "~/w.pth"})
    full = defaults.expanded(config)
    assert full.source == full.data.source == str(tmp_path / "a")
    assert full.model.weights == str(tmp_path / "w.pth")
    assert (full.target, full.data.root) == ("uci", "")
    assert config.source == "~/a"
    with pytest.raises(
        errors.InputError, match=r"data\.root=~nosuchuser/x.*nosuchuser"
    ):
        defaults.expanded(files.load("tiny", **{"data.root": "~nosuchuser/x"}))


def test_every_path_field_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = [name for name, field in DECLARED.items() if field.kind.path]
    assert {"data.tfds_dir", "data.val_list", "pretrain.folder"} <= set(paths)
    config = files.load("tiny", **dict.fromkeys(paths, "~/x"))
    full = defaults.leaves(defaults.expanded(config))
    assert {full[name] for name in paths} == {str(tmp_path / "x")}


def test_the_listing_shows_all_that_there_is_to_choose():
    text = listing.text(files.load("tiny:preset=alda"))
    for name in (*files.names(), "s_act_star", *plugins.names("methods")):
        assert f"\n  {name} " in text, name
    for name, (_, kind, about) in DECLARED.items():
        assert f"\n  {name}=" in text, name
        shown = re.split(r"\n  \w|\n\n", text.partition(f"\n  {name}=")[2])[0]
        for part in (about, *map(str, kind.values)):
            assert part in shown, name
    assert "\n  method='alda'" in text
    assert "\n  train.learning_rate=0.0002" in text


def test_runs_at_the_ends_of_ranges(tmp_path):
    """What the checks let through runs, or ends with one sentence."""
    lowest = {
        "train.learning_rate": 0.0,
        "train.momentum": 0.0,
        "train.weight_decay": 0.0,
        "train.gamma": 0.0,
        "train.power": 0.0,
        "methods.mme.weight": 0.0,
        "model.dropout": 0.0,
        "model.widths": (1,),
        "seed": 2**32 - 1,
    }
    lowest |= {"policies.single.purchases": 0, "policies.single.initial": 3}
    with quick.compiled():
        done = runner.run(toy.vector_config(tmp_path, **lowest), tmp_path / "lowest")
    assert len(done.accuracies) == 1
    highest = {"train.learning_rate": 1e6, "methods.mme.weight": 1e6}
    with (
        quick.compiled(),
        pytest.raises(errors.DivergedError, match="learning_rate"),
    ):
        runner.run(toy.vector_config(tmp_path, **highest), tmp_path / "highest")
