"""A run on image files that a frozen network embeds: started, resumed, loaded."""

import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

import dact_jax
from dact_jax import errors, main
from dact_jax.data.readers.files import ImageFiles
from dact_jax.embedding import sweep
from dact_jax.models import backbones
from dact_jax.prediction import validation
from dact_jax.prediction.sweeping import Caches
from dact_jax.rounds import claim, workdir
from tests.embedding import tiny

BACKBONE = "weights.pth"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """studio/{cup,mug}/*.png, and phone likewise, with colors that tell classes."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for domain, brightness in (("studio", 60), ("phone", 20)):
        for label, name in enumerate(("cup", "mug")):
            (root / domain / name).mkdir(parents=True)
            for number in range(15):
                pixels = rng.integers(0, 60, (10, 12, 3)) + brightness
                pixels[:, :, label] += 90
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(root / domain / name / f"{number:02} ä.png")
    return root


@pytest.fixture(autouse=True)
def backbone(monkeypatch):
    """Takes the place of a network with weights in a file; its seed is in `seed`."""
    seed = [0]
    monkeypatch.setattr(backbones, "load", lambda name: tiny.backbone(seed[0]))
    return seed


def _config(root, **changes):
    fields = {
        "source": root / "studio",
        "target": root / "phone",
        "figures": False,
        "model.backbone": BACKBONE,
        "model.widths": (8,),
        "data.val_per_class": 1,
        "policies.single.initial": 3,
        "policies.single.per_round": 2,
        "policies.single.purchases": 1,
        "train.steps": 20,
        "train.chunk": 10,
        "train.eval_batch": 16,
    }
    return dact_jax.config("folder", **{**fields, **changes})


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "load", lambda name: tiny.backbone())
        dact_jax.run(_config(photos), folder)
    return folder


def _content(folder):
    rows = [
        {name: value for name, value in row.items() if "seconds" not in name}
        for row in workdir.read(folder)
    ]
    return rows, workdir.read_picks(folder)


def test_it_equals_a_run_on_the_same_vectors_in_files(photos, finished, tmp_path):
    config = _config(photos)
    for side in ("studio", "phone"):
        paths = sorted(photos.glob(f"{side}/*/*.png"))
        files = ImageFiles(tuple(map(str, paths)), 1, 3)
        ids = [path.relative_to(photos).as_posix() for path in paths]
        np.savez(
            tmp_path / f"{side}.npz",
            features=sweep.embed(files, tiny.backbone()),
            label=np.array([path.parent.name for path in paths]),
            path=np.array(ids),
        )
    config.update_from_flattened_dict(
        {
            "model.backbone": "",
            "source": str(tmp_path / "studio.npz"),
            "target": str(tmp_path / "phone.npz"),
        }
    )
    dact_jax.run(config, tmp_path / "run")
    assert _content(tmp_path / "run") == _content(finished)


def test_the_record_names_the_backbone_and_the_files(finished):
    data = claim.read(finished).data
    assert data["backbone"] == tiny.backbone().identity
    assert data["target"].startswith("sha256:")
    assert list((finished / workdir.EMBEDDINGS).glob("*/*.npz"))


def test_known_vectors_are_not_computed_again(photos, finished, tmp_path, monkeypatch):
    """Not even where another run has another place and the photos are copies."""
    shutil.copytree(photos / "phone", tmp_path / "photos" / "phone")
    shutil.copytree(photos / "studio", tmp_path / "photos" / "studio")
    # A run that was killed while it embedded: its folder holds nothing else.
    (tmp_path / "run").mkdir()
    shutil.copytree(finished / workdir.EMBEDDINGS, tmp_path / "run" / "embeddings")
    launched = []
    launch = sweep._launch
    monkeypatch.setattr(
        sweep, "_launch", lambda *args: launched.append(len(args[2])) or launch(*args)
    )
    dact_jax.run(_config(tmp_path / "photos"), tmp_path / "run")
    assert launched == []
    assert _content(tmp_path / "run") == _content(finished)


def test_other_weights_are_another_run(photos, finished, backbone):
    backbone[0] = 1
    with pytest.raises(errors.InputError, match="backbone"):
        dact_jax.run(_config(photos), finished)
    with pytest.raises(errors.InputError, match=r"other weights.*weights\.pth"):
        dact_jax.load(finished)


def test_the_classifier_takes_images(photos, finished):
    classifier = dact_jax.load(finished)
    paths = sorted((photos / "phone").glob("*/*.png"))
    expected = classifier.predict(paths)
    labels = [path.parent.name for path in paths]
    assert classifier.evaluate(paths, labels) > 0.9
    opened = [Image.open(path) for path in paths[:3]]
    np.testing.assert_allclose(classifier.predict(opened), expected[:3], atol=1e-6)
    arrays = [np.asarray(image) for image in opened]
    np.testing.assert_allclose(classifier.predict(arrays), expected[:3], atol=1e-6)
    assert classifier.predict([]).shape == (0, 2)
    assert classifier.embed(paths[:5]).shape == (5, 8)
    with pytest.raises(errors.InputError, match="list"):
        classifier.predict(paths[0])


def test_its_validation_images_are_read_for_calibration(finished, tmp_path, backbone):
    classifier = dact_jax.load(finished)
    known = sweep.known_vectors(classifier.backbone, finished / workdir.EMBEDDINGS)
    told = []
    found = validation.outputs(
        classifier,
        finished,
        backbone="moved.pth",  # any name is this backbone here
        caches=Caches(tmp_path / "cache", known),
        progress=lambda *at: told.append(at),
    )
    assert sorted(found.label.tolist()) == [0, 1]  # data.val_per_class=1
    assert found.logits.argmax(-1).tolist() == found.label.tolist()
    assert told[-1] == (60, 60)
    assert not (tmp_path / "cache").exists()  # all were known
    backbone[0] = 1
    with pytest.raises(errors.InputError, match="its backbone has changed since the"):
        validation.outputs(classifier, finished)


def test_weights_that_are_gone_are_named(finished, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(errors.InputError, match=r"weights\.pth.*backbone=FILE") as e:
        dact_jax.load(finished)
    assert "\n" not in str(e.value)
    with pytest.raises(errors.InputError, match=r"elsewhere\.pth.*backbone=FILE"):
        dact_jax.load(finished, backbone=pathlib.Path("elsewhere.pth"))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"model.weights": "resnet18.pth"}, ("model.weights", "model.backbone")),
        ({"model.encoder": "lenet"}, ("model.backbone", "'lenet'")),
        ({"model.backbone": ""}, ("'mlp'", "model.backbone=")),
    ],
)
def test_fields_that_do_not_fit(photos, tmp_path, changes, parts):
    with pytest.raises(errors.InputError) as caught:
        dact_jax.run(_config(photos, **changes), tmp_path / "run")
    for part in parts:
        assert part in str(caught.value), caught.value
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_only_image_files_are_embedded(photos, tmp_path):
    label = np.array([0, 0, 1, 1])
    np.savez(tmp_path / "x.npz", features=np.ones((4, 3)), label=label)
    config = _config(photos, source=tmp_path / "x.npz")
    with pytest.raises(errors.InputError, match=r"x holds emb.*configs/embeddings\.py"):
        dact_jax.run(config, tmp_path / "run")
    pixels = {f"x_{part}": np.zeros((4, 8, 8), np.uint8) for part in ("train", "test")}
    np.savez(tmp_path / "d.npz", y_train=label, y_test=label, **pixels)
    for side in ("source", "target"):
        config = _config(photos, **{side: tmp_path / "d.npz"})
        with pytest.raises(errors.InputError, match=r"model\.backbone.*d holds arrays"):
            dact_jax.run(config, tmp_path / "run")


def test_an_override_on_the_command_line_reaches_the_file():
    argv = ["main", "--config=folder:preset=s_act", "--config.model.encoder=resnet50"]
    checked = main._checked(argv)
    assert checked[1].endswith("folder.py:preset=s_act,model.encoder=resnet50")
    argv = ["main", "--config", "folder", "--config.model.encoder", "lenet"]
    assert main._checked(argv)[2].endswith("folder.py:model.encoder=lenet")
    assert "model.backbone=''" in main._help([*argv, "--help"])
    assert "model.backbone='efficientnet_lite0'" in main._help(["main", *argv[1:3]])
