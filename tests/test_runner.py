"""`dact_jax.run` and `dact_jax.load` on a run of small images and one of vectors."""

import numpy as np
import pytest
import yaml
from PIL import Image

import dact_jax
from dact_jax import classifier, errors
from dact_jax.configuration import defaults
from dact_jax.reports.pictures import captions
from dact_jax.rounds import workdir
from tests import toy


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A finished run on digits, with its data: {x_train, y_train, x_test, y_test}."""
    folder = tmp_path_factory.mktemp("runner")
    rng = np.random.default_rng(0)
    for name in ("source", "target"):
        label = rng.permutation(np.repeat(np.arange(10), 12))
        image = rng.integers(0, 80, (120, 10, 20), np.uint8)
        for row, k in enumerate(label):
            image[row, :, 2 * k : 2 * k + 2] += 150
        arrays = {"x_train": image[:80], "y_train": label[:80]}
        arrays |= {"x_test": image[80:], "y_test": label[80:]}
        np.savez(folder / f"{name}.npz", **arrays)
    config = _config(folder)
    return folder, dact_jax.run(config, folder / "run"), arrays


def _config(folder, **changes):
    fields = {
        "source": folder / "source.npz",
        "target": folder / "target.npz",
        "figures": False,
        "data.size": 16,
        "data.crop": 16,
        "data.val_per_class": 1,
        "data.shots_per_class": 0,
        "policies.single.initial": 4,
        "policies.single.per_round": 4,
        "policies.single.purchases": 1,
        "train.steps": 20,
        "train.chunk": 10,
        "train.eval_batch": 16,
        "model.batch_norm": True,
        "model.num_norms": 2,
    }
    return dact_jax.config("tiny", **{**fields, **changes})


def test_a_run_is_silent_and_returns_what_its_folder_records(images, capfd):
    folder, result, _ = images
    assert result.rows == workdir.read(folder / "run")
    assert result.picks == workdir.read_picks(folder / "run")
    assert [pick.round for pick in result.picks] == [0] * 4 + [1] * 4
    assert len(result.accuracies) == 2
    assert all(0 <= accuracy <= 1 for accuracy in result.accuracies)
    assert result.report.read_text().startswith("# tiny")
    assert not result.finished_before
    draft = folder / "run" / "report.md.tmp"
    draft.write_text("a process was killed while it wrote")
    again = dact_jax.run(_config(folder), folder / "run")
    assert again.finished_before
    assert not draft.exists()
    assert again.rows == result.rows
    assert capfd.readouterr().out == ""


def test_killed_between_pictures_and_report_it_has_both_the_next_time(images):
    folder, result, _ = images
    picture = folder / "run" / captions.EMBEDDING_TARGET
    before = result.report.read_text()
    try:
        picture.write_bytes(b"drawn before the process was killed")
        dact_jax.run(_config(folder), folder / "run")
        assert f"]({picture.name})" in result.report.read_text()
    finally:
        picture.unlink()
        result.report.write_text(before)


def test_another_config_is_rejected_before_anything_is_read(images, tmp_path):
    folder, _, _ = images
    changed = _config(folder, **{"train.steps": 30, "target": tmp_path / "gone.npz"})
    with pytest.raises(errors.InputError, match=r"train\.steps=20"):
        dact_jax.run(changed, folder / "run")


def test_the_classifier_measures_what_the_run_measured(images):
    folder, result, arrays = images
    network = dact_jax.load(folder / "run")
    assert network.class_names == tuple("0123456789")
    accuracy = network.evaluate(arrays["x_test"], arrays["y_test"])
    assert accuracy == result.accuracies[-1]
    names = arrays["y_test"].astype(str)
    assert network.evaluate(arrays["x_test"], names) == accuracy
    half = [*names[:10], *[""] * 30]  # images without a label do not count
    expected = network.evaluate(arrays["x_test"][:10], names[:10])
    assert network.evaluate(arrays["x_test"], half) == expected


def test_which_network_is_loaded(images):
    folder, _, arrays = images
    network = dact_jax.load(folder / "run")
    assert network.origin == ("last", 1, 20, True)
    best = dact_jax.load(folder / "run", network="best_val")  # evaluated at ends only
    assert best.origin == ("best_val", 1, 20, True)
    expected = network.predict(arrays["x_test"][:5])
    np.testing.assert_array_equal(best.predict(arrays["x_test"][:5]), expected)
    with pytest.raises(errors.InputError, match="network='second' is unknown; valid"):
        dact_jax.load(folder / "run", network="second")


def test_every_form_of_an_image_gives_the_same_prediction(images, tmp_path):
    folder, _, arrays = images
    network = dact_jax.load(folder / "run")
    batch = arrays["x_test"][:5]
    expected = network.predict(batch)
    assert expected.shape == (5, 10)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(-1), 1, rtol=1e-5)
    pictures = [Image.fromarray(image) for image in batch]
    paths = [tmp_path / f"{row}.png" for row in range(5)]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    colors = np.repeat(batch[..., None], 3, -1)
    for form in (pictures, paths, list(map(str, paths)), list(batch), colors):
        np.testing.assert_array_equal(network.predict(form), expected)
    mixed = [
        paths[0],
        pictures[1],
        np.asarray(batch[2]),
        colors[3],
        batch[4][..., None],
    ]
    np.testing.assert_array_equal(network.predict(mixed), expected)
    larger = [picture.resize((40, 60)) for picture in pictures]
    assert network.predict(larger).shape == (5, 10)
    assert network.embed(batch).shape == (5, network.embed([]).shape[1])
    assert network.predict([]).shape == (0, 10)


@pytest.mark.parametrize(
    ("images_given", "part"),
    [
        ("photo.png", "list"),
        (["no_such_file.png"], "no_such_file.png"),
        ([np.zeros((4, 4), np.float32)], "float32"),
        (np.zeros((4, 4, 4, 4), np.uint8), r"uint8\[4, 4, 4\]"),
        ([3], "image 0"),
    ],
)
def test_what_is_no_image_is_named(images, images_given, part):
    network = dact_jax.load(images[0] / "run")
    with pytest.raises(errors.InputError, match=part):
        network.predict(images_given)


@pytest.mark.parametrize(
    ("labels", "part"),
    [([0, 1], "2 labels"), ([70] * 5, "70"), (["x"] * 5, "'x'"), ([-1] * 5, "none")],
)
def test_wrong_labels_are_named(images, labels, part):
    folder, _, arrays = images
    network = dact_jax.load(folder / "run")
    with pytest.raises(errors.InputError, match=part):
        network.evaluate(arrays["x_test"][:5], labels)


def test_a_classifier_of_vectors_and_of_a_stopped_run(tmp_path):
    config = toy.vector_config(tmp_path, figures=False)
    result = dact_jax.run(config, tmp_path / "run")
    network = dact_jax.load(tmp_path / "run")
    with np.load(config.data.target) as arrays:
        features = arrays["features"]
    probabilities = network.predict(features)
    assert probabilities.shape == (len(features), len(network.class_names))
    assert result.accuracies
    for wrong in (features[:, :-1], features[:, :0]):
        with pytest.raises(errors.InputError, match=rf"\[N, {features.shape[1]}\]"):
            network.predict(wrong)
    assert network.predict(features[:0]).shape == (0, len(network.class_names))


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(errors.InputError, match=r"config\.yaml"):
        dact_jax.load(tmp_path)


def test_a_network_that_is_not_trained_yet_is_not_loaded(images, tmp_path, monkeypatch):
    folder, _, _ = images

    def die(*args):
        raise toy.Killed

    monkeypatch.setattr("dact_jax.rounds.loop.run", die)
    with pytest.raises(toy.Killed):
        dact_jax.run(_config(folder), tmp_path / "run")
    with pytest.raises(errors.InputError, match="not trained"):
        dact_jax.load(tmp_path / "run")


@pytest.mark.parametrize("spec", ["s_rt", "source_only", "alda_dsbn", "d_act", "adda"])
def test_a_recorded_config_is_read_back_whole(spec):
    """Also where a plug-in has no options."""
    config = dact_jax.config(f"tiny:preset={spec}")
    recorded = yaml.safe_load(yaml.safe_dump(_lists(defaults.identity(config))))
    again = classifier.read_config(recorded)
    assert _lists(defaults.identity(again)) == _lists(defaults.identity(config))


def _lists(tree):
    """The tree with a list for each tuple, as YAML gives it back."""
    if isinstance(tree, dict):
        return {name: _lists(value) for name, value in tree.items()}
    return list(tree) if isinstance(tree, (tuple, list)) else tree


def test_opened_files_and_a_single_image(images, tmp_path):
    folder, _, arrays = images
    network = dact_jax.load(folder / "run")
    path = tmp_path / "photo.jpg"
    Image.fromarray(arrays["x_test"][0]).resize((64, 64)).save(path)
    expected = network.predict([path])
    assert expected.shape == (1, 10)
    opened = network.predict([Image.open(path)])
    np.testing.assert_allclose(opened, expected, atol=0.1)
    repeated = Image.open(path)
    five = network.predict([repeated] * 5)
    np.testing.assert_allclose(five, [opened[0]] * 5, rtol=1e-4)
    with pytest.raises(errors.InputError, match=r"\[image\]"):
        network.predict(np.zeros((28, 28, 3), np.uint8))
    with pytest.raises(errors.InputError, match="image 0"):
        network.predict([Image.new("F", (20, 20))])


def test_what_is_no_config_is_named(tmp_path):
    with pytest.raises(errors.InputError, match=r"dact_jax\.config"):
        dact_jax.run("digits", tmp_path)
