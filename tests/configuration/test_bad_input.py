"""Mistakes of a user: one sentence, before any training, and nothing is lost."""

import csv
import subprocess
import sys

import jax
import ml_collections
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from dact_jax import classifier, errors, main, runner
from dact_jax.configuration import build, checks, defaults, files
from dact_jax.data.readers import decoding
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


def test_classes_are_chosen(photos, caplog):
    _images(photos, "a", ("lamp",), 2)
    config = _config(photos, **{"data.classes": "dog, lamp, cat"})
    with caplog.at_level("WARNING"):
        made, _ = _make(config)
    assert made.task.class_names == ("dog", "lamp", "cat")
    assert len(made.task.source.train.label) == 20
    assert "No image of b has the label lamp" in caplog.text
    config = _config(photos, **{"data.classes": "dog,lamp", "data.val_per_class": 0})
    made, _ = _make(config)
    assert len(made.task.source.train.label) == 11
    label = np.asarray(made.task.target.train.label)
    assert len(label) == 18 - 3  # a third of the dogs tests
    assert np.bincount(label + 1).tolist() == [9, 6]  # cats stay, unlabelled
    assert "9 images of classes (cat)" in caplog.text
    _refused(_config(photos, **{"data.classes": "dog,lapm"}), "data.classes", "'lamp'")


def test_missing_folder(photos):
    config = _config(photos, **{"data.source": str(photos / "nowhere")})
    _refused(config, str(photos / "nowhere"), "folder")
    _refused(_config(photos, **{"data.target": ""}), "''", "folder")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("x.npy", ("x.npy is not a complete .npy file", "numpy.save")),
        ("x.jpg", ("x.jpg is a file", ".csv", "folder")),
        ("x", ("x is a file", "folder")),
    ],
)
def test_a_file_that_is_there_but_no_domain(photos, name, parts):
    (photos / name).write_bytes(b"something")
    _refused(_config(photos, **{"data.target": str(photos / name)}), *parts)


def test_a_class_that_only_one_domain_has(photos):
    _images(photos, "c", classes=("cat", "dog", "emu"))
    only_target = _config(photos, **{"data.target": str(photos / "c")})
    _refused(only_target, "emu", "source a")
    only_source = _config(photos, **{"data.source": str(photos / "c")})
    _refused(only_source, "emu", "not in b")


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
    _refused(config, "class 'dog'", "source a", "a/dog/0.png")


def test_a_single_class_is_nothing_to_tell_apart(tmp_path):
    for domain in "ab":
        _images(tmp_path, domain, classes=("images",))
    _refused(_config(tmp_path), "only the class 'images'", "source a")


def test_the_same_images_twice(photos):
    config = _config(photos, **{"data.target": str(photos / "a")})
    _refused(config, "data.source", "data.target", "(a)")


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
    _refused(config, "b.csv, line 3", "'dogg'", "'dog'")


@pytest.mark.parametrize(
    ("part", "changes", "use"),
    [
        ("test", {"policy": "fixed", "method": "dann"}, "method 'dann' adapts"),
        ("val", {}, "method 'mme' adapts"),
        ("val", {"method": "source_only"}, "policy 'single' buys"),
        (
            "test",
            {"policy": "fixed", "method": "source_only", "data.shots_per_class": 2},
            "data.shots_per_class",
        ),
    ],
)
def test_a_target_without_an_image_to_train_on(photos, part, changes, use):
    rows = [
        f"b/{name}/{i}.png,{name},{part}" for name in ("cat", "dog") for i in (0, 1)
    ]
    (photos / "b.csv").write_text("\n".join(["path,label,split", *rows]))
    fields = {"data.target": str(photos / "b.csv"), "data.val_per_class": 0, **changes}
    _refused(_config(photos, **fields), "target b has no image", use, "4 ", "split")


@pytest.mark.parametrize(
    ("field", "preset"),
    [
        ("train.batch_unlabeled", "dann"),
        ("train.batch_source", "source_only"),
        ("pretrain.batch", "adda"),
    ],
)
def test_one_vector_a_batch_with_batch_norm(field, preset, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)  # tests have two, which share
    for name, rows in (("a", 12), ("b", 10)):
        label = np.arange(rows) % 2
        np.savez(tmp_path / name, features=np.eye(rows, 12), label=label)
    config = files.load(f"configs/embeddings.py:preset={preset}")
    config.data.update(
        source=str(tmp_path / "a.npz"), target=str(tmp_path / "b.npz"), val_per_class=0
    )
    config.update_from_flattened_dict({field: 1})
    if field == "train.batch_source":
        config.train.batch_target = 1
    _refused(config, "batch norm", field, "2 or more", "model.batch_norm")


def test_a_class_that_a_whole_manifest_lacks(photos):
    manifest = photos / "b.csv"
    rows = "".join(f"b/cat/{i}.png,cat\n" for i in range(9))
    manifest.write_text("path,label\n" + rows)
    config = _config(photos, **{"data.target": str(manifest), "data.val_per_class": 0})
    _refused(config, "dog", "not in b")


def test_a_budget_larger_than_the_pool(photos):
    config = _config(photos, **{"policies.single.initial": 10})
    _refused(config, "10 + 1 x 1 = 11", "only 10")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"policies.single.initial": 10}, ("10 + 1 x 1 = 11", "only 10")),
        (
            {"policy": "dual", "policies.dual.source_rounds": 10},
            ("policies.dual", "only 18 samples", "source_rounds"),
        ),
        (
            {"policy": "dual", "policies.dual.initial": 0},
            ("policies.dual.initial",),
        ),
        ({"data.val_per_class": 20}, ("class cat", "data.val_per_class=20")),
        ({"data.shots_per_class": 20, "data.val_per_class": 0}, ("class", "20")),
    ],
    ids=str,
)
def test_pools_too_small_are_known_before_an_image_is_opened(
    photos, monkeypatch, changes, parts
):
    def opened(*args, **options):
        raise AssertionError("an image was opened")

    monkeypatch.setattr(decoding, "inspect", opened)
    monkeypatch.setattr(decoding, "decode", opened)
    with pytest.raises(errors.InputError) as caught:
        runner.run(_config(photos, **changes), photos / "run")
    for part in parts:
        assert part in str(caught.value)
    assert not (photos / "run").exists()  # the corrected command may use it


def test_weights_that_do_not_fit_are_known_before_the_data_are_read(photos):
    path = photos / "wrong.npz"
    np.savez(path, **{"conv1.weight": np.zeros((64, 3, 3, 3), np.float32)})
    changes = {"model.encoder": "resnet18", "model.weights": str(path)}
    config = _config(**{"data.source": "not there", **changes})
    _refused(config, "wrong.npz", "resnet18")


def test_a_class_too_small_for_validation(photos):
    config = _config(photos, **{"data.val_per_class": 8})
    _refused(config, "class", "b has 9", "kept for test", "8")


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
        ("method", "mne", ("'mne'", "'mme'")),
        ("acquisition", "kcenter", ("'kcenter'", "'k_center'")),
        ("policy", "sngle", ("'sngle'", "'single'")),
        ("model.encoder", "resnet17", ("'resnet17'", "'resnet18'")),
        ("model.convolution", "tile", ("'tile'", "'tiled'")),
        ("model.num_norms", 2, ("model.batch_norm=True",)),
        ("seed", -1, ("seed=-1",)),
        ("model.weights", "nowhere.pth", ("nowhere.pth",)),
        ("model.weights_prefix", "net.", ("model.weights_prefix='net.'",)),
        ("methods.mme.head", "cosin", ("'cosin'", "'cosine'")),
        ("train.batch_source", 33, ("train.batch_source=33",)),
        ("train.batch_target", 16, ("train.batch_source=32", "train.batch_target=16")),
        ("train.steps", 0, ("train.steps=0",)),
        ("train.save_every", 30, ("train.save_every=30", "train.chunk=25")),
        ("data.crop", 17, ("crop", "17")),
        ("data.crop", 12, ("data.crop=12", "16 pixels")),
        ("data.mean", (0.5, 0.5), ("data.mean", "1 values")),
        ("data.on_error", "ignore", ("'ignore'",)),
        ("data.transductive_set", "some", ("'some'",)),
        ("data.val_list", "val.txt", ("'val.txt'", "data.unlabeled_list")),
        ("acquisition", "aada", ("'aada'", "'discriminator'", "'mme'", "'dann'")),
        ("model.encoder", "mlp", ("'mlp'", "images", "'lenet'")),
    ],
)
def test_a_wrong_value(photos, field, value, parts):
    _refused(_config(photos, **{field: value}), *parts)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"train.first_steps": -1}, ("train.first_steps=-1",)),
        ({"train.progress_steps": -1}, ("train.progress_steps=-1",)),
        ({"pretrain.steps": -1}, ("pretrain.steps=-1",)),
        ({"eval.every": -25}, ("eval.every=-25",)),
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
        ({"train.decays": 0}, ("train.decays=0",)),
        (
            {"pretrain.steps": 1, "pretrain.batch": 33},
            ("pretrain.batch=33",),
        ),
        ({"pretrain.steps": 1, "pretrain.batch": 0}, ("pretrain.batch=0",)),
        ({"model.shared_affine": True}, ("model.shared_affine", "model.num_norms=2")),
        ({"model.widths": (), "model.encoder": "mlp"}, ("model.widths=()",)),
        ({"eval.every": 30}, ("eval.every=30", "train.chunk=25")),
        ({"eval.keep": "best"}, ("eval.keep='best'", "'last', 'best_val'")),
        ({"eval.keep": "best_val"}, ("eval.keep='best_val'", "eval.every,")),
        ({"eval.branch": "both"}, ("eval.branch='both'", "'target', 'source'")),
        ({"eval.crops": 5}, ("eval.crops=5", "1, 10")),
        ({"data.crop_area": (0.0, 1.0)}, ("data.crop_area=(0.0, 1.0)",)),
        ({"data.crop_area": (0.5, 0.1)}, ("data.crop_area=(0.5, 0.1)",)),
        ({"data.crop_area": (0.5, 1.1)}, ("data.crop_area=(0.5, 1.1)",)),
        ({"data.crop_area": (0.5,)}, ("data.crop_area=(0.5,)",)),
        ({"model.dropout": 1.5}, ("model.dropout=1.5", "less than 1")),
        (
            {"method": "dann", "methods.dann.dropout": -0.1},
            ("methods.dann.dropout=-0.1",),
        ),
        (
            {"method": "dann", "methods.dann.bottleneck": -1},
            ("methods.dann.bottleneck=-1",),
        ),
        ({"method": "mada", "methods.mada.hidden": 0}, ("methods.mada.hidden=0",)),
        (
            {"method": "adda", "methods.adda.hidden": (500, 0)},
            ("methods.adda.hidden=(500, 0)",),
        ),
    ],
    ids=str,
)
def test_wrong_values_are_found_before_the_data_are_read(changes, parts):
    _refused(_config(**{"data.source": "not there", **changes}), *parts)


def test_the_batch_of_an_unused_stage_is_not_checked():
    checks.check(_config(**{"pretrain.batch": 33}))


def test_aada_needs_a_discriminator_of_domains_not_of_label_noise():
    config = _config(source="not there", method="alda", acquisition="aada")
    _refused(config, "'aada'", "'alda'", "'dann'")


def test_a_method_that_needs_a_trained_network(photos):
    config = _config(photos, method="adda")
    _refused(config, "'adda'", "pretrain.steps")


def test_best_by_validation_without_validation_images(photos):
    changes = {"eval.keep": "best_val", "eval.every": 25, "data.val_per_class": 0}
    _refused(_config(photos, **changes), "eval.keep='best_val'", "data.val_per_class")


@pytest.mark.parametrize(
    "changes", [{"method": "jan"}, {"method": "dann", "methods.dann.form": "tll"}]
)
def test_batches_that_a_method_needs_equal(photos, changes):
    config = _config(photos, **changes)
    _refused(config, "train.batch_source=32", "train.batch_unlabeled=64")


def test_an_unknown_or_ill_typed_field():
    config = files.load(TINY)
    config.train.stps = 5
    _refused(config, "'train.stps'", "'train.steps'")
    for field, value, wanted in (
        ("train.steps", 1.5, "a whole number"),
        ("train.learning_rate", "fast", "a number"),
        ("data.transductive", 1, "True or False"),
        ("name", 3, "a text"),
        ("data.mean", 0.5, "a tuple"),
        ("eval.every", 25.0, "a whole number"),
        ("pretrain.learning_rate", "fast", "a number"),
        ("train.multipliers.encoder", True, "a number"),
    ):
        flat = files.load(TINY).to_dict()
        inner = flat
        for name in field.split(".")[:-1]:
            inner = inner[name]
        inner[field.split(".")[-1]] = value
        _refused(ml_collections.ConfigDict(flat), f"{field}=", wanted)


def test_a_float_field_accepts_an_int():
    config = defaults.get_config()
    config.train.learning_rate = 1
    defaults.check(config)


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("preset=s_atc", ("'s_atc'", "'s_act'")),
        ("preset=alda_star", ("'alda_star'",)),  # paper 2 has no transductive row
        ("s_act", ("'s_act'", "preset=<name>")),
    ],
)
def test_an_unknown_preset_or_argument(argument, parts):
    with pytest.raises(errors.InputError) as caught:
        files.load(f"configs/digits.py:{argument}")
    for part in parts:
        assert part in str(caught.value)


MISTAKES = {
    "unknown field": (f"--config={TINY}", "--config.train.stps=4", "'train.steps'"),
    "unknown bool": (
        f"--config={TINY}",
        "--noconfig.train.nestrov",
        "'train.nesterov'",
    ),
    "wrong type": (
        f"--config={TINY}",
        "--config.train.steps=abc",
        "train.steps='abc' must be a whole number",
    ),
    "NaN": (f"--config={TINY}", "--config.methods.mme.weight=nan", "weight=nan must"),
    "value apart": (f"--config={TINY}", "--config.seed", "4294967296", "seed=42949"),
    "no switch": (f"--config={TINY}", "--config.figures=maybe", "True or False"),
    "no dashes": (f"--config={TINY}", "config.train.steps=3", "--config.train.steps=3"),
    "no such user": ("--config=~nosuchuser/x.py", "--workdir=x", "'nosuchuser'"),
    "empty preset": (f"--config={TINY}:", "--workdir=x", "colon"),
    "unknown flag": (f"--config={TINY}", "--confg.seed=1", "confg.seed"),
    "unknown config": ("--config=tyni", "--config.seed=1", "'tiny'"),
    "unknown preset": (f"--config={TINY}:preset=s_atc", "--workdir=x", "'s_act'"),
    "no config": ("--workdir=x", "--workdir=x", "--config"),
    "file as workdir": (f"--config={TINY}", "--workdir=pyproject.toml/run", ".toml"),
}
RUN_STARTS = "file as workdir"  # the others are found while flags are parsed


def _check_exit(code, out, err, part):
    assert code == 2
    assert part in err
    assert err.count("\n") == 1, err
    assert out == ""


@pytest.fixture
def restored_flags():
    """Values and definitions of the global flags, and whether they were parsed."""
    parsed = flags.FLAGS.is_parsed()
    saved = flagsaver.save_flag_values(flags.FLAGS)
    yield
    flagsaver.restore_flag_values(saved, flags.FLAGS)
    if not parsed:
        flags.FLAGS.unparse_flags()


@pytest.mark.filterwarnings("ignore:the load_module")  # of config_flags
@pytest.mark.parametrize("mistake", sorted(set(MISTAKES) - {RUN_STARTS}))
def test_main_answers_a_wrong_flag_with_one_sentence(
    mistake, restored_flags, monkeypatch, capsys
):
    """Without app.run, which would change the logging of this process."""
    *arguments, part = MISTAKES[mistake]
    monkeypatch.setattr(
        main.app, "run", lambda execute, argv, flags_parser: execute(flags_parser(argv))
    )
    monkeypatch.setattr(sys, "argv", ["main", *arguments])  # config_flags reads it
    with pytest.raises(SystemExit) as caught:
        main.main(sys.argv)
    _check_exit(caught.value.code, *capsys.readouterr(), part)


@pytest.mark.parametrize(
    "help", [["--help"], [f"--config={TINY}", "-h"], ["--config", TINY, "--help"]]
)
def test_help_lists_what_there_is_to_choose(help, capsys):
    main.main(["main", *help])
    out, err = capsys.readouterr()
    assert err == ""
    for part in ("\n  s_clue ", "\n  badge ", "\n  dual ", "\n  train.steps="):
        assert part in out
    for of_absl in ("alsologtostderr", "pdb", "flagfile", "verbosity"):
        assert of_absl not in out
    assert ("\n  train.steps=100 " in out) == (
        TINY in " ".join(help)
    )  # tiny, or the default


def test_help_about_a_config_that_is_not_there_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["main", "--config=tyni", "--help"])
    _check_exit(caught.value.code, *capsys.readouterr(), "'tiny'")


@pytest.mark.parametrize("mistake", ["wrong type", RUN_STARTS])
def test_the_command_answers_a_mistake_with_one_sentence(mistake):
    *arguments, part = MISTAKES[mistake]
    command = [sys.executable, "-m", "dact_jax.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    _check_exit(done.returncode, done.stdout, done.stderr, part)


def test_a_workdir_accepts_changes_of_fields_without_influence(photos, tmp_path):
    folder = tmp_path / "run"
    claim.claim(folder, defaults.identity(_config()), data={}, devices=[])
    changes = {"tensorboard": True, "policies.fixed": {"new": 1}}
    other = _config(**changes, **{"pretrain.folder": "shared"})
    claim.claim(folder, defaults.identity(other), data={}, devices=[])
    changed = _config(**{"methods.mme.weight": 0.2})
    with pytest.raises(errors.InputError, match=r"methods\.mme\.weight"):
        claim.claim(folder, defaults.identity(changed), data={}, devices=[])


def test_a_field_that_an_older_version_did_not_have_counts_as_its_default(tmp_path):
    config = _config(method="source_only", policy="fixed")
    old, new = defaults.identity(config), defaults.identity(config)
    del old["train"]["power"]
    new["methods"]["source_only"]["weight"] = 1.0  # it had no options
    unset = {**defaults.leaves(config), "methods.source_only.weight": 1.0}
    claim.claim(tmp_path / "run", old, data={}, devices=[])
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    claim.claim(tmp_path / "run", new, data={}, devices=[], defaults=unset)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before
    new["train"]["power"] = 0.5
    with pytest.raises(errors.InputError, match=r"train\.power=0\.75, .* has 0\.5"):
        claim.check(tmp_path / "run", new, defaults=unset)
    with pytest.raises(errors.InputError, match=r"train\.power=\(not set\)"):
        claim.check(tmp_path / "run", new)


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


def test_fields_without_influence_are_those_of_the_last_start(tmp_path):
    folder, config = tmp_path / "run", _config()
    claim.claim(folder, defaults.identity(config), data={}, devices=[])
    config.oracle, config.reference = "human", (("paper", 10, 81.5),)
    claim.record_others(folder, defaults.without_influence(config))
    read = classifier.recorded_config(folder)
    assert defaults.identity(read) == defaults.identity(config)
    assert (read.oracle, read.reference) == ("human", (["paper", 10, 81.5],))
    before = (folder / "config.yaml").stat()
    claim.record_others(folder, defaults.without_influence(read))
    assert (folder / "config.yaml").stat() == before
    claim.record_others(folder, defaults.without_influence(_config()))
    assert classifier.recorded_config(folder).oracle == "auto"
    claim.check(folder, defaults.identity(_config()))
