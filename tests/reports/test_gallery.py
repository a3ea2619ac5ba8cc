"""The pictures of a run: which are drawn, from which data, and at what cost."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
from matplotlib import figure
from PIL import Image

from dact_jax import reporting, runner
from dact_jax.configuration import build, files
from dact_jax.models import heads, lenet, mlp, model, resnet
from dact_jax.reports import confusion, gallery, sweeps
from dact_jax.reports.page import page
from dact_jax.reports.pictures import (
    captions,
    confusion_matrix,
    contact_sheet,
    feature_maps,
    figures,
    projections,
)
from dact_jax.rounds import actions, evaluation, workdir
from dact_jax.training import inference
from dact_jax.types import SOURCE, TARGET, UNLABELED, Pools
from tests import toy

PICTURES = [
    captions.CONFUSION,
    captions.EMBEDDING_TARGET,
    captions.EMBEDDING_SOURCE,
    captions.PICKED_CLASSES,
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on 16x16 images of ten classes, with a network that was never trained."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    for name, count in (("source", 40), ("target", 60)):
        label = np.arange(count) % 10
        images = rng.integers(0, 256, (count, 16, 16), np.uint8)
        parts = {"x_train": images, "y_train": label, "x_test": images, "y_test": label}
        np.savez(folder / f"{name}.npz", **parts)
    config = files.load("configs/tiny.py")
    config.update_from_flattened_dict(
        {
            "source": str(folder / "source.npz"),
            "target": str(folder / "target.npz"),
            "data.val_per_class": 1,
            "data.shots_per_class": 0,
            "train.eval_batch": 16,
            "model.num_norms": 2,
            "model.batch_norm": True,
        }
    )

    def make_model(*args, **options):
        network = model_maker(*args, **options)
        init = functools.partial(toy.drawn, network)
        return network._replace(init=lambda key, shape: init(shape))

    model_maker = model.make_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "make_model", make_model)  # init takes long to compile
        return build.build(config)[0]


def finished(run, *, source=None, target=()):
    """The end of an experiment that picked these rows; None: all of the source."""
    experiment = actions.template(run)
    pools = Pools(np.ones_like(experiment.pools.source), experiment.pools.target.copy())
    if source is not None:
        pools.source[:] = np.isin(np.arange(len(pools.source)), source)
    pools.target[:] = np.isin(np.arange(len(pools.target)), target)
    label = np.where(pools.target, run.task.target.train.label, UNLABELED)
    return experiment._replace(pools=pools, label=label.astype(np.int32))


@pytest.fixture
def pca_only(monkeypatch):
    """PCA in place of t-SNE, which is slow and has its own tests."""
    monkeypatch.setattr(projections, "t_sne", projections.pca)


@pytest.fixture
def drawn(monkeypatch, pca_only):
    """Name of a figure -> arguments of each call; the figures stay empty."""
    calls = {}
    for module, function in (
        (figures, "embedding"),
        (figures, "class_shares"),
        (feature_maps, "draw"),
        (confusion_matrix, "draw"),
        (contact_sheet, "draw"),
    ):
        key = function if function != "draw" else module.__name__.split(".")[-1]

        def record(*args, key=key):
            calls.setdefault(key, []).append(args)
            return figure.Figure()

        monkeypatch.setattr(module, function, record)
    return calls


def test_a_run_of_images_has_all_pictures_in_any_script(digits, pca_only, tmp_path):
    task = digits.task._replace(class_names=("犬", "猫", "$", "_", *"456789"))
    experiment = finished(digits, source=[3, 8, 21], target=[1, 2, 30, 31, 40])
    names = gallery.write(digits._replace(task=task), experiment, tmp_path)
    assert names == [*PICTURES, captions.FEATURE_MAPS]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*names, confusion.FILE]
    )
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"


def test_figures_get_what_was_picked_and_the_pools(digits, drawn, tmp_path):
    experiment = finished(digits, source=[3, 8, 21], target=[1, 2, 30, 31, 40])
    gallery.write(digits, experiment, tmp_path)
    target, source = drawn["embedding"]
    cloud, class_names, title, picked = target
    assert class_names == digits.task.class_names
    assert "all 50 samples" in title
    assert picked == "5 picked"
    np.testing.assert_array_equal(np.flatnonzero(cloud.picked), [1, 2, 30, 31, 40])
    np.testing.assert_array_equal(cloud.label, digits.task.target.train.label)
    assert [points.shape for points in cloud.planes.values()] == [(50, 2)] * 2
    assert np.flatnonzero(source[0].picked).tolist() == [3, 8, 21]

    ((panels, _),) = drawn["class_shares"]
    assert [panel.picked.sum() for panel in panels] == [5, 3]
    assert [panel.pool.sum() for panel in panels] == [50, 40]

    ((rows,),) = drawn["feature_maps"]
    assert [row.side for row in rows] == ["target, picked"] * 3 + ["source, picked"] * 2
    assert {row.image.shape for row in rows} == {(16, 16, 1)}
    assert [stage.shape for stage in rows[0].maps] == [(6, 6, 20), (1, 1, 50)]


def test_images_are_shown_as_they_were_stored(digits, drawn, tmp_path):
    picked = [7, 20, 41]
    gallery.write(digits, finished(digits, target=picked), tmp_path)
    ((rows,),) = drawn["feature_maps"]
    assert [row.side for row in rows] == ["target, picked"] * 3 + ["source"] * 2
    stored = np.asarray(digits.task.target.train.image[np.asarray(picked)])
    images = np.stack([row.image for row in rows[:3]])
    np.testing.assert_allclose(images, stored / 255, atol=1e-6)


def test_a_pool_in_use_as_a_whole_has_no_picks(digits, drawn, tmp_path):
    names = gallery.write(digits, finished(digits), tmp_path)
    assert captions.PICKED_CLASSES not in names
    (target, *_, target_title, _), (source, *_, source_title, _) = drawn["embedding"]
    assert not target.picked.any()
    assert not source.picked.any()
    assert target_title.endswith("no label was bought")
    assert source_title.endswith("all are in use")


def test_unknown_classes_stay_unknown(digits, drawn, tmp_path):
    side = digits.task.target
    label = np.where(np.arange(50) < 10, side.train.label, UNLABELED).astype(np.int32)
    side = side._replace(train=side.train._replace(label=label))
    run = digits._replace(task=digits.task._replace(target=side))
    gallery.write(run, finished(digits, target=[0, 1, 2]), tmp_path)
    assert (drawn["embedding"][0][0].label == UNLABELED).sum() == 40
    (((panel,), _),) = drawn["class_shares"]
    assert panel.pool.sum() == 10


def test_only_the_subset_passes_the_network(digits, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "_MAX_SAMPLES", 20)
    monkeypatch.setattr(sweeps, "_MAX_PICKED", 5)
    made, sweep = [], inference.sweep

    def record(forward, variables, examples, domain, **options):
        made.append((len(examples.image), len(examples.label), domain))
        return sweep(forward, variables, examples, domain, **options)

    monkeypatch.setattr(inference, "sweep", record)
    gallery.write(digits, finished(digits, source=range(30)), tmp_path)
    test = (60, 60, TARGET)
    assert made == [test, (20, 20, TARGET), (15, 15, SOURCE)]  # 5 picked, 10 others


def test_the_subset_is_deterministic_and_contains_picks():
    picked = np.zeros(100_000, bool)
    picked[[5, 77, 99_999]] = True
    rows = sweeps.subset(picked)
    assert len(np.unique(rows)) == len(rows) == sweeps._MAX_SAMPLES
    assert set(rows) >= {5, 77, 99_999}
    assert np.all(np.diff(rows) > 0)
    np.testing.assert_array_equal(sweeps.subset(picked), rows)
    many = np.arange(100_000) < 50_000
    assert subset_sizes(many) == (sweeps._MAX_PICKED, sweeps._MAX_SAMPLES)
    assert subset_sizes(np.zeros(3, bool)) == (0, 3)
    np.testing.assert_array_equal(sweeps.subset(np.array([True, False])), [0, 1])


def subset_sizes(mask):
    """Number of picked rows in the subset, and of all its rows."""
    rows = sweeps.subset(mask)
    return mask[rows].sum(), len(rows)


def test_existing_pictures_can_be_kept(digits, drawn, tmp_path):
    for name in (*PICTURES[:3], captions.FEATURE_MAPS):
        (tmp_path / name).write_text("old")
    again = functools.partial(gallery.write, digits, finished(digits), tmp_path)
    assert again(redraw=False) == []
    (tmp_path / PICTURES[1]).unlink()
    assert again(redraw=False) == [PICTURES[1]]
    assert (tmp_path / PICTURES[0]).read_text() == "old"


def test_a_failure_while_saving_leaves_no_file(digits, pca_only, tmp_path, monkeypatch):

    def fail(self, path, **options):
        path.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure.Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        gallery.write(digits, finished(digits), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [confusion.FILE]


def test_the_sheet_of_picks_follows_the_order_of_picking(digits, drawn, tmp_path):
    ids = digits.task.target.id
    picked = [31, 2, 30]
    made = [
        workdir.Pick(number, 0, side, ids[row], 0.0, "margin", "")
        for number, side, row in (
            *((0, "target", 31), (0, "source", 5)),
            *((1, "target", 2), (1, "target", 30)),
        )
    ]
    workdir.append_picks(tmp_path, made)
    names = gallery.write(digits, finished(digits, target=picked), tmp_path)
    assert captions.PICKED_IMAGES in names
    ((groups,),) = drawn["contact_sheet"]
    stored = digits.task.target.train
    assert [group.title for group in groups] == [
        "Round 0, margin: 1 image",
        "Round 1, margin: 2 images",
    ]
    np.testing.assert_array_equal(groups[1].images, stored.image[np.array([2, 30])])
    assert groups[1].class_names == [
        digits.task.class_names[k] for k in stored.label[[2, 30]]
    ]


def test_the_confusion_matrix_agrees_with_the_accuracy(digits, drawn, tmp_path):
    experiment = finished(digits)
    gallery.write(digits, experiment, tmp_path)
    images = confusion.read(tmp_path).images
    scores = evaluation.evaluate(digits, experiment.train.variables, experiment.pools)
    assert images.sum() == len(digits.task.target.test.label)
    assert np.trace(images) / images.sum() == scores.test


def test_without_test_labels_there_is_no_confusion_matrix(digits, drawn, tmp_path):
    side = digits.task.target
    empty = side.test._replace(image=side.test.image[:0], label=side.test.label[:0])
    hidden = side.test._replace(label=np.full_like(side.test.label, UNLABELED))
    for test in (empty, hidden):
        task = digits.task._replace(target=side._replace(test=test))
        names = gallery.write(digits._replace(task=task), finished(digits), tmp_path)
        assert captions.CONFUSION not in names
        assert not (tmp_path / confusion.FILE).exists()


def test_a_run_draws_at_the_end_and_later_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(projections, "_ITERATIONS", 250)
    config = toy.vector_config(tmp_path, figures=True)
    folder = tmp_path / "run"
    assert runner.run(config, folder).pictures == PICTURES
    assert page.is_complete(folder)
    existing = [name for name in captions.CAPTIONS if (folder / name).exists()]
    assert existing == PICTURES  # vectors have no feature maps
    text = (folder / "report.md").read_text()
    for name, (heading, caption) in captions.CAPTIONS.items():
        shown = f"## {heading}\n\n![{heading}]({name})\n\n{caption}" in text
        assert shown == (name in PICTURES)

    before = (folder / PICTURES[0]).read_bytes()
    (folder / PICTURES[0]).unlink()
    config.figures = False
    assert runner.run(config, folder).pictures == []
    assert not (folder / PICTURES[0]).exists()
    assert page.is_complete(folder)  # it is kept

    config.figures = True
    assert runner.run(config, folder).pictures == PICTURES[:1]
    assert (folder / PICTURES[0]).read_bytes() == before
    (folder / page.FILE).unlink()  # as of a run of an earlier version
    with monkeypatch.context() as patch:  # a folder that may only be read
        patch.setattr(reporting.os, "access", lambda *_: False)
        assert runner.run(config, folder).pictures == []
        assert not (folder / page.FILE).exists()
    assert runner.run(config, folder).pictures == []
    assert page.is_complete(folder)


ENCODERS = {  # and the channels of their maps
    "lenet": (lenet.LeNet(width=8, batch_norm=True), (20, 50)),
    "resnet": (resnet.ResNet((1, 1), resnet.basic), (64, 128)),
    "mlp": (mlp.MLP((8,)), ()),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_spatial_means_of_maps_are_taps(name):
    encoder, channels = ENCODERS[name]
    network = model.make_model(encoder, {"classifier": heads.Linear(3)}, 2)
    variables = toy.drawn(network, (16, 16, 3))
    images = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))

    @jax.jit
    def maps_and_taps(variables, images):
        features, _ = network.encode(variables, images[None], (TARGET,), train=False)
        return network.maps(variables, images, TARGET), features.taps

    maps, taps = maps_and_taps(variables, images)
    assert [stage.shape[-1] for stage in maps] == list(channels)
    for stage, tap in zip(maps, taps, strict=False):  # LeNet's last has no map
        np.testing.assert_allclose(stage.mean((1, 2)), tap[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lenet", "resnet"])
def test_sowing_maps_changes_neither_init_nor_training(name, monkeypatch, tmp_path):
    images = np.random.default_rng(0).normal(size=(1, 2, 16, 16, 3))
    images = images.astype(np.float32)
    unoptimized = {"xla_backend_optimization_level": 0}  # compiles in half the time

    def results():
        network = model.make_model(
            ENCODERS[name][0], {"classifier": heads.Linear(3)}, 1
        )

        @jax.jit
        def train(variables, key):
            features, new = network.encode(variables, images, (0,), train=True, key=key)
            return network.head(variables, "classifier", features), features, new

        # Another generator than JAX's default, whose code compiles quickly.
        key = jax.random.key(0, impl="rbg")
        begin = network.init.lower(key, (16, 16, 3)).compile(unoptimized)
        variables = begin(key)
        program = train.lower(variables, key)
        return variables, program.compile(unoptimized)(variables, key), program

    *sowing, program = results()
    monkeypatch.setattr(nn.Module, "sow", lambda *args, **options: False)
    *silent, silent_program = results()
    assert jax.tree.structure(sowing) == jax.tree.structure(silent)
    jax.tree.map(np.testing.assert_array_equal, sowing, silent)
    work = program.cost_analysis()
    assert work["flops"] > 0
    assert work == silent_program.cost_analysis()
