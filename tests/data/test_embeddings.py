"""Embeddings as data: the reader, the MLP, the config's two names, whole runs."""

import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from PIL import Image

from dact_jax import errors, runner
from dact_jax.configuration import build, build_data, defaults, files as config_files
from dact_jax.data import embeddings, files, fingerprint, sources, streams
from dact_jax.models import encoders, mlp, model
from dact_jax.rounds import claim, workdir
from dact_jax.types import SOURCE, TARGET, Examples

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
def test_labels_that_are_numbers(tmp_path, dtype):
    label = np.array([0, 2, 1, 0, 2, 2], dtype)
    data = _load(_save(tmp_path, features=_features(), label=label))
    np.testing.assert_array_equal(data.label, label)
    assert (data.label.dtype, data.class_names) == (np.int32, ("0", "1", "2"))
    classes = np.array(["dog", "cat", "emu", "yak"])
    path = _save(tmp_path, features=_features(), label=label, classes=classes)
    assert _load(path).class_names == ("dog", "cat", "emu", "yak")


def test_labels_that_are_names(tmp_path):
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
    some = np.array([-1, 1] + [-1] * 9)
    data = _load(_save(tmp_path, features=_features(11), label=some))
    assert (data.label.tolist(), data.class_names) == (some.tolist(), ("0", "1"))


def test_paths_are_ids(tmp_path):
    path = np.array(["a/1.jpg", "b/ü.jpg"])
    data = _load(_save(tmp_path, features=_features(2), path=path))
    assert data.id.tolist() == path.tolist()
    again = data._replace(image=data.image * 2)
    assert fingerprint.of(data) == fingerprint.of(data)
    assert fingerprint.of(data) != fingerprint.of(again)


def _with(**changed):
    return {"features": _features(), "label": np.arange(6) % K} | changed


def _spoilt(value):
    x = _features(dtype=np.float64)
    x[4, 1] = x[5, 0] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": _features()},
            r"some\.npz has the arrays \['x'\]: give embeddings .*x_t",
        ),
        (_with(features=_features()[0]), r"features of .*some\.npz must be .*32\[12\]"),
        (_with(features=_features().astype(int)), r"float\[N, F\].* not int64\[6, 12"),
        (
            _with(features=_features().astype(object)),
            "features of .* strings .not of objects",
        ),
        (_with(features=_features(0)), r"features of .* is empty: float32\[0, 12\]"),
        (_with(features=_features()[:, :0]), r"is empty: float32\[6, 0\]"),
        (_with(features=_spoilt(np.nan)), "row 4 is not, nor are 1 others"),
        (_with(features=_spoilt(1e300)), "finite numbers of float32: row 4"),
        (
            _with(label=np.arange(5)),
            r"label of .* must be 6 integers .* not int64\[5\]",
        ),
        (_with(label=np.zeros(6)), r"must be 6 integers or strings.* not float64\[6"),
        (_with(label=np.zeros((6, 1), int)), r"not int64\[6, 1\]"),
        (
            _with(label=np.array(list("abcabc"), object)),
            "label of .* strings .not of objects",
        ),
        (_with(label=np.arange(6) - 2), r"0\.\.99999, or -1 .* row 0 is -2"),
        (_with(label=np.arange(6) * 10**9), "row 1 is 1000000000"),
        (_with(classes=np.array(["a", "b"])), r"label of .* 0\.\.1, .*: row 2 is 2"),
        (
            _with(label=np.array(list("aabbcd")), classes=np.array(list("abc"))),
            r'names of the array classes, or "" .*: row 5 is \'d\'',
        ),
        (_with(classes=np.arange(3)), "classes of .* a list of strings, not int64"),
        (_with(classes=np.array(["a", "b", "a"])), "must be different names.* 'a'"),
        (_with(classes=np.array(["a", "", "b"])), "none of them empty"),
        (_with(path=np.arange(6)), "path of .* must be a list of strings, not int64"),
        (_with(path=np.array(list("abcab"))), "must be 6 strings.* not 5"),
        (_with(path=np.array(list("abcdea"))), "must all differ: 'a' is there twice"),
        (_with(path=np.array(["ü".encode()] * 6)), "must be text, not bytes"),
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
        with pytest.raises(
            errors.InputError, match=r"bad\.npz is not a readable \.npz"
        ):
            _load(bad)
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(bad)
    with pytest.raises(errors.InputError, match=r"bad\.npz is not a readable \.npz"):
        _load(bad)
    with pytest.raises(errors.InputError, match=r"there is no file .*no\.npz"):
        embeddings.load(tmp_path / "no.npz", name="no")
    path = _save(tmp_path, x=_features())
    with pytest.raises(errors.InputError, match=r"lacks the array features.*\['x'\]"):
        embeddings.load(path, name="some")
    with pytest.raises(errors.InputError, match=r'data\.scale is "unit" or "raw"'):
        _load(_save(tmp_path, features=_features()), scale="log")


def test_an_npz_with_digits_is_still_one_of_digits(tmp_path):
    x, y = np.zeros((10, 8, 8), np.uint8), np.arange(10)
    path = _save(tmp_path, x_train=x, y_train=y, x_test=x, y_test=y)
    assert sources.load(str(path), size=8, channels=1).image.shape == (20, 8, 8, 1)
    with pytest.raises(errors.InputError, match="lacks the array y_train"):
        _load(_save(tmp_path, x_train=x))


def test_a_pool_on_the_device_takes_four_bytes_a_number():
    vectors = Examples(np.zeros((5, 1, 1, F), np.float32), np.zeros(5, np.int32))
    assert isinstance(streams.place(vectors, 5 * F * 4).image, jax.Array)
    assert streams.place(vectors, 5 * F * 4 - 1) is vectors


@pytest.mark.parametrize("batch_norm", [False, True])
def test_mlp_is_its_formula(key, batch_norm):
    net = mlp.MLP((7, 4), batch_norm=batch_norm)
    x = jax.random.normal(key, (6, 1, 1, F))
    tree = net.init(key, x, train=False)
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


def test_mlp_drops_in_training_only(key):
    net = mlp.MLP((64,), dropout=0.5, batch_norm=False)
    x = jax.random.normal(key, (8, 1, 1, F))
    tree = net.init(key, x, train=False)
    embedding, (tap,) = net.apply(tree, x, train=True, rngs={"dropout": key})
    live = np.asarray(tap) > 0
    dropped = np.asarray(embedding)[live] == 0
    assert 0.4 < dropped.mean() < 0.6
    np.testing.assert_allclose(embedding[live][~dropped], 2 * tap[live][~dropped])


def test_each_domain_has_its_own_norm_row(key):
    network = model.make_model(mlp.MLP((5,)), {}, 2)
    variables = network.init(key, (1, 1, F))
    leaves = jax.tree.leaves((variables.norm, variables.stats))
    assert [leaf.shape for leaf in leaves] == [(2, 5)] * 4
    x = jax.random.normal(key, (2, 8, 1, 1, F)) + jnp.arange(2.0).reshape(2, 1, 1, 1, 1)
    both, new = network.encode(variables, x, (SOURCE, TARGET), train=True)
    for row in (SOURCE, TARGET):
        one, alone = network.encode(variables, x[row][None], (row,), train=True)
        np.testing.assert_allclose(both.embedding[row], one.embedding[0], rtol=1e-5)
        for a, b, old in zip(
            *map(jax.tree.leaves, (new.stats, alone.stats, variables.stats)),
            strict=True,
        ):
            np.testing.assert_allclose(a[row], b[row], rtol=1e-5)
            np.testing.assert_array_equal(b[1 - row], old[1 - row])


@pytest.mark.parametrize("widths", [(), (0,), (8, -1), (8.5,)])
def test_widths_are_positive(widths):
    with pytest.raises(errors.InputError, match=r"model\.widths=.*such as \(512,\)"):
        encoders.make("mlp", side=1, num_norms=1, implementation="stock", widths=widths)


def test_dsbn_of_an_mlp_needs_batch_norm():
    with pytest.raises(errors.InputError, match=r"set model\.batch_norm=True"):
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
    config.train.update(steps=40, chunk=20, save_every=20)
    config.train.update(batch_source=8, batch_target=8, batch_unlabeled=16)
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize(
    ("preset", "norms", "device_bytes"),
    [("s_act", 1, 2**30), ("s_rt", 2, 0), ("mme", 2, 2**30), ("source_only", 1, 0)],
)
def test_a_run_adapts(domains, capsys, preset, norms, device_bytes):
    changes = {"model.num_norms": norms, "data.device_bytes": device_bytes}
    config = _config(domains, f":preset={preset}", **changes)
    folder = domains / "run"
    runner.run(config, folder, command="command")
    rows = [row for row in workdir.read(folder) if row["event"] == "round"]
    assert rows[-1]["test_accuracy"] > 0.9
    assert set(rows[-1]["labels_per_class"]) == {"ant", "bee", "cow"}
    picks = [pick.id for pick in workdir.read_picks(folder) if pick.side == "target"]
    spent = {"s_act": 12, "s_rt": 12, "mme": 9, "source_only": 0}
    assert len(set(picks)) == rows[-1]["labels_target"] == spent[preset]
    assert all(id.startswith("b/") for id in picks)
    assert "Report: " in capsys.readouterr().out


def test_several_layers_and_labels_still_to_come(domains):
    arrays = dict(np.load(domains / "b.npz"))
    arrays["label"] = np.where(np.arange(90) < 60, arrays["label"], -1)
    _save(domains, "b", **arrays)
    made, _ = build.build(_config(domains, **{"model.widths": (16, 8)}))
    assert made.task.target.train.image.shape == (90 - 20 - 9, 1, 1, F)
    assert set(made.train.variables.params["encoder"]) == {"fc1", "fc2"}


def test_vectors_reach_the_network_as_they_are(domains, key):
    config = _config(domains)
    stored = _load(domains / "a.npz").image
    train = build_data.make_augment(config)(jnp.asarray(stored), key)
    evaluated = build_data.make_prepare(config)(jnp.asarray(stored))
    for seen in (train, evaluated):
        np.testing.assert_array_equal(seen, stored)


def _refused(config, message):
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


def test_what_does_not_fit_together(domains):
    photos = _photos(domains)
    _refused(_config(domains, source=photos), "'mlp' is for embeddings, but photos ho")
    _refused(_config(domains, target=photos), "a holds embeddings, but target photos i")
    _save(domains, "c", **dict(np.load(domains / "b.npz"), features=np.ones((90, 5))))
    other = str(domains / "c.npz")
    _refused(
        _config(domains, target=other), "a has 12 numbers .* target c 5: take both"
    )
    _refused(_config(domains, target=str(domains / "a.npz")), "are the same")
    _refused(_config(domains, target=""), "there is no data at ''")
    _save(domains, "d", features=_features(90))
    _refused(_config(domains, source=str(domains / "d.npz")), "source d has no label")
    _refused(_config(domains, **{"data.scale": "log"}), r"data\.scale is .* not 'log'")

    lenet = config_files.load("configs/tiny.py")
    lenet.update(source=str(domains / "a.npz"), target=str(domains / "b.npz"))
    _refused(lenet, r"'lenet' is for images, but a holds embeddings: use configs/emb")
    lenet.source = "printed"
    _refused(lenet, "source printed holds images, but target b embeddings: give two")


CONFIGS = sorted(pathlib.Path("configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_source_and_target_have_two_names_in_every_config(path):
    config = config_files.load(str(path))
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
        found = config.to_dict()
        assert found[name] == found["data"][name] == config[name] == "f"
        identity = defaults.identity(config)
        assert name not in identity  # once is enough
        assert identity["data"][name] == "f"
    defaults.check(config)


def test_two_names_with_two_values_are_refused():
    config = ml_collections.ConfigDict(config_files.load(CONFIG).to_dict())
    defaults.check(config)
    config.source = "a.npz"
    with pytest.raises(
        errors.InputError, match=r"config\.data\.source='' are one field"
    ):
        defaults.check(config)
    del config.source
    defaults.check(config)


def test_a_workdir_knows_the_field_by_either_name(domains):
    folder = domains / "run"
    claim.claim(folder, defaults.identity(_config(domains)), data={}, devices=[])
    config = _config(domains)
    config.data.source = config.source
    claim.claim(folder, defaults.identity(config), data={}, devices=[])
    config.source = "other.npz"
    with pytest.raises(errors.InputError, match=r"data\.source=.*a\.npz.*other\.npz"):
        claim.claim(folder, defaults.identity(config), data={}, devices=[])


@pytest.mark.skipif(not PACS.is_dir(), reason="only where these files are")
def test_pacs():
    data = _load(PACS / "photo.npz")
    assert data.image.shape == (1670, 1, 1, 1280)
    assert data.class_names[0] == "dog"
    assert data.id[0] == "photo/dog/056_0001.jpg"
    np.testing.assert_allclose(np.square(data.image).mean((1, 2, 3)), 1, rtol=1e-4)
