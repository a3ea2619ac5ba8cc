"""Config files by path and by name, with overrides checked like the command line."""

import os
import pathlib

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.configuration import checks, defaults, files, presets, recipes

CHECKOUT = pathlib.Path("configs").absolute()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory, in which no relative path of the checkout exists."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)


@pytest.mark.parametrize(
    "name", ["digits", "digits.py", "configs/digits.py", "configs/digits", "./digits"]
)
def test_a_packaged_config_is_found_from_any_folder(name, elsewhere):
    assert files.resolve(name) == CHECKOUT / "digits.py"


def test_an_existing_file_wins_over_a_packaged_config(elsewhere):
    for path in ("configs/digits.py", "digits.py"):
        _write(elsewhere / path, "")
        assert files.resolve(path).absolute() == elsewhere / path
    assert files.resolve("digits") == CHECKOUT / "digits.py"


def test_a_folder_is_no_config_file(elsewhere):
    (elsewhere / "digits").mkdir()
    assert files.resolve("digits") == CHECKOUT / "digits.py"


def test_an_installed_package_uses_its_own_folder(elsewhere, monkeypatch):
    installed = elsewhere / "site-packages" / "dact_jax"
    _write(installed / "configs" / "mine.py", "")
    _write(installed / "configs" / "__init__.py", "")
    _write(installed.parent / "configs" / "other.py", "")  # of another distribution
    monkeypatch.setattr(files, "_PACKAGE", installed)
    assert files.names() == ("mine",)
    assert files.resolve("configs/mine.py") == installed / "configs" / "mine.py"
    with pytest.raises(errors.InputError, match="'other'"):
        files.resolve("other")


def test_names_are_the_files_of_the_folder():
    assert files.names() == tuple(sorted(p.stem for p in CHECKOUT.glob("*.py")))
    assert "tiny" in files.names()


@pytest.mark.parametrize(
    "name", ["configs/digit.py", "digit", "/nowhere/digits.py", "my/configs/digits.py"]
)
def test_a_missing_file_is_an_error_that_suggests_a_packaged_config(name):
    with pytest.raises(errors.InputError) as caught:
        files.resolve(name)
    assert repr(name) in str(caught.value)
    assert "'digits'" in str(caught.value)


def test_load_equals_the_config_of_the_file(elsewhere):
    by_name = files.load("digits:preset=s_clue")
    by_path = files.load(f"{CHECKOUT / 'digits.py'}:preset=s_clue")
    assert by_name.to_dict() == by_path.to_dict()
    assert by_name.acquisition == "clue"
    assert files.load(CHECKOUT / "digits.py").name == "digits_s_act"
    with pytest.raises(errors.InputError, match=r"'s_clu'.*'s_clue'"):
        files.load("digits:preset=s_clu")


def test_overrides_are_set_after_the_fields_of_the_file(elsewhere):
    config = files.load(
        "tiny",
        seed=7,
        source=pathlib.Path("photos", "studio"),
        **{
            "train.steps": np.int64(50),
            "train.learning_rate": 1,
            "data.mean": [0.5],
            "data.transductive": np.bool_(True),
            "data.target": "photos/phone",
            "methods.mme.weight": 0.2,
        },
    )
    assert config.seed == 7
    assert config.source == config.data.source == os.path.join("photos", "studio")
    assert config.target == config.data.target == "photos/phone"
    assert type(config.train.steps) is int
    assert config.train.steps == 50
    assert type(config.train.learning_rate) is float
    assert config.data.mean == (0.5,)
    assert config.data.transductive is True
    assert config.methods.mme.weight == 0.2
    defaults.check(config)
    plain = files.load("tiny")
    assert plain.seed == 0
    assert plain.train.steps == 100


def test_other_fields_follow_from_one_that_a_file_depends_on(elsewhere):
    _write(
        elsewhere / "mine.py",
        "from dact_jax.configuration import defaults, presets\n"
        "DEPENDS_ON = ('model.encoder',)\n"
        "def get_config(arg=''):\n"
        "    default = {'preset': 'mme', 'model.encoder': 'lenet'}\n"
        "    chosen = presets.arguments(arg, default)\n"
        "    config = defaults.get_config()\n"
        "    config.name = ' '.join(chosen.values())\n"
        "    return config\n",
    )
    names = [
        files.load("mine.py").name,
        files.load("mine.py:preset=a").name,
        files.load("mine.py", **{"model.encoder": "mlp", "seed": 3}).name,
        files.load("mine.py:preset=a", **{"model.encoder": "mlp"}).name,
        # What is written beside it wins, as it does for every other field.
        files.load("mine.py:model.encoder=b", **{"model.encoder": "mlp"}).name,
    ]
    assert names == ["mme lenet", "a lenet", "mme mlp", "a mlp", "mme mlp"]
    with pytest.raises(errors.InputError, match=r"'presets=a'.*preset=\.\.\."):
        files.load("mine.py:presets=a")


def test_folder_trains_a_whole_network_if_its_encoder_sees_images():
    config = files.load("folder", **{"model.encoder": "resnet50"})
    values = defaults.leaves(config)
    for field, value in recipes.IMAGENET.items():
        if field != "data.shots_per_class":  # of the preset mme alone
            assert values[field] == value, field
    assert (config.model.backbone, config.model.num_norms) == ("", 1)
    assert (config.acquisition, config.train.steps) == ("k_center", 500)
    config = files.load("folder:preset=alda", **{"model.encoder": "resnet18"})
    for field, value in recipes.PHOTOS["alda"].items():
        assert defaults.leaves(config)[field] == value, field
    assert config.train.steps == 2500


@pytest.mark.parametrize("preset", [*presets.PRESETS, "s_act_star"])
@pytest.mark.parametrize("encoder", ["mlp", "resnet18"])
def test_every_preset_of_folder_fits_its_encoder(preset, encoder):
    config = files.load(f"folder:preset={preset}", **{"model.encoder": encoder})
    defaults.check(config)
    checks.check(config)
    assert (config.model.backbone != "") == (encoder == "mlp")
    assert config.name == f"folder_{preset}"


@pytest.mark.parametrize(
    ("field", "value", "parts"),
    [
        ("sed", 1, ("'sed'", "'seed'")),
        ("train.stps", 4, ("'train.stps'", "'train.steps'")),
        ("train", {"steps": 4}, ("'train'",)),
        ("train.steps", "100", ("train.steps='100'", "whole number")),
        ("train.steps", 1.0, ("train.steps=1.0", "whole number")),
        ("train.steps", True, ("train.steps=True", "whole number")),
        ("train.steps", None, ("train.steps=None", "whole number")),
        ("train.learning_rate", "fast", ("train.learning_rate='fast'", "a number")),
        ("train.nesterov", 1, ("train.nesterov=1", "True or False")),
        ("name", 3, ("name=3", "a text")),
        ("data.mean", 0.5, ("data.mean=0.5", "tuple")),
    ],
)
def test_a_wrong_override_is_one_sentence(field, value, parts):
    with pytest.raises(errors.InputError) as caught:
        files.load("tiny", **{field: value})
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("body", "spec", "part"),
    [
        ("", "mine.py", "get_config"),
        ("def get_config(): return {}", "mine.py:preset=mme", "preset=mme"),
        ("def get_config(arg): return {}", "mine.py", "[]"),
    ],
)
def test_a_file_whose_get_config_does_not_fit(body, spec, part, elsewhere):
    _write(elsewhere / "mine.py", body)
    with pytest.raises(errors.InputError) as caught:
        files.load(spec)
    assert "mine.py" in str(caught.value)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("x = 1\ndef get_config(:\n", ("mine.py, line 2: invalid syntax",)),
        ("import nosuchmodule\n", ("mine.py, line 1", "nosuchmodule")),
        ("\nraise OSError", ("mine.py, line 2: OSError.",)),
        ("def get_config():\n    return {}", ("mine.py, line 1", "a dict")),
        ("\ndef get_config():\n    pass", ("mine.py, line 2", "nothing")),
        (
            "def get_config():\n    return inner()\ndef inner():\n    return {}['a']",
            ("mine.py, line 4: KeyError: a.",),
        ),
        (
            "from dact_jax.configuration import defaults\n"
            "def get_config():\n"
            "    config = defaults.get_config()\n"
            "    config.train.steps = 'many'\n"
            "    return config",
            ("mine.py, line 4: TypeError", "steps"),
        ),
        ("\0", ("mine.py", "null bytes")),
        ("get_config = 3", ("mine.py defines no get_config",)),
    ],
)
def test_a_file_that_fails_is_one_sentence_with_its_line(body, parts, elsewhere):
    _write(elsewhere / "mine.py", body)
    with pytest.raises(errors.InputError) as caught:
        files.load("mine.py")
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_colon_without_a_preset_is_named():
    with pytest.raises(errors.InputError, match=r"'tiny:' ends in a colon"):
        files.load("tiny:")


def test_a_config_file_in_the_home_folder(elsewhere, monkeypatch):
    monkeypatch.setenv("HOME", str(elsewhere))
    _write(elsewhere / "mine.py", "")
    assert files.resolve("~/mine.py") == elsewhere / "mine.py"
    with pytest.raises(errors.InputError, match="no user 'nosuchuser'"):
        files.resolve("~nosuchuser/mine.py")
