"""The pictures of a run: which there are, what goes into them, and what they spare."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import figure
from PIL import Image

from dact_jax import runner
from dact_jax.configuration import build, files
from dact_jax.models import heads, lenet, mlp, model, resnet
from dact_jax.reports import captions, figures, gallery, projections
from dact_jax.rounds import actions
from dact_jax.training import inference
from dact_jax.types import SOURCE, TARGET, UNLABELED, Pools
from tests import toy

PICTURES = [
    captions.EMBEDDING_TARGET,
    captions.EMBEDDING_SOURCE,
    captions.PICKED_CLASSES,
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on 16x16 images of ten classes that was never trained, and its config."""
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
    made, _ = build.build(config)
    return made


def finished(made, *, source=None, target=()):
    """An experiment with these rows picked; None: all of the source."""
    experiment = actions.template(made)
    pools = Pools(np.ones_like(experiment.pools.source), experiment.pools.target.copy())
    if source is not None:
        pools.source[:] = np.isin(np.arange(len(pools.source)), source)
    pools.target[:] = np.isin(np.arange(len(pools.target)), target)
    label = np.where(pools.target, made.task.target.train.label, UNLABELED)
    return experiment._replace(pools=pools, label=label.astype(np.int32))


@pytest.fixture
def drawn(monkeypatch):
    """What the figures were given, by their name; nothing is drawn, to save time."""
    found = {}
    for name in ("embedding", "class_shares", "feature_maps"):

        def keep(*args, name=name):
            found.setdefault(name, []).append(args)
            return figure.Figure()

        monkeypatch.setattr(figures, name, keep)
    monkeypatch.setattr(projections, "t_sne", projections.pca)
    return found


def test_a_run_of_images_has_all_pictures_in_any_script(digits, tmp_path):
    made = digits
    task = made.task._replace(class_names=("犬", "猫", "$", "_", *"456789"))
    experiment = finished(made, source=[3, 8, 21], target=[1, 2, 30, 31, 40])
    made = made._replace(task=task)
    names = gallery.write(made, experiment, tmp_path)
    assert names == [*PICTURES, captions.FEATURE_MAPS]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"


def test_figures_get_what_was_picked_and_the_pools(digits, drawn, tmp_path):
    made = digits
    experiment = finished(made, source=[3, 8, 21], target=[1, 2, 30, 31, 40])
    gallery.write(made, experiment, tmp_path)
    target, source = drawn["embedding"]
    cloud, class_names, title, picked = target
    assert class_names == made.task.class_names
    assert "all 50 samples" in title
    assert picked == "5 picked"
    np.testing.assert_array_equal(np.flatnonzero(cloud.picked), [1, 2, 30, 31, 40])
    np.testing.assert_array_equal(cloud.label, made.task.target.train.label)
    assert [points.shape for points in cloud.planes.values()] == [(50, 2)] * 2
    assert np.flatnonzero(source[0].picked).tolist() == [3, 8, 21]

    ((panels, _),) = drawn["class_shares"]
    assert [panel.picked.sum() for panel in panels] == [5, 3]
    assert [panel.pool.sum() for panel in panels] == [50, 40]

    ((rows,),) = drawn["feature_maps"]
    assert [seen.side for seen in rows] == ["target, picked"] * 3 + [
        "source, picked"
    ] * 2
    assert {seen.image.shape for seen in rows} == {(16, 16, 1)}
    assert [stage.shape for stage in rows[0].maps] == [(6, 6, 20), (1, 1, 50)]


def test_images_are_shown_as_they_were_stored(digits, drawn, tmp_path):
    made = digits
    experiment = finished(made, target=[7])
    gallery.write(made, experiment, tmp_path)
    ((rows,),) = drawn["feature_maps"]
    stored = np.asarray(made.task.target.train.image[7])
    np.testing.assert_allclose(rows[0].image, stored / 255, atol=1e-6)
    assert [seen.side for seen in rows] == ["target, picked", "source", "source"]


def test_where_all_of_the_source_is_used_nothing_stands_out(digits, drawn, tmp_path):
    made = digits
    names = gallery.write(made, finished(made), tmp_path)
    assert captions.PICKED_CLASSES not in names
    (target, *_, about, _), (source, *_, told, _) = drawn["embedding"]
    assert not target.picked.any()
    assert not source.picked.any()
    assert about.endswith("no label was bought")
    assert told.endswith("all are in use")


def test_classes_that_nobody_knows_stay_unknown(digits, drawn, tmp_path):
    made = digits
    side = made.task.target
    label = np.where(np.arange(50) < 10, side.train.label, UNLABELED).astype(np.int32)
    side = side._replace(train=side.train._replace(label=label))
    known, made = made, made._replace(task=made.task._replace(target=side))
    gallery.write(made, finished(known, target=[0, 1, 2]), tmp_path)
    assert (drawn["embedding"][0][0].label == UNLABELED).sum() == 40
    (((panel,), _),) = drawn["class_shares"]
    assert panel.pool.sum() == 10


def test_only_the_subset_passes_the_network(digits, drawn, tmp_path, monkeypatch):
    made = digits
    monkeypatch.setattr(gallery, "_MOST", 20)
    monkeypatch.setattr(gallery, "_MOST_PICKED", 5)
    swept, sweep = [], inference.sweep

    def keep(forward, variables, examples, domain, **options):
        swept.append((len(examples.image), len(examples.label), domain))
        return sweep(forward, variables, examples, domain, **options)

    monkeypatch.setattr(inference, "sweep", keep)
    gallery.write(made, finished(made, source=range(30)), tmp_path)
    assert swept == [(20, 20, TARGET), (15, 15, SOURCE)]  # 5 picked and all 10 others


def test_the_subset_is_the_same_each_time_and_has_picks():
    picked = np.zeros(100_000, bool)
    picked[[5, 77, 99_999]] = True
    rows = gallery.subset(picked)
    assert len(np.unique(rows)) == len(rows) == gallery._MOST
    assert set(rows) >= {5, 77, 99_999}
    assert np.all(np.diff(rows) > 0)
    np.testing.assert_array_equal(gallery.subset(picked), rows)
    many = np.arange(100_000) < 50_000
    assert picked_of(many) == (gallery._MOST_PICKED, gallery._MOST)
    assert picked_of(np.zeros(3, bool)) == (0, 3)
    np.testing.assert_array_equal(gallery.subset(np.array([True, False])), [0, 1])


def picked_of(mask):
    rows = gallery.subset(mask)
    return mask[rows].sum(), len(rows)


def test_pictures_that_are_there_can_be_left(digits, drawn, tmp_path):
    made = digits
    for name in (*PICTURES[:2], captions.FEATURE_MAPS):
        (tmp_path / name).write_text("old")
    again = functools.partial(gallery.write, made, finished(made), tmp_path)
    assert again(redraw=False) == []
    (tmp_path / PICTURES[1]).unlink()
    assert again(redraw=False) == [PICTURES[1]]
    assert (tmp_path / PICTURES[0]).read_text() == "old"


def test_a_picture_that_fails_leaves_none_behind(digits, tmp_path, monkeypatch):
    made = digits

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(figures, "embedding", fail)
    with pytest.raises(OSError, match="disk full"):
        gallery.write(made, finished(made), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_draws_at_the_end_and_later_what_is_missing(tmp_path, capsys):
    config = toy.vector_config(tmp_path, figures=True)
    folder = tmp_path / "run"
    with toy.compiled_once(tmp_path / "compiled"):
        runner.run(config, folder, command="command")
        there = [name for name in captions.CAPTIONS if (folder / name).exists()]
        assert there == PICTURES  # vectors have no feature maps
        text = (folder / "report.md").read_text()
        for name, (heading, told) in captions.CAPTIONS.items():
            shown = f"## {heading}\n\n![{heading}]({name})\n\n{told}" in text
            assert shown == (name in PICTURES)
        capsys.readouterr()

        before = (folder / PICTURES[0]).read_bytes()
        (folder / PICTURES[0]).unlink()
        config.figures = False
        runner.run(config, folder, command="command")
        assert "stays as it is" in capsys.readouterr().out
        assert not (folder / PICTURES[0]).exists()

        config.figures = True
        runner.run(config, folder, command="command")
        said = f"finished; {folder} now with {PICTURES[0]}."
        assert said in capsys.readouterr().out
        assert (folder / PICTURES[0]).read_bytes() == before


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
    some = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))

    @jax.jit
    def both(variables, some):
        features, _ = network.encode(variables, some[None], (TARGET,), train=False)
        return network.maps(variables, some, TARGET), features.taps

    maps, taps = both(variables, some)
    assert [stage.shape[-1] for stage in maps] == list(channels)
    for stage, tap in zip(maps, taps, strict=False):  # LeNet's last has no map
        np.testing.assert_allclose(stage.mean((1, 2)), tap[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lenet", "resnet"])
def test_sowing_maps_changes_no_program_of_init_or_training(name, monkeypatch):
    network = model.make_model(ENCODERS[name][0], {"classifier": heads.Linear(3)}, 1)
    some = jnp.ones((1, 2, 16, 16, 3))

    def programs():
        def train(variables, key):
            features, new = network.encode(variables, some, (0,), train=True, key=key)
            return network.head(variables, "classifier", features), features, new

        key = jax.random.key(0)
        init = functools.partial(network.init.__wrapped__, shape=(16, 16, 3))
        variables = jax.eval_shape(init, key)
        found = [jax.make_jaxpr(init)(key), jax.make_jaxpr(train)(variables, key)]
        # Addresses of functions differ from trace to trace.
        return [re.sub("0x[0-9a-f]+", "", str(program)) for program in found]

    sowing = programs()
    monkeypatch.setattr(nn.Module, "sow", lambda *args, **options: False)
    assert programs() == sowing
