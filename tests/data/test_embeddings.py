"""Embeddings as data: reader, MLP, aliases in the config, and complete runs."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from PIL import Image

from dact_jax import errors, runner
from dact_jax.configuration import build, build_data, defaults, files as config_files
from dact_jax.data import fingerprint, streams
from dact_jax.data.readers import embeddings, files, sources
from dact_jax.models import encoders, mlp, model
from dact_jax.rounds import claim, workdir
from dact_jax.types import SOURCE, TARGET, Examples
from tests import toy

CONFIG = "configs/embeddings.py"
PACS = pathlib.Path(__file__).parents[3] / "shared/data/pacs_features"
F, K = 12, 3


def _save(folder, name="some", **arrays):
    path = folder / f"{name}.npz"
    np.savez(path, **arrays)
    return path


def _features(count=6, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(count, F)).astype(dtype)


def _load(path, **options):
    return sources.load(str(path), size=1, channels=1, **options)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_raw_vectors_are_images_of_one_pixel(tmp_path, dtype):
    x = _features(dtype=dtype)
    data = _load(_save(tmp_path, features=x, label=np.arange(6) % K), scale="raw")
    assert (data.name, data.split, data.image.dtype) == ("some", None, np.float32)
    assert data.image.shape == (6, 1, 1, F)
    np.testing.assert_array_equal(data.image[:, 0, 0], x.astype(np.float32))
    assert embeddings.are_vectors(data.image)
    assert embeddings.are_vectors(jnp.asarray(data.image))
    assert not embeddings.are_vectors(files.ImageFiles((), 4, 3))


def test_unit_vectors_have_a_mean_square_of_one(tmp_path):
    x = _features() * np.array([[1, 1e-30, 1e30, 0, 3, 1e-3]], np.float32).T
    data = _load(_save(tmp_path, features=x, label=np.arange(6)))
    square = np.square(data.image).mean((1, 2, 3))
    np.testing.assert_allclose(square, [1, 1, 1, 0, 1, 1], rtol=1e-5)
    direction = x[0] / np.sqrt(np.square(x[0]).mean())
    np.testing.assert_allclose(data.image[0, 0, 0], direction, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
def test_labels_as_numbers(tmp_path, dtype):
    label = np.array([0, 2, 1, 0, 2, 2], dtype)
    data = _load(_save(tmp_path, features=_features(), label=label))
    np.testing.assert_array_equal(data.label, label)
    assert (data.label.dtype, data.class_names) == (np.int32, ("0", "1", "2"))
    classes = np.array(["dog", "cat", "emu", "yak"])
    path = _save(tmp_path, features=_features(), label=label, classes=classes)
    assert _load(path).class_names == ("dog", "cat", "emu", "yak")


def test_labels_as_names(tmp_path):
    arrays = {"features": _features(4), "label": np.array(["b", "", "a", "b"])}
    data = _load(_save(tmp_path, **arrays))
    assert (data.label.tolist(), data.class_names) == ([1, -1, 0, 1], ("a", "b"))
    arrays["label"] = arrays["label"].astype(bytes)
    data = _load(_save(tmp_path, **arrays, classes=np.array(["b", "c", "a"])))
    assert (data.label.tolist(), data.class_names) == ([0, -1, 2, 0], ("b", "c", "a"))


def test_no_labels_and_no_paths(tmp_path):
    data = _load(_save(tmp_path, features=_features(11)))
    assert (data.label.tolist(), data.class_names) == ([-1] * 11, ())
    assert data.id.tolist()[:2] == ["00", "01"]
    assert data.id[10] == "10"
    label = np.array([-1, 1] + [-1] * 9)
    data = _load(_save(tmp_path, features=_features(11), label=label))
    assert (data.label.tolist(), data.class_names) == (label.tolist(), ("0", "1"))


def test_paths_are_ids(tmp_path):
    path = np.array(["a/1.jpg", "b/ü.jpg"])
    data = _load(_save(tmp_path, features=_features(2), path=path))
    assert data.id.tolist() == path.tolist()
    copy = data._replace(image=data.image.copy())
    changed = data._replace(image=data.image * 2)
    assert fingerprint.of(data) == fingerprint.of(copy)
    assert fingerprint.of(data) != fingerprint.of(changed)


def _with(**changed):
    return {"features": _features(), "label": np.arange(6) % K} | changed


def _features_with(value):
    x = _features(dtype=np.float64)
    x[4, 1] = x[5, 0] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": _features()},
            r"some\.npz .*\['x'\].*features.*label.*x_train",
        ),
        (_with(features=_features()[0]), r"features .*some\.npz .*float32\[12\]"),
        (
            _with(features=_features().astype(int)),
            r"features .*float\[N, F\].*int64\[6, 12\]",
        ),
        (_with(features=_features().astype(object)), "features .*object"),
        (_with(features=_features(0)), r"features .*float32\[0, 12\]"),
        (_with(features=_features()[:, :0]), r"features .*float32\[6, 0\]"),
        (_with(features=_features_with(np.nan)), "features .*finite .*row 4 .*1 other"),
        (_with(features=_features_with(1e300)), "features .*float32 .*row 4 .*1 other"),
        (_with(label=np.arange(5)), r"label .*6 .*int64\[5\]"),
        (_with(label=np.zeros(6)), r"label .*6 .*float64\[6\]"),
        (_with(label=np.zeros((6, 1), int)), r"label .*int64\[6, 1\]"),
        (_with(label=np.array(list("abcabc"), object)), "label .*object"),
        (_with(label=np.arange(6) - 2), r"label .*0\.\.99999.*-1.*row 0 .*-2"),
        (_with(label=np.arange(6) * 10**9), "label .*row 1 .*1000000000"),
        (_with(classes=np.array(["a", "b"])), r"label .*0\.\.1,.*row 2 .*2"),
        (
            _with(label=np.array(list("aabbcd")), classes=np.array(list("abc"))),
            "label .*classes.*row 5 .*'d'",
        ),
        (_with(classes=np.arange(3)), r"classes .*int64\[3\]"),
        (_with(classes=np.array(["a", "b", "a"])), r"classes .*\['a', 'b', 'a'\]"),
        (_with(classes=np.array(["a", "", "b"])), r"classes .*\['a', '', 'b'\]"),
        (_with(path=np.arange(6)), r"path .*int64\[6\]"),
        (_with(path=np.array(list("abcab"))), "path .*6 .*5"),
        (_with(path=np.array(list("abcdea"))), "path .*'a'"),
        (_with(path=np.array(["ü".encode()] * 6)), "path .*ASCII"),
    ],
)
def test_bad_arrays(tmp_path, arrays, message):
    with pytest.raises(errors.InputError, match=message) as caught:
        _load(_save(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


def test_bad_files(tmp_path):
    bad = tmp_path / "bad.npz"
    for content in (b"no arrays at all", b"", b"PK\x03\x04 cut off"):
        bad.write_bytes(content)
        with pytest.raises(errors.InputError, match=r"bad\.npz .*\.npz file"):
            _load(bad)
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(bad)
    with pytest.raises(errors.InputError, match=r"bad\.npz .*\.npz file"):
        _load(bad)
    with pytest.raises(errors.InputError, match=r"no\.npz"):
        embeddings.load(tmp_path / "no.npz", name="no")
    path = _save(tmp_path, x=_features())
    with pytest.raises(errors.InputError, match=r"some\.npz .*features.*\['x'\]"):
        embeddings.load(path, name="some")
    with pytest.raises(errors.InputError, match=r"data\.scale .*unit.*raw.*'log'"):
        _load(_save(tmp_path, features=_features()), scale="log")


def test_arrays_that_are_not_read_are_named(tmp_path, caplog):
    path = _save(tmp_path, features=_features(), label=np.arange(6), caption=np.ones(6))
    with caplog.at_level("WARNING"):
        _load(path)
    assert "some.npz: arrays that are not read: caption." in caplog.text


def test_digits_that_float32_cannot_hold_are_told(tmp_path):
    x = _features(dtype=np.float64)
    _load(_save(tmp_path, features=x + 100))
    with pytest.raises(errors.InputError, match=r"some\.npz: float32.* mean "):
        _load(_save(tmp_path, features=x + 1e6))
    _load(_save(tmp_path, features=(x + 1e6).astype(np.float32)))


def test_an_npz_with_the_arrays_of_digits_is_read_as_digits(tmp_path):
    x, y = np.zeros((10, 8, 8), np.uint8), np.arange(10)
    path = _save(tmp_path, x_train=x, y_train=y, x_test=x, y_test=y)
    assert sources.load(str(path), size=8, channels=1).image.shape == (20, 8, 8, 1)
    with pytest.raises(errors.InputError, match=r"some\.npz .*y_train"):
        _load(_save(tmp_path, x_train=x))


def test_a_pool_on_the_device_takes_four_bytes_per_value():
    vectors = Examples(np.zeros((5, 1, 1, F), np.float32), np.zeros(5, np.int32))
    assert isinstance(streams.place(vectors, 5 * F * 4).image, jax.Array)
    assert streams.place(vectors, 5 * F * 4 - 1) is vectors


def _init(net, key, x):
    """Variables of the network, in one compiled program."""
    return jax.jit(lambda key: net.init(key, x, train=False))(key)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_mlp_equals_its_formula(key, batch_norm):
    net = mlp.MLP((7, 4), batch_norm=batch_norm)
    x = np.random.default_rng(0).normal(size=(6, 1, 1, F)).astype(np.float32)
    tree = _init(net, key, x)
    embedding, taps = net.apply(tree, x, train=False)
    assert [tap.shape for tap in taps] == [(6, 7), (6, 4)]
    np.testing.assert_array_equal(embedding, taps[-1])
    want = np.asarray(x).reshape(6, F)
    for layer in ("fc1", "fc2"):
        kernel, bias = (
            np.asarray(tree["params"][layer][k]) for k in ("kernel", "bias")
        )
        assert np.abs(kernel).max() <= 1 / np.sqrt(len(kernel))
        want = want @ kernel + bias[None]
        if batch_norm:
            want = want / np.sqrt(1 + 1e-5)
        want = np.maximum(want, 0)
    np.testing.assert_allclose(embedding, want, rtol=1e-5, atol=1e-6)
    assert ("norm" in tree) == batch_norm


def test_mlp_drops_units_in_training_only(key):
    net = mlp.MLP((64,), dropout=0.5, batch_norm=False)
    x = np.random.default_rng(0).normal(size=(8, 1, 1, F)).astype(np.float32)
    tree = _init(net, key, x)
    embedding, (tap,) = net.apply(tree, x, train=True, rngs={"dropout": key})
    live = np.asarray(tap) > 0
    dropped = np.asarray(embedding)[live] == 0
    assert 0.4 < dropped.mean() < 0.6
    np.testing.assert_allclose(embedding[live][~dropped], 2 * tap[live][~dropped])
    embedding, (tap,) = net.apply(tree, x, train=False)
    np.testing.assert_array_equal(embedding, tap)


def test_each_domain_has_its_own_norm_row():
    network = model.make_model(mlp.MLP((5,)), {}, 2)
    variables = toy.drawn(network, (1, 1, F))
    encode = jax.jit(functools.partial(network.encode, train=True), static_argnums=2)
    leaves = jax.tree.leaves((variables.norm, variables.stats))
    assert [leaf.shape for leaf in leaves] == [(2, 5)] * 4
    x = np.random.default_rng(1).normal(size=(2, 8, 1, 1, F)).astype(np.float32)
    x[TARGET] += 1
    joint, after_joint = encode(variables, x, (SOURCE, TARGET))
    for row in (SOURCE, TARGET):
        alone, after_alone = encode(variables, x[row][None], (row,))
        np.testing.assert_allclose(joint.embedding[row], alone.embedding[0], rtol=1e-5)
        for joint_stats, alone_stats, old in zip(
            *map(
                jax.tree.leaves,
                (after_joint.stats, after_alone.stats, variables.stats),
            ),
            strict=True,
        ):
            np.testing.assert_allclose(joint_stats[row], alone_stats[row], rtol=1e-5)
            np.testing.assert_array_equal(alone_stats[1 - row], old[1 - row])
            assert (np.asarray(alone_stats[row]) != old[row]).all()


@pytest.mark.parametrize("widths", [(), (0,), (8, -1), (8.5,)])
def test_widths_must_be_positive(widths):
    with pytest.raises(errors.InputError, match=r"model\.widths=.*\(512,\)"):
        encoders.make("mlp", side=1, num_norms=1, implementation="stock", widths=widths)


def test_dsbn_of_an_mlp_needs_batch_norm():
    with pytest.raises(errors.InputError, match=r"model\.batch_norm=True"):
        encoders.make("mlp", side=1, num_norms=2, implementation="stock")


@pytest.fixture
def domains(tmp_path):
    """Three classes on three axes; the target's vectors are shifted."""
    for seed, (name, shift) in enumerate({"a": 0.0, "b": 0.7}.items()):
        rng = np.random.default_rng(seed)
        label = np.arange(90) % K
        x = 3 * np.eye(F)[label] + 0.5 * rng.normal(size=(90, F)) + shift
        paths = np.array([f"{name}/{i}.jpg" for i in range(90)])
        classes = np.array(["ant", "bee", "cow"])
        arrays = {"features": x, "label": label, "path": paths, "classes": classes}
        _save(tmp_path, name, **arrays)
    return tmp_path


def _config(root, arg="", **changes):
    config = config_files.load(CONFIG + arg)
    config.update(source=str(root / "a.npz"), target=str(root / "b.npz"))
    config.model.widths = (16,)
    config.policies.single.update(initial=4, per_round=4, purchases=2)
    config.train.update(steps=40, chunk=20, save_every=40)
    config.train.update(batch_source=8, batch_target=8, batch_unlabeled=16)
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize(
    ("preset", "norms", "device_bytes", "changes"),
    [
        ("s_act", 1, 2**30, {}),
        ("s_rt", 2, 0, {"figures": False}),
        ("mme", 2, 2**30, {"figures": False, "model.dropout": 0.0}),
        ("source_only", 1, 0, {"figures": False, "model.dropout": 0.0}),
    ],
)
def test_a_run_adapts(domains, preset, norms, device_bytes, changes):
    changes |= {"model.num_norms": norms, "data.device_bytes": device_bytes}
    config = _config(domains, f":preset={preset}", **changes)
    folder = domains / "run"
    result = runner.run(config, folder, command="command")
    rows = [row for row in workdir.read(folder) if row["event"] == "round"]
    assert rows[-1]["test_accuracy"] > 0.9
    assert set(rows[-1]["labels_per_class"]) == {"ant", "bee", "cow"}
    picks = [pick.id for pick in workdir.read_picks(folder) if pick.side == "target"]
    spent = {"s_act": 12, "s_rt": 12, "mme": 9, "source_only": 0}
    assert len(set(picks)) == rows[-1]["labels_target"] == spent[preset]
    assert all(id.startswith("b/") for id in picks)
    assert result.accuracies[-1] == rows[-1]["test_accuracy"]
    assert "## Rounds" in result.report.read_text()
    assert bool(result.pictures) == config.figures


def test_several_layers_and_unlabelled_rows(domains):
    arrays = dict(np.load(domains / "b.npz"))
    arrays["label"] = np.where(np.arange(90) < 60, arrays["label"], -1)
    _save(domains, "b", **arrays)
    run, _ = build.build(_config(domains, **{"model.widths": (16, 8)}))
    assert run.task.target.train.image.shape == (90 - 20 - 9, 1, 1, F)
    assert set(run.train.variables.params["encoder"]) == {"fc1", "fc2"}


def test_vectors_reach_the_network_unchanged(domains, key):
    config = _config(domains)
    stored = _load(domains / "a.npz").image
    train = build_data.make_augment(config)(jnp.asarray(stored), key)
    evaluated = build_data.make_prepare(config)(jnp.asarray(stored))
    for inputs in (train, evaluated):
        np.testing.assert_array_equal(inputs, stored)


def _rejected(config, message):
    with pytest.raises(errors.InputError, match=message) as caught:
        build.build(config)
    assert "\n" not in str(caught.value)


def _photos(root):
    for name in ("ant", "bee", "cow"):
        (root / "photos" / name).mkdir(parents=True)
        for i in range(4):
            pixels = np.full((16, 16), 60 * i, np.uint8)
            Image.fromarray(pixels).save(root / "photos" / name / f"{i}.png")
    return str(root / "photos")


def test_data_that_do_not_match_are_rejected(domains):
    photos = _photos(domains)
    _rejected(_config(domains, source=photos), "'mlp' .*embeddings.*photos .*images")
    _rejected(_config(domains, target=photos), "a .*embeddings.*target photos .*images")
    _save(domains, "c", **dict(np.load(domains / "b.npz"), features=np.ones((90, 5))))
    other = str(domains / "c.npz")
    _rejected(_config(domains, target=other), "a .*12 .*target c .*5")
    _rejected(_config(domains, target=str(domains / "a.npz")), "same .*a")
    _rejected(_config(domains, target=""), "''.*tfds:")
    _save(domains, "d", features=_features(90))
    _rejected(_config(domains, source=str(domains / "d.npz")), "source d .*label")
    _rejected(_config(domains, **{"data.scale": "log"}), r"data\.scale.*'log'")

    lenet = config_files.load("configs/tiny.py")
    lenet.update(source=str(domains / "a.npz"), target=str(domains / "b.npz"))
    _rejected(lenet, r"'lenet' .*images.*a .*embeddings.*configs/embeddings")
    lenet.source = photos
    _rejected(lenet, "source photos .*images.*target b .*embeddings")


@pytest.mark.parametrize("config_name", config_files.names())
def test_source_and_target_are_aliases_of_data_fields_in_every_config(config_name):
    config = config_files.load(config_name)
    for name in ("source", "target"):
        assert config[name] == config.data[name]
        config[name] = "a"
        assert config.data[name] == "a"
        config.data[name] = "b"
        assert config[name] == "b"
        config.update({name: "c"})
        assert config.data[name] == "c"
        config.update({"data": {name: "d"}})
        assert config[name] == "d"
        config.update_from_flattened_dict({name: "e"})
        assert config.data[name] == "e"
        config.update_from_flattened_dict({f"data.{name}": "f"})
        values = config.to_dict()
        assert values[name] == values["data"][name] == config[name] == "f"
        identity = defaults.identity(config)
        assert name not in identity  # data.<name> already holds it
        assert identity["data"][name] == "f"
    defaults.check(config)


def test_aliases_with_different_values_are_rejected():
    config = ml_collections.ConfigDict(config_files.load(CONFIG).to_dict())
    defaults.check(config)
    config.source = "a.npz"
    with pytest.raises(errors.InputError, match=r"data\.source=''"):
        defaults.check(config)
    del config.source
    defaults.check(config)


def test_a_run_folder_accepts_either_alias(domains):
    folder = domains / "run"
    claim.claim(folder, defaults.identity(_config(domains)), data={}, devices=[])
    config = _config(domains)
    config.data.source = config.source
    claim.claim(folder, defaults.identity(config), data={}, devices=[])
    config.source = "other.npz"
    with pytest.raises(errors.InputError, match=r"data\.source=.*a\.npz.*other\.npz"):
        claim.claim(folder, defaults.identity(config), data={}, devices=[])


@pytest.mark.skipif(
    not PACS.is_dir(), reason="shared/data is not part of every checkout"
)
def test_pacs():
    data = _load(PACS / "photo.npz")
    assert data.image.shape == (1670, 1, 1, 1280)
    assert data.class_names[0] == "dog"
    assert data.id[0] == "photo/dog/056_0001.jpg"
    np.testing.assert_allclose(np.square(data.image).mean((1, 2, 3)), 1, rtol=1e-4)
