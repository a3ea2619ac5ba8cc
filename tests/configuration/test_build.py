"""From a config to what runs: every preset, list files, weights."""

import ast
import pathlib

import jax
import numpy as np
import pytest
from PIL import Image

from dact_jax import errors, plugins
from dact_jax.configuration import build, checks, defaults, files, presets, recipes
from dact_jax.rounds import actions

STARS = [f"{name}_star" for name in presets.STARRED]
PRESETS = [*presets.PRESETS, *STARS]
CONFIGS = sorted(pathlib.Path("configs").glob("*.py"))
UDA = ("office31_uda", "office_home")  # configs whose table has no target label
EACH_CONFIG = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
RECIPES = {
    f"{name} {method}": recipe
    for name in ("DIGITS", "PHOTOS", "EMBEDDINGS")
    for method, recipe in getattr(recipes, name).items()
}


def _load(path, preset):
    return files.load(f"{path}:preset={preset}")


@EACH_CONFIG
@pytest.mark.parametrize("preset", PRESETS)
def test_every_config_has_every_preset(path, preset):
    config = _load(path, preset)
    defaults.check(config)
    checks.check(config)
    assert config.name == f"{path.stem}_{preset}"
    starred = preset.endswith("_star")
    assert config.data.transductive == (starred or path.stem in UDA)
    given = config.data.shots_per_class > 0
    assert given == preset.startswith("mme")
    active = preset.removesuffix("_star") in {**presets.ACTIVE, **presets.LATER}
    dual = preset in presets.DUAL
    assert config.policy == ("single" if active else "dual" if dual else "fixed")
    assert bool(config.pretrain.steps) == (
        config.method in ("adda", "aada", "clue_mme")
    )


@EACH_CONFIG
def test_methods_without_target_labels_adapt_one_network(path):
    """It has batch norm, as in the papers; source_only keeps the config's network."""
    adapted = [name for name in presets.UNSUPERVISED if name != "source_only"]
    # folder.py gives each domain its norm where labels are bought, and only there.
    default = {**_load(path, "s_act").model.to_dict(), "num_norms": 1}
    assert _load(path, "source_only").model.to_dict() == default
    for name in adapted:
        network = _load(path, name).model.to_dict()
        expected = {**default, "batch_norm": True}
        if name == "alda_dsbn":
            expected["num_norms"] = 2
        if name == "adda":  # dropout on one side would tell the domains apart
            expected["dropout"] = network["dropout"]
            assert network["dropout"] == 0.0 or default["encoder"] != "lenet"
        assert network == expected


@EACH_CONFIG
@pytest.mark.parametrize(
    ("active", "random"),
    [("s_act", "s_rt"), ("aada", "rada"), ("ada_clue", "rda_clue")],
)
def test_a_random_twin_differs_in_its_acquisition_only(path, active, random):
    one, other = (_load(path, name) for name in (active, random))
    assert other.acquisition == "random" != one.acquisition
    other.acquisition, other.name = one.acquisition, one.name
    assert one.to_dict() == other.to_dict()


@EACH_CONFIG
def test_the_default_preset_is_the_method_of_the_paper(path):
    preset = "alda_dsbn" if path.stem in UDA else "s_act"
    if path.stem == "folder":
        preset = "s_clue"  # on embeddings core-set selection is no better than random
    without, named = files.load(str(path)), _load(path, preset)
    assert without.to_dict() == named.to_dict()


@EACH_CONFIG
@pytest.mark.parametrize("preset", PRESETS)
def test_only_pretrained_encoders_learn_slowly(path, preset):
    """CLUE's authors train all layers at one rate."""
    config = _load(path, preset)
    rates = config.train.multipliers
    slow = bool(config.model.weights) and config.method not in ("aada", "clue_mme")
    assert rates.encoder / rates.classifier == pytest.approx(0.1 if slow else 1.0)
    assert rates.bottleneck == rates.classifier == rates.others


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_recipes_set_fields_that_exist(recipe):
    config = defaults.get_config()
    for field in recipe:
        defaults.check_field(field, config)
    config.update_from_flattened_dict(recipe)
    defaults.check(config)


def test_presets_and_recipes_are_of_methods_that_exist():
    methods = set(plugins.names("methods"))
    assert {name.split()[1] for name in RECIPES} <= methods
    shown = {fields["method"] for fields in presets.PRESETS.values()}
    policies = {fields["policy"] for fields in presets.PRESETS.values()}
    beside = {plugins.loss_predictor(policy) for policy in policies} - {None}
    assert shown | beside == methods
    config = defaults.get_config()
    for fields in presets.PRESETS.values():
        for field in fields:
            defaults.check_field(field, config)


@EACH_CONFIG
def test_batches_can_be_split_over_eight_devices(path, monkeypatch):
    config = files.load(str(path))
    if path.stem in UDA:  # these keep their reference's 36 and say what to do
        monkeypatch.setattr(jax, "device_count", lambda: 4)
        checks.check(config)
        monkeypatch.setattr(jax, "device_count", lambda: 8)
        with pytest.raises(errors.InputError, match=r"train\.batch_source=36 .* 8 dev"):
            checks.check(config)
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert "Eight devices need batches of 40." in " ".join(docstring.split())
        for name in ("batch_source", "batch_target", "batch_unlabeled"):
            config.train[name] = 40
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    checks.check(config)


@pytest.mark.parametrize("preset", presets.ACTIVE)
def test_budgets_are_those_of_table_6(preset):
    spent = {}
    for name in ("digits", "svhn_mnist", "office31", "domainnet"):
        single = _load(f"configs/{name}.py", preset).policies.single
        spent[name] = single.initial + single.purchases * single.per_round
    expected = {"digits": 50, "svhn_mnist": 50, "office31": 200, "domainnet": 378}
    assert spent == expected


@pytest.mark.parametrize("preset", presets.DUAL)
def test_budgets_of_a_chosen_source_are_those_of_table_6(preset):
    spent = {}
    for name in ("digits", "svhn_mnist", "office31", "domainnet"):
        dual = _load(f"configs/{name}.py", preset).policies.dual
        labels = dual.initial + dual.purchases * dual.per_round
        spent[name] = labels, dual.source_rounds * dual.source_per_round
        assert dual.initial == dual.per_round
    assert spent == {
        "digits": (50, 2000),
        "svhn_mnist": (50, 2000),
        "office31": (200, 248),
        "domainnet": (378, 50_400),
    }


@pytest.mark.parametrize("preset", ["ada_clue", "aada"])
def test_presets_of_clues_code_pretrain_and_start_without_target_labels(preset):
    config = _load("configs/svhn_mnist.py", preset)
    single = config.policies.single
    assert (single.initial, single.per_round, single.purchases) == (0, 10, 5)
    epoch = 573
    assert config.pretrain.steps == 50 * epoch
    assert config.train.first_steps == 60 * epoch
    assert config.train.steps == 60


@pytest.mark.parametrize("preset", presets.LATER)
def test_later_presets_start_without_target_labels_and_buy_five_percent(preset):
    bought = {}
    for name in ("office31", "office31_uda", "office_home", "digits"):
        config = _load(f"configs/{name}.py", preset)
        single = config.policies.single
        assert single.initial == 0
        assert config.train.first_steps > config.train.steps
        bought[name] = single.per_round, single.purchases
    assert bought == {
        "office31": (28, 5),
        "office31_uda": (8, 5),
        "office_home": (44, 5),
        "digits": (10, 5),
    }


def test_all_purchases_of_mme_are_of_one_size():
    for path in CONFIGS:
        single = _load(path, "s_act").policies.single
        assert single.initial == single.per_round


def _photos(root):
    """Two domains of two classes, and MME's five kinds of list files for them."""
    rng = np.random.default_rng(0)
    lines = {"a": [], "b": []}
    for domain in lines:
        for number, name in enumerate(("cat", "dog")):
            folder = root / domain / name
            folder.mkdir(parents=True)
            for i in range(6):
                pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"my photo {i}.png")
                lines[domain].append(f"{domain}/{name}/my photo {i}.png {number}")
    parts = {
        "source": lines["a"],
        "labelled": lines["b"][:1] + lines["b"][6:7],
        "val": lines["b"][1:2] + lines["b"][7:8],
        "unlabeled": lines["b"][1:6] + lines["b"][7:],  # val is a part of it
    }
    for name, part in parts.items():
        (root / f"{name}.txt").write_text("\n".join(part) + "\n")


def _photo_config(root, preset):
    _photos(root)
    config = files.load(f"configs/tiny.py:preset={preset}")
    config.data.root = str(root)
    config.data.source = str(root / "source.txt")
    return config


def test_list_files_fix_every_part(tmp_path):
    config = _photo_config(tmp_path, preset="mme")
    config.data.shots_per_class = 0
    for part in ("labelled", "val", "unlabeled"):
        config.data[f"{part}_list"] = str(tmp_path / f"{part}.txt")
    made, _ = build.build(config)
    first = actions.template(made)
    target = made.task.target
    assert made.task.class_names == ("cat", "dog")
    labelled = target.id[first.pools.target].tolist()
    assert labelled == ["b/cat/my photo 0.png", "b/dog/my photo 0.png"]
    assert len(target.val.label) == 2
    assert target.test is target.train  # tested on what is not labelled, as MME
    assert len(target.train.label) == 12


def test_an_encoder_starts_from_given_weights(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 50)}
    names = {"conv1": "conv_params.0", "conv2": "conv_params.3", "fc1": "fc_params"}
    tensors = {}
    for layer, shape in shapes.items():
        tensors[f"{names[layer]}.weight"] = rng.normal(size=shape).astype(np.float32)
        tensors[f"{names[layer]}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
    np.savez(tmp_path / "lenet.npz", **tensors)
    config = _photo_config(tmp_path, preset="source_only")
    config.data.target = str(tmp_path / "b")
    config.data.val_per_class = 1
    config.model.weights = str(tmp_path / "lenet.npz")
    made, _ = build.build(config)
    encoder = made.train.variables.params["encoder"]
    kernel = tensors["conv_params.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(encoder["conv1"]["kernel"], kernel)
    kernel = tensors["fc_params.weight"].T  # one pixel is left: no order to change
    np.testing.assert_array_equal(encoder["fc1"]["kernel"], kernel)


def test_convolution_is_chosen_by_device():
    config = files.load("configs/tiny.py")
    assert jax.default_backend() == "cpu"
    assert build.make_encoder(config).implementation == "by_shape"
    config.model.convolution = "stock"
    assert build.make_encoder(config).implementation == "stock"
