"""From a config to what runs: every preset, list files, weights."""

import pathlib

import jax
import numpy as np
import pytest
from PIL import Image

from dact_jax import build, config as defaults, engine, presets

STARS = [f"{name}_star" for name in presets.PRESETS if name != "source_only"]
PRESETS = [*presets.PRESETS, *STARS]
CONFIGS = sorted(pathlib.Path("configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_config_has_every_preset(path, preset):
    config = defaults.load(f"{path}:preset={preset}")
    defaults.check(config)
    assert config.name == f"{path.stem}_{preset}"
    assert config.data.transductive == preset.endswith("_star")
    given = config.data.shots_per_class > 0
    assert given == preset.startswith("mme")
    assert config.policy == ("single" if preset.startswith("s_") else "fixed")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_without_argument_it_is_s_act(path):
    assert defaults.load(str(path)).name == f"{path.stem}_s_act"


def test_only_pretrained_encoders_learn_slowly():
    for path in CONFIGS:
        config = defaults.load(str(path))
        slow = 0.1 if config.model.weights else 1.0
        assert config.train.encoder_multiplier == slow
        assert config.policies.single.initial == config.policies.single.per_round


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_batches_can_be_split_over_eight_devices(path):
    train = defaults.load(str(path)).train
    sizes = (train.batch_source, train.batch_target, train.batch_unlabeled)
    assert not any(size % 8 for size in (*sizes, train.eval_batch))


def test_budgets_are_those_of_table_6():
    spent = {}
    for name in ("digits", "svhn_mnist", "office31"):
        single = defaults.load(f"configs/{name}.py").policies.single
        spent[name] = single.initial + single.purchases * single.per_round
    assert spent == {"digits": 50, "svhn_mnist": 50, "office31": 200}


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


def test_list_files_fix_every_part(tmp_path):
    _photos(tmp_path)
    config = defaults.load("configs/tiny.py:preset=mme")
    config.data.shots_per_class = 0
    config.data.root = str(tmp_path)
    config.data.source = str(tmp_path / "source.txt")
    for part in ("labelled", "val", "unlabeled"):
        config.data[f"{part}_list"] = str(tmp_path / f"{part}.txt")
    made, _ = build.build(config)
    first = engine.template(made)
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
    config = defaults.load("configs/tiny.py")
    config.model.weights = str(tmp_path / "lenet.npz")
    made, _ = build.build(config)
    encoder = made.train.variables.params["encoder"]
    kernel = tensors["conv_params.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(encoder["conv1"]["kernel"], kernel)
    kernel = tensors["fc_params.weight"].T  # one pixel is left: no order to change
    np.testing.assert_array_equal(encoder["fc1"]["kernel"], kernel)


def test_convolution_is_chosen_by_device():
    config = defaults.load("configs/tiny.py")
    assert jax.default_backend() == "cpu"
    assert build._encoder(config).formulation == "tiled"
    config.model.convolution = "stock"
    assert build._encoder(config).formulation == "stock"
