"""Whatever a user gets wrong: one sentence, before any training, nothing lost."""

import csv
import subprocess
import sys

import ml_collections
import numpy as np
import pytest
from PIL import Image

from dact_jax import errors, runner
from dact_jax.configuration import build, checks, defaults, files
from dact_jax.rounds import actions, claim

TINY = "configs/tiny.py"


def _images(root, domain, classes=("cat", "dog"), count=9):
    rng = np.random.default_rng(len(domain))
    for name in classes:
        folder = root / domain / name
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")


def _config(root=None, **changes):
    config = files.load(TINY)
    if root is not None:
        config.data.update(source=str(root / "a"), target=str(root / "b"))
        config.policies.single.update(initial=2, per_round=1, purchases=1)
        config.data.val_per_class = 1
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture
def photos(tmp_path):
    _images(tmp_path, "a")
    _images(tmp_path, "b")
    return tmp_path


def _make(config):
    """All that runs before the first training step."""
    made, data = build.build(config)
    actions.template(made)
    return made, data


def _refused(config, *parts):
    """The sentence, which names every part."""
    with pytest.raises(errors.InputError) as caught:
        _make(config)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_two_folders_are_read(photos):
    made, data = _make(_config(photos))
    assert made.task.class_names == ("cat", "dog")
    assert len(made.task.target.test.label) == 6  # 18 images, a third
    assert len(made.task.target.train.label) == 10  # less one a class for validation
    assert set(data) == {"source", "target"}


def test_missing_folder(photos):
    config = _config(photos, **{"data.source": str(photos / "nowhere")})
    _refused(config, str(photos / "nowhere"), "folder")
    _refused(_config(photos, **{"data.target": ""}), "''", "give a folder")


def test_a_class_that_only_one_domain_has(photos):
    _images(photos, "c", classes=("cat", "dog", "emu"))
    only_target = _config(photos, **{"data.target": str(photos / "c")})
    _refused(only_target, "class emu", "not in source a")
    only_source = _config(photos, **{"data.source": str(photos / "c")})
    _refused(only_source, "class emu", "not in b")


def test_an_unreadable_image(photos):
    broken = photos / "b" / "dog" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    _refused(_config(photos), str(broken), "skip")
    made, data = build.build(_config(photos, **{"data.on_error": "skip"}))
    assert data["target_skipped"] == "1 unreadable"
    assert "b/dog/3.png" not in made.task.target.id


def test_a_class_that_lost_its_images(photos):
    for path in (photos / "a" / "dog").iterdir():
        path.write_bytes(b"no image")
    config = _config(photos, **{"data.on_error": "skip"})
    _refused(config, "class dog", "source a")


def test_the_same_images_twice(photos):
    config = _config(photos, **{"data.target": str(photos / "a")})
    _refused(config, "the same images (a)")


def test_resnets_come_in_two_variants(photos):
    config = _config(photos, **{"model.encoder": "resnet18"})
    config.model.variant = "torchvison"
    _refused(config, "'torchvison'", "'torchvision'")


def test_source_only_trains_no_norm_of_the_target(photos):
    config = _config(photos, **{"method": "source_only", "model.batch_norm": True})
    config.model.num_norms = 2
    _refused(config, "model.num_norms=1")


def test_a_manifest_row_with_an_unknown_class(photos):
    manifest = photos / "b.csv"
    with manifest.open("w", newline="") as file:
        rows = [("b/cat/0.png", "cat"), ("b/dog/1.png", "dogg"), ("b/dog/2.png", "")]
        csv.writer(file).writerows([("path", "label"), *rows])
    config = _config(photos, **{"data.target": str(manifest)})
    _refused(config, "b.csv, line 3", "'dogg'", "did you mean 'dog'")


def test_a_class_that_a_whole_manifest_lacks(photos):
    manifest = photos / "b.csv"
    rows = "".join(f"b/cat/{i}.png,cat\n" for i in range(9))
    manifest.write_text("path,label\n" + rows)
    config = _config(photos, **{"data.target": str(manifest), "data.val_per_class": 0})
    _refused(config, "class dog", "not in b")


def test_a_budget_larger_than_the_pool(photos):
    config = _config(photos, **{"policies.single.initial": 10})
    _refused(config, "10 + 1 x 1 = 11 target labels", "only 10")


def test_a_class_too_small_for_validation(photos):
    config = _config(photos, **{"data.val_per_class": 8})
    _refused(config, "class", "of b", "labelled images", "8")


def test_unlabelled_images_are_not_for_sale(photos):
    for i in range(3):
        (photos / "b" / f"new{i}.png").write_bytes(
            (photos / "b" / "cat" / "0.png").read_bytes()
        )
    config = _config(photos, **{"policies.single.initial": 10})
    _refused(config, "only 10 of the 13")


@pytest.mark.parametrize(
    ("field", "value", "parts"),
    [
        ("method", "mne", ("'mne'", "did you mean 'mme'?")),
        ("acquisition", "kcenter", ("'kcenter'", "'k_center'")),
        ("policy", "sngle", ("'sngle'", "'single'")),
        ("model.encoder", "resnet17", ("'resnet17'", "'resnet18'")),
        ("model.convolution", "tile", ("'tile'", "'tiled'")),
        ("model.num_norms", 2, ("model.batch_norm=True",)),
        ("seed", -1, ("seed=-1",)),
        ("model.weights", "nowhere.pth", ("nowhere.pth",)),
        ("methods.mme.head", "cosin", ("'cosin'", "'cosine'")),
        ("train.batch_source", 33, ("train.batch_source=33", "multiple")),
        ("train.batch_target", 16, ("must be equal",)),
        ("train.steps", 0, ("train.steps=0",)),
        ("train.save_every", 30, ("train.save_every=30", "train.chunk=25")),
        ("data.crop", 17, ("crop", "17")),
        ("data.crop", 12, ("data.crop=12", "16 pixels")),
        ("data.mean", (0.5, 0.5), ("data.mean", "1 values")),
        ("data.on_error", "ignore", ("'ignore'",)),
        ("data.transductive_set", "some", ("'some'",)),
        ("data.val_list", "val.txt", ("go together",)),
        ("acquisition", "aada", ("'aada'", "'discriminator'", "'mme'", "'dann'")),
        ("model.encoder", "mlp", ("'mlp'", "holds images")),
    ],
)
def test_a_wrong_value(photos, field, value, parts):
    _refused(_config(photos, **{field: value}), *parts)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"train.first_steps": -1}, ("train.first_steps=-1", "negative")),
        ({"train.progress_steps": -1}, ("train.progress_steps=-1", "negative")),
        ({"pretrain.steps": -1}, ("pretrain.steps=-1", "negative")),
        ({"eval.every": -25}, ("eval.every=-25", "negative")),
        *(
            ({f"train.multipliers.{group}": -0.5}, (f"train.multipliers.{group}=-0.5",))
            for group in ("encoder", "bottleneck", "classifier", "others")
        ),
        ({"train.schedule": "cosine"}, ("train.schedule='cosine'", "'annealed'")),
        ({"pretrain.schedule": "cosine"}, ("pretrain.schedule='cosine'", "'inverse'")),
        ({"train.optimizer": "adamw"}, ("train.optimizer='adamw'", "'sgd', 'adam'")),
        (
            {"pretrain.optimizer": "lamb"},
            ("pretrain.optimizer='lamb'", "'sgd', 'adam'"),
        ),
        ({"train.decays": 0}, ("train.decays=0", "1 or more")),
        (
            {"pretrain.steps": 1, "pretrain.batch": 33},
            ("pretrain.batch=33", "multiple"),
        ),
        ({"pretrain.steps": 1, "pretrain.batch": 0}, ("pretrain.batch=0", "positive")),
        ({"model.shared_affine": True}, ("model.shared_affine", "model.num_norms=2")),
        ({"model.widths": (), "model.encoder": "mlp"}, ("model.widths=()",)),
        ({"eval.every": 30}, ("eval.every=30", "train.chunk=25")),
        ({"eval.keep": "best"}, ("eval.keep='best'", "'last', 'best_val'")),
        ({"eval.keep": "best_val"}, ("eval.keep='best_val'", "set eval.every")),
        ({"eval.branch": "both"}, ("eval.branch='both'", "'target', 'source'")),
        ({"eval.crops": 5}, ("eval.crops=5", "1, 10")),
        ({"data.crop_area": (0.0, 1.0)}, ("data.crop_area=(0.0, 1.0)", "two shares")),
        ({"data.crop_area": (0.5, 0.1)}, ("data.crop_area=(0.5, 0.1)",)),
        ({"data.crop_area": (0.5, 1.1)}, ("data.crop_area=(0.5, 1.1)",)),
        ({"data.crop_area": (0.5,)}, ("data.crop_area=(0.5,)",)),
        ({"model.dropout": 1.5}, ("model.dropout=1.5", "[0, 1)")),
        (
            {"method": "dann", "methods.dann.dropout": -0.1},
            ("methods.dann.dropout=-0.1",),
        ),
        (
            {"method": "dann", "methods.dann.bottleneck": -1},
            ("methods.dann.bottleneck=-1", "0 (none)"),
        ),
        ({"method": "mada", "methods.mada.hidden": 0}, ("methods.mada.hidden=0",)),
        (
            {"method": "adda", "methods.adda.hidden": (500, 0)},
            ("methods.adda.hidden=(500, 0)",),
        ),
    ],
    ids=str,
)
def test_what_the_data_do_not_decide_is_refused_before_they_are_read(changes, parts):
    _refused(_config(**{"data.source": "not there", **changes}), *parts)


def test_a_batch_that_nothing_draws_may_be_any():
    checks.check(_config(**{"pretrain.batch": 33}))


def test_a_discriminator_of_labels_does_not_tell_domains_apart(photos):
    config = _config(photos, method="alda", acquisition="aada")
    _refused(config, "acquisition 'aada'", "'alda'", "'dann'")


def test_a_method_that_needs_a_trained_network(photos):
    config = _config(photos, method="adda")
    _refused(config, "method 'adda'", "set pretrain.steps")


def test_best_by_validation_without_validation_images(photos):
    changes = {"eval.keep": "best_val", "eval.every": 25, "data.val_per_class": 0}
    _refused(_config(photos, **changes), "eval.keep='best_val'", "data.val_per_class")


@pytest.mark.parametrize(
    "changes", [{"method": "jan"}, {"method": "dann", "methods.dann.form": "tll"}]
)
def test_batches_that_a_method_needs_equal(photos, changes):
    config = _config(photos, **changes)
    _refused(config, "train.batch_source=32", "train.batch_unlabeled=64", "equal")


def test_an_unknown_or_ill_typed_field():
    config = files.load(TINY)
    config.train.stps = 5
    _refused(config, "'train.stps'", "'train.steps'")
    for field, value, wanted in (
        ("train.steps", 1.5, "int"),
        ("train.learning_rate", "fast", "float"),
        ("data.transductive", 1, "bool"),
        ("name", 3, "str"),
        ("data.mean", 0.5, "tuple"),
        ("eval.every", 25.0, "int"),
        ("pretrain.learning_rate", "fast", "float"),
        ("train.multipliers.encoder", True, "float"),
    ):
        flat = files.load(TINY).to_dict()
        inner = flat
        for name in field.split(".")[:-1]:
            inner = inner[name]
        inner[field.split(".")[-1]] = value
        _refused(ml_collections.ConfigDict(flat), f"config.{field}=", wanted)


def test_a_whole_number_is_a_fine_float():
    config = defaults.get_config()
    config.train.learning_rate = 1
    defaults.check(config)


def test_an_unknown_preset_or_argument():
    with pytest.raises(errors.InputError, match="did you mean 's_act'"):
        files.load("configs/digits.py:preset=s_atc")
    with pytest.raises(errors.InputError, match="no preset 'alda_star'"):
        files.load("configs/digits.py:preset=alda_star")  # paper 2 has no such row
    with pytest.raises(errors.InputError, match="must be preset=<name>"):
        files.load("configs/digits.py:s_act")


def test_a_missing_config_file():
    with pytest.raises(errors.InputError, match=r"no config file 'configs/digit\.py'"):
        files.load("configs/digit.py")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.train.stps=4", "'train.stps'; did you mean 'train.steps'?"),
        ("--config.train.steps=abc", "--config.train.steps=abc"),
        ("--confg.seed=1", "confg.seed"),
        ("--noconfig.train.nestrov", "did you mean 'train.nesterov'?"),
        ("--workdir=pyproject.toml/run", "pyproject.toml"),
    ],
)
def test_the_command_line_answers_in_one_sentence(argument, message):
    command = [sys.executable, "-m", "dact_jax.main", f"--config={TINY}", argument]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""


def test_what_has_no_influence_does_not_bind_a_workdir(photos, tmp_path):
    folder = tmp_path / "run"
    claim.claim(folder, defaults.identity(_config()), data={}, devices=[])
    changes = {"tensorboard": True, "policies.fixed": {"new": 1}}
    other = _config(**changes, **{"pretrain.folder": "shared"})
    claim.claim(folder, defaults.identity(other), data={}, devices=[])
    changed = _config(**{"methods.mme.weight": 0.2})
    with pytest.raises(errors.InputError, match=r"methods\.mme\.weight"):
        claim.claim(folder, defaults.identity(changed), data={}, devices=[])


def test_a_workdir_of_another_config(photos, tmp_path):
    folder = tmp_path / "run"
    config = _config(photos)
    claim.claim(folder, defaults.identity(config), data={}, devices=[])
    other = _config(photos, **{"policies.single.per_round": 2})
    before = (folder / "config.yaml").read_bytes()
    with pytest.raises(errors.InputError) as caught:
        runner.run(other, folder, command="command")
    assert "policies.single.per_round=1" in str(caught.value)
    assert "this run has 2" in str(caught.value)
    assert (folder / "config.yaml").read_bytes() == before
