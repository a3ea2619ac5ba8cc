"""Streams: order, padding, resuming, and that lazy pools draw what placed ones do."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dact_jax import errors, keys
from dact_jax.data import augment, files, streams
from dact_jax.data.order import order
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
    statistics = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    return augment.augment(images, key, crop=5, flip=True, **statistics)


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
    """The same task with its images in lossless files."""

    def save(d):
        paths = []
        for i, image in enumerate(np.asarray(d.train.image)):
            paths.append(str(folder / f"{d.name}{i}.png"))
            Image.fromarray(image).save(paths[-1])
        reader = files.ImageFiles(tuple(paths), 6, 3)
        return d._replace(train=d.train._replace(image=reader))

    return task._replace(source=save(task.source), target=save(task.target))


def first(task, pools, label, count, key, start=0, sizes=SIZES):
    stream = streams.batches(task, pools, label, sizes, key, start)
    return list(itertools.islice(stream, count))


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_an_epoch_is_a_permutation_without_its_rest():
    rows = np.arange(100, 123)
    at = order(rows, 5, [7])
    epochs = [[at(4 * e + j) for j in range(4)] for e in range(3)]
    for epoch in epochs:
        seen = np.concatenate(epoch)
        assert len(set(seen)) == 20
        assert set(seen) <= set(rows)
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


def test_resumed_is_uninterrupted(task, pools, label, key, tmp_path):
    for version in (placed(task), on_disk(task, tmp_path)):
        whole = first(version, pools, label, 12, key)
        assert_same(whole[7:], first(version, pools, label, 5, key, start=7))
        assert_same(whole[:2], first(version, pools, label, 2, key))


def test_key_and_streams_are_independent(task, pools, label, key):
    one = first(placed(task), pools, label, 6, key)
    two = first(placed(task), pools, label, 6, jax.random.key(1))
    assert not np.array_equal(one[0].source.image, two[0].source.image)
    more = Pools(pools.source, pools.target | (np.arange(N_TARGET) == 2))
    other = first(placed(task), more, label, 6, key)
    assert_same([b.source for b in one], [b.source for b in other])


@pytest.mark.parametrize("where", [[], [0], [1], [0, 1]], ids=str)
def test_lazy_pools_give_the_batches_of_placed_ones(
    task, pools, label, key, tmp_path, where
):
    lazy = on_disk(task, tmp_path)
    mixed = list(placed(task))
    for domain in where:
        mixed[domain] = lazy[domain]
    mixed = Task(*mixed)
    loaded = [
        [load(version, batch, key, i) for i, batch in enumerate(drawn)]
        for version in (placed(task), mixed)
        for drawn in [first(version, pools, label, 5, key)]
    ]
    assert_same(*loaded)


def test_load_gathers_rows_and_gives_each_stream_its_key(task, pools, label, key):
    task = placed(task)
    drawn = first(task, pools, label, 1, key)[0]
    batch = load(task, drawn, key, 0)
    assert batch.source.image.shape == (4, 5, 5, 3)
    assert batch.source.image.dtype == jnp.float32
    shade = np.round((np.asarray(batch.unlabeled)[:, :, :, 0] * 0.5 + 0.5) * 255)
    np.testing.assert_array_equal(np.min(shade, (1, 2)), drawn.unlabeled + 100)
    seen = []
    streams.load(
        streams.resident(task),
        drawn,
        key,
        lambda x, k: seen.append(jax.random.key_data(k).tolist()) or x,
    )
    assert len({tuple(k) for k in seen}) == 3


def test_no_labelled_target(task, pools, label, key):
    none = Pools(pools.source, np.zeros(N_TARGET, bool))
    off = SIZES._replace(target=0)
    cases = [(none, SIZES), (none, off), (pools, off)]
    for chosen, sizes in cases:
        batch = first(placed(task), chosen, label, 1, key, sizes=sizes)[0]
        assert batch.target is None
        assert load(placed(task), batch, key, 0).target is None


def test_no_unlabelled_images(task, pools, label, key, tmp_path):
    """Nothing is read of them, and the other streams are as they were."""
    off = SIZES._replace(unlabeled=0)
    full = pools._replace(target=np.ones(N_TARGET, bool))  # none left: no mistake here
    for version in (placed(task), on_disk(task, tmp_path)):
        with_them = first(version, pools, label, 4, key)
        without = first(version, pools, label, 4, key, sizes=off)
        assert [batch.unlabeled for batch in without] == [None] * 4
        assert_same([b[:2] for b in without], [b[:2] for b in with_them])
        assert first(version, full, label, 1, key, sizes=off)[0].unlabeled is None
        loaded = load(version, without[0], key, 0)
        assert loaded.unlabeled is None
        assert_same(loaded[:2], load(version, with_them[0], key, 0)[:2])
        stacked = streams.chunk(iter(without), 4)
        assert stacked.unlabeled is None
        assert len(stacked.source.label) == 4


def test_transductive_unlabeled(task, pools, label, key):
    test = Examples(jnp.asarray(pictures(9, 50)), np.zeros(9, np.int32))
    task = placed(task)._replace(unlabeled=test)
    batch = first(task, pools, label, 1, key)[0]
    assert (batch.unlabeled < 9).all()
    loaded = load(task, batch, key, 0).unlabeled
    shade = np.round((np.asarray(loaded)[:, :, :, 0] * 0.5 + 0.5) * 255)
    np.testing.assert_array_equal(np.min(shade, (1, 2)), batch.unlabeled + 50)


def test_chunk_stacks(task, pools, label, key):
    task = placed(task)
    stream = streams.batches(task, pools, label, SIZES, key, 0)
    stacked = [streams.chunk(stream, 3), streams.chunk(stream, 2)]
    flat = first(task, pools, label, 5, key)
    assert stacked[0].source.image.shape == (3, 4)
    assert_same(stacked[1], jax.tree.map(lambda *x: np.stack(x), *flat[3:]))


def test_place_keeps_what_does_not_fit(task):
    train = task.source.train
    assert streams.place(train, N_SOURCE * 108 - 1) is train
    whole = streams.place(train, N_SOURCE * 108)
    assert isinstance(whole.image, jax.Array)
    np.testing.assert_array_equal(whole.image, train.image)


def test_a_lazy_stream_can_be_dropped(task, pools, label, key, tmp_path):
    stream = streams.batches(on_disk(task, tmp_path), pools, label, SIZES, key, 0)
    next(stream)
    stream.close()


def test_a_file_that_vanished_is_named(task, pools, label, key, tmp_path):
    lazy = on_disk(task, tmp_path)
    for i in range(N_TARGET):
        (tmp_path / f"t{i}.png").unlink()
    with pytest.raises(errors.InputError, match=r"t\d+\.png is not a readable image"):
        first(lazy, pools, label, 1, key)


def test_empty_pools(task, pools, label, key):
    empty, full = np.zeros(N_SOURCE, bool), np.ones(N_TARGET, bool)
    with pytest.raises(errors.InputError, match="no source image is in use"):
        first(placed(task), Pools(empty, pools.target), label, 1, key)
    with pytest.raises(errors.InputError, match="no unlabelled image of t is left"):
        first(placed(task), Pools(pools.source, full), label, 1, key)
