"""Streams: order, padding, resuming, and equal batches from device and disk."""

import dataclasses
import functools
import itertools
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dact_jax import errors, keys
from dact_jax.data import augment, streams
from dact_jax.data.order import order
from dact_jax.data.readers import decoding, files
from dact_jax.training import feeding
from dact_jax.types import UNLABELED, BatchSizes, Domain, Examples, Pools, Task

SIZES = BatchSizes(source=4, target=3, unlabeled=5)
N_SOURCE, N_TARGET = 13, 17


def domain(name, image):
    n = len(image)
    train = Examples(image, np.arange(n, dtype=np.int32) % 3)
    empty = Examples(image[:0], train.label[:0])
    return Domain(name, train, empty, empty, np.array([str(i) for i in range(n)]))


def pictures(count, first):
    images = np.zeros((count, 6, 6, 3), np.uint8)
    images[:, :, :, 0] = np.arange(first, first + count)[:, None, None]
    images[:, 2] = 200
    return images


def transform(images, key):
    """Pixels plus 256 times an integer from the key: exact, and fast to compile."""
    number = jax.random.key_data(key)[-1] % 1024
    return images.astype(jnp.float32) + 256 * number.astype(jnp.float32)


def shades(images):
    """The pixels that `transform` was given; the smallest tells the image's row."""
    return np.min(np.asarray(images)[..., 0] % 256, (1, 2))


LOAD = jax.jit(functools.partial(streams.load, transform=transform))


def load(task, batch, key, step):
    return LOAD(streams.resident(task), batch, keys.key(key, "augment", step))


@pytest.fixture
def task():
    source = domain("s", pictures(N_SOURCE, 0))
    target = domain("t", pictures(N_TARGET, 100))
    return Task(source, target, ("a", "b", "c"), None)


@pytest.fixture
def pools():
    return Pools(np.arange(N_SOURCE) != 5, np.isin(np.arange(N_TARGET), [1, 4, 6, 9]))


@pytest.fixture
def label():
    return np.where(np.arange(N_TARGET) < 10, 2, UNLABELED).astype(np.int32)


def placed(task):
    source, target = (d._replace(train=streams.place(d.train, 2**30)) for d in task[:2])
    return task._replace(source=source, target=target)


def on_disk(task, folder):
    """The task with its images in lossless files."""

    def save(d):
        paths = []
        for i, image in enumerate(np.asarray(d.train.image)):
            paths.append(str(folder / f"{d.name}{i}.png"))
            Image.fromarray(image).save(paths[-1])
        reader = files.ImageFiles(tuple(paths), 6, 3)
        return d._replace(train=d.train._replace(image=reader))

    return task._replace(source=save(task.source), target=save(task.target))


def test_an_image_that_is_replaced_stops_the_batches(task, pools, label, tmp_path):
    stored = on_disk(task, tmp_path)

    def stamped(d):
        found = [decoding.inspect(path).stamp for path in d.train.image.paths]
        stamps = np.array(found, np.int64)
        image = dataclasses.replace(d.train.image, stamps=stamps)
        return d._replace(train=d.train._replace(image=image))

    source, target = stamped(stored.source), stamped(stored.target)
    stream = streams.batches(
        stored._replace(source=source, target=target),
        pools,
        label,
        SIZES,
        jax.random.key(0),
        0,
    )
    next(stream)
    for path in target.train.image.paths:
        Image.new("RGB", (6, 6)).save(path)
    with pytest.raises(errors.InputError, match=r"\.png has changed"):
        list(itertools.islice(stream, 100))


def first(task, pools, label, count, key, start=0, sizes=SIZES):
    stream = streams.batches(task, pools, label, sizes, key, start)
    return list(itertools.islice(stream, count))


def assert_same(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_an_epoch_is_a_permutation_without_the_remainder():
    rows = np.arange(100, 123)
    at = order(rows, 5, [7])
    epochs = [[at(4 * e + j) for j in range(4)] for e in range(3)]
    for epoch in epochs:
        drawn = np.concatenate(epoch)
        assert len(set(drawn)) == 20
        assert set(drawn) <= set(rows)
    assert not np.array_equal(epochs[0], epochs[1])
    assert len(set(np.concatenate([np.concatenate(e) for e in epochs]))) == 23


def test_order_has_random_access_and_a_seed():
    rows = np.arange(40)
    forward = [order(rows, 6, [1, 2])(i) for i in range(20)]
    at = order(rows, 6, [1, 2])
    backward = [at(i) for i in reversed(range(20))]
    np.testing.assert_array_equal(forward, backward[::-1])
    assert not np.array_equal(forward[0], order(rows, 6, [1, 3])(0))


def test_a_small_pool_is_repeated():
    at = order(np.array([3, 8, 9]), 8, [0])
    for position in range(4):
        drawn = at(position)
        assert set(drawn[:3]) == {3, 8, 9}
        np.testing.assert_array_equal(drawn, np.resize(drawn[:3], 8))
    assert len({tuple(at(i)) for i in range(20)}) > 1


def test_streams_draw_from_their_pools(task, pools, label, key):
    for batch in first(placed(task), pools, label, 30, key):
        source, target, unlabeled = batch
        assert source.image.dtype == target.image.dtype == np.int32
        assert pools.source[source.image].all()
        np.testing.assert_array_equal(source.label, source.image % 3)
        assert pools.target[target.image].all()
        np.testing.assert_array_equal(target.label, [2, 2, 2])
        assert not pools.target[unlabeled].any()
        assert [len(x) for x in (source.label, target.label, unlabeled)] == [4, 3, 5]


def test_few_labels_are_padded_without_label(task, pools, label, key):
    sizes = BatchSizes(source=20, target=6, unlabeled=30)
    batch = first(placed(task), pools, label, 1, key, sizes=sizes)[0]
    np.testing.assert_array_equal(batch.target.label, [2, 2, 2, 2, -1, -1])
    assert set(batch.target.image[:4]) == {1, 4, 6, 9}
    assert (batch.source.label[:12] >= 0).all()
    assert (batch.source.label[12:] == UNLABELED).all()
    assert set(batch.unlabeled) == set(np.flatnonzero(~pools.target))


def test_a_resumed_stream_is_uninterrupted(task, pools, label, key, tmp_path):
    for version in (placed(task), on_disk(task, tmp_path)):
        uninterrupted = first(version, pools, label, 12, key)
        assert_same(first(version, pools, label, 5, key, start=7), uninterrupted[7:])
        assert_same(first(version, pools, label, 2, key), uninterrupted[:2])


def test_streams_depend_on_the_key_and_not_on_each_other(task, pools, label, key):
    batches = first(placed(task), pools, label, 6, key)
    other_key = first(placed(task), pools, label, 6, jax.random.key(1))
    assert not np.array_equal(batches[0].source.image, other_key[0].source.image)
    more = Pools(pools.source, pools.target | (np.arange(N_TARGET) == 2))
    more_labels = first(placed(task), more, label, 6, key)
    assert_same([b.source for b in more_labels], [b.source for b in batches])


@pytest.mark.parametrize("in_files", [["source"], ["target"], ["source", "target"]])
def test_pools_on_disk_give_the_batches_of_pools_on_the_device(
    task, pools, label, key, tmp_path, in_files
):
    files_task = on_disk(task, tmp_path)
    mixed = placed(task)._replace(**{n: getattr(files_task, n) for n in in_files})
    actual, expected = (
        [load(version, batch, key, i) for i, batch in enumerate(drawn)]
        for version in (mixed, placed(task))
        for drawn in [first(version, pools, label, 5, key)]
    )
    assert_same(actual, expected)


def test_augmented_batches_from_disk_and_device_are_equal(
    task, pools, label, key, tmp_path
):
    """With the transform of a run, which maps images to a smaller float32 crop."""
    statistics = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    crop = functools.partial(augment.augment, crop=5, flip=True, **statistics)
    run = jax.jit(functools.partial(streams.load, transform=crop))
    actual, expected = (
        run(streams.resident(version), *first(version, pools, label, 1, key), key)
        for version in (on_disk(task, tmp_path), placed(task))
    )
    assert actual.source.image.shape == (4, 5, 5, 3)
    assert actual.source.image.dtype == jnp.float32
    assert_same(actual, expected)


def test_load_gathers_rows_and_gives_each_stream_its_key(task, pools, label, key):
    task = placed(task)
    drawn = first(task, pools, label, 1, key)[0]
    batch = load(task, drawn, key, 0)
    assert batch.source.image.shape == (4, 6, 6, 3)
    np.testing.assert_array_equal(shades(batch.source.image), drawn.source.image)
    np.testing.assert_array_equal(shades(batch.target.image), drawn.target.image + 100)
    np.testing.assert_array_equal(shades(batch.unlabeled), drawn.unlabeled + 100)
    stream_keys = []
    streams.load(
        streams.resident(task),
        drawn,
        key,
        lambda x, k: stream_keys.append(jax.random.key_data(k).tolist()) or x,
    )
    assert len({tuple(k) for k in stream_keys}) == 3


def test_no_labelled_target_batches(task, pools, label, key):
    none = Pools(pools.source, np.zeros(N_TARGET, bool))
    off = SIZES._replace(target=0)
    cases = [(none, SIZES), (none, off), (pools, off)]
    for chosen, sizes in cases:
        batch = first(placed(task), chosen, label, 1, key, sizes=sizes)[0]
        assert batch.target is None
        assert load(placed(task), batch, key, 0).target is None


def test_no_unlabelled_batches(task, pools, label, key, tmp_path):
    """None is drawn, and the other streams do not change."""
    off = SIZES._replace(unlabeled=0)
    full = pools._replace(
        target=np.ones(N_TARGET, bool)
    )  # none is left, which is no error
    for version in (placed(task), on_disk(task, tmp_path)):
        all_streams = first(version, pools, label, 4, key)
        without = first(version, pools, label, 4, key, sizes=off)
        assert [batch.unlabeled for batch in without] == [None] * 4
        assert_same([b[:2] for b in without], [b[:2] for b in all_streams])
        assert first(version, full, label, 1, key, sizes=off)[0].unlabeled is None
        loaded = load(version, without[0], key, 0)
        assert loaded.unlabeled is None
        assert_same(loaded[:2], load(version, all_streams[0], key, 0)[:2])
        stacked = feeding.stacked(iter(without), 4, 4)
        assert stacked.unlabeled is None
        assert len(stacked.source.label) == 4


def test_transductive_unlabeled(task, pools, label, key):
    test = Examples(jnp.asarray(pictures(9, 50)), np.zeros(9, np.int32))
    task = placed(task)._replace(unlabeled=test)
    batch = first(task, pools, label, 1, key)[0]
    assert (batch.unlabeled < 9).all()
    loaded = load(task, batch, key, 0).unlabeled
    np.testing.assert_array_equal(shades(loaded), batch.unlabeled + 50)


def test_chunk_stacks(task, pools, label, key):
    task = placed(task)
    stream = streams.batches(task, pools, label, SIZES, key, 0)
    stacked = [feeding.stacked(stream, 3, 3), feeding.stacked(stream, 2, 3)]
    flat = first(task, pools, label, 5, key)
    assert stacked[0].source.image.shape == (3, 4)
    repeated = [*flat[3:], flat[-1]]
    assert_same(stacked[1], jax.tree.map(lambda *x: np.stack(x), *repeated))


def test_place_keeps_pools_above_the_limit(task):
    train = task.source.train
    assert streams.place(train, N_SOURCE * 108 - 1) is train
    on_device = streams.place(train, N_SOURCE * 108)
    assert isinstance(on_device.image, jax.Array)
    np.testing.assert_array_equal(on_device.image, train.image)


def test_a_closed_stream_stops_its_threads(task, pools, label, key, tmp_path):
    before = set(threading.enumerate())
    stream = streams.batches(on_disk(task, tmp_path), pools, label, SIZES, key, 0)
    next(stream)
    readers = set(threading.enumerate()) - before
    assert readers
    stream.close()
    deadline = time.monotonic() + 60
    while any(map(threading.Thread.is_alive, readers)):
        assert time.monotonic() < deadline, readers
        time.sleep(0.01)
    assert next(stream, None) is None


def test_a_missing_file_is_named(task, pools, label, key, tmp_path):
    files_task = on_disk(task, tmp_path)
    for i in range(N_TARGET):
        (tmp_path / f"t{i}.png").unlink()
    with pytest.raises(errors.InputError, match=r"t\d+\.png .*no such file"):
        first(files_task, pools, label, 1, key)


def test_empty_pools(task, pools, label, key):
    empty, full = np.zeros(N_SOURCE, bool), np.ones(N_TARGET, bool)
    with pytest.raises(errors.InputError, match="source"):
        first(placed(task), Pools(empty, pools.target), label, 1, key)
    with pytest.raises(errors.InputError, match=r"unlabelled .* t "):
        first(placed(task), Pools(pools.source, full), label, 1, key)
