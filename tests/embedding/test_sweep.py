"""Image files to vectors: the same whatever was kept, and computed once."""

import dataclasses
import os
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from dact_jax import errors
from dact_jax.data.readers import decoding, files, opening
from dact_jax.embedding import parts, sweep
from tests.embedding import tiny


@pytest.fixture
def photos(tmp_path):
    """Eleven image files of several sizes."""
    random = np.random.default_rng(1)
    paths = []
    for number in range(11):
        shape = (9 + number, 20 - number, 3)
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
        path = tmp_path / "photos" / f"{number:02} \u00e4.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return files.ImageFiles(tuple(paths), 3, 1)


@pytest.fixture
def counted(monkeypatch):
    """Paths of the files that are decoded."""
    decoded, decode = [], decoding.decode

    def count(path, *args, **options):
        decoded.append(path)
        return decode(path, *args, **options)

    monkeypatch.setattr(decoding, "decode", count)
    return decoded


def stamped(images):
    stamps = [decoding.inspect(path).stamp for path in images.paths]
    return dataclasses.replace(images, stamps=np.array(stamps, np.int64))


def test_vectors_are_those_of_the_network(photos):
    backbone = tiny.backbone()
    expected = []
    for path in photos.paths:
        with Image.open(path) as image:
            resized = image.resize((tiny.SIDE, tiny.SIDE), Image.Resampling.BICUBIC)
        x = (np.asarray(resized, np.float64) - 127) / 99
        expected.append(np.tanh(x.reshape(-1) @ backbone.variables["kernel"]))
    actual = sweep.embed(photos, backbone, batch=2)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_bits_depend_neither_on_the_batch_nor_on_the_other_images(photos):
    assert jax.device_count() == 2
    backbone = tiny.backbone()
    expected = sweep.embed(photos, backbone, batch=2)
    rows = np.array([7, 3, 10])
    for batch in (1, 3, 5, 16):
        np.testing.assert_array_equal(
            sweep.embed(photos, backbone, batch=batch), expected
        )
        some = sweep.embed(files.take(photos, rows), backbone, batch=batch)
        np.testing.assert_array_equal(some, expected[rows])


def test_no_images_have_no_vectors():
    empty = files.ImageFiles((), 4, 3)
    assert sweep.embed(empty, tiny.backbone()).shape == (0, tiny.WIDTH)


@pytest.mark.parametrize("form", [lambda images: images, stamped])
def test_an_image_is_computed_once(photos, tmp_path, counted, form):
    cache, backbone = tmp_path / "cache", tiny.backbone()
    expected = sweep.embed(photos, backbone)
    photos = form(photos)
    counted.clear()
    some = np.array([9, 0, 4])
    told = []
    np.testing.assert_array_equal(
        sweep.embed(files.take(photos, some), backbone, cache=cache), expected[some]
    )
    assert len(counted) == 3
    again = sweep.embed(
        photos,
        backbone,
        cache=cache,
        batch=2,
        progress=lambda *state: told.append(state),
    )
    np.testing.assert_array_equal(again, expected)
    assert len(counted) == 11
    assert told == [(done, 11) for done in range(1, 12)]
    np.testing.assert_array_equal(sweep.embed(photos, backbone, cache=cache), expected)
    assert len(counted) == 11


def test_a_changed_image_is_computed_again_and_a_moved_one_is_not(
    photos, tmp_path, counted
):
    cache, backbone = tmp_path / "cache", tiny.backbone()
    before = sweep.embed(photos, backbone, cache=cache)
    status = os.stat(photos.paths[2])
    with Image.open(photos.paths[2]) as image:
        turned = image.transpose(Image.Transpose.ROTATE_180)
    turned.save(photos.paths[2])
    os.utime(photos.paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    moved = str(tmp_path / "moved.png")
    os.rename(photos.paths[5], moved)
    os.utime(moved)
    paths = (*photos.paths[:5], moved, *photos.paths[6:])
    counted.clear()
    after = sweep.embed(dataclasses.replace(photos, paths=paths), backbone, cache=cache)
    assert counted == [photos.paths[2]]
    assert (after != before).any(1).tolist() == [row == 2 for row in range(11)]


def test_another_network_or_preparation_has_its_own_vectors(photos, tmp_path):
    cache = tmp_path / "cache"
    variants = [
        tiny.backbone(),
        tiny.backbone(1),
        tiny.backbone(std=(50.0,) * 3),
        tiny.backbone(filter="bilinear"),
    ]
    assert len({backbone.identity for backbone in variants}) == 4
    assert tiny.backbone().identity == variants[0].identity
    for backbone in variants * 2:
        np.testing.assert_array_equal(
            sweep.embed(photos, backbone, cache=cache), sweep.embed(photos, backbone)
        )


def test_what_was_computed_before_a_stop_is_kept(photos, tmp_path, counted):
    cache, backbone = tmp_path / "cache", tiny.backbone()

    def stop(done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.embed(photos, backbone, cache=cache, batch=1, progress=stop)
    known = parts.read(cache / backbone.identity, backbone.identity, tiny.WIDTH)
    assert len(known.by_content) >= 6
    counted.clear()
    np.testing.assert_array_equal(
        sweep.embed(photos, backbone, cache=cache, batch=1),
        sweep.embed(photos, backbone, batch=1),
    )
    assert len(counted) <= 5 + 11


def test_parts_are_written_while_it_goes_on(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "KEEP_IMAGES", 4)
    cache, backbone = tmp_path / "cache", tiny.backbone()
    sweep.embed(photos, backbone, cache=cache)
    sizes = [
        len(np.load(path)["vector"]) for path in (cache / backbone.identity).iterdir()
    ]
    assert sorted(sizes) == [3, 4, 4]
    monkeypatch.setattr(sweep, "KEEP_SECONDS", 0)
    shutil.rmtree(cache)
    sweep.embed(photos, backbone, cache=cache)
    assert len(list((cache / backbone.identity).iterdir())) == 11


def damage(part, how):
    content = bytearray(part.read_bytes())
    if how == "cut":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    elif how == "text":
        content[:] = b"no archive"
    elif how == "bit":
        at = content.index(np.load(part)["vector"].tobytes()[:16])
        content[at] ^= 1
    else:
        arrays = dict(np.load(part))
        if how == "other":
            arrays["identity"] = np.array("another")
        elif how == "lacks":
            del arrays["stamp"]
        elif how == "nan":
            arrays["vector"][1, 1] = np.nan
        elif how == "rows":
            arrays["vector"] = arrays["vector"][:-1]
        elif how == "dtype":
            arrays["vector"] = arrays["vector"].astype(np.float64)
        elif how == "order":
            arrays["vector"] = np.asfortranarray(arrays["vector"])
        elif how == "packed":
            np.savez_compressed(part, **arrays)
            return
        np.savez(part, **arrays)
        return
    part.write_bytes(content)


@pytest.mark.parametrize(
    "how",
    [
        *("cut", "empty", "text", "bit", "other", "lacks", "nan", "rows", "dtype"),
        *("order", "packed"),
    ],
)
def test_a_damaged_part_is_computed_again(photos, tmp_path, counted, caplog, how):
    cache, backbone = tmp_path / "cache", tiny.backbone()
    expected = sweep.embed(photos, backbone, cache=cache)
    (part,) = (cache / backbone.identity).iterdir()
    damage(part, how)
    counted.clear()
    sweep.embed(files.take(photos, np.array([3])), backbone, cache=cache)
    assert part.name in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(sweep.embed(photos, backbone, cache=cache), expected)
    assert len(counted) == 11  # each once more
    assert not caplog.text  # it is named once


def test_an_unreadable_image_is_named_and_the_others_are_kept(photos, tmp_path):
    cache, backbone = tmp_path / "cache", tiny.backbone()
    bad = photos.paths[8]
    with open(bad, "rb+") as file:
        file.truncate(60)
    with pytest.raises(errors.InputError, match=r"08 .*is not a readable image"):
        sweep.embed(photos, backbone, cache=cache, batch=1)
    known = parts.read(cache / backbone.identity, backbone.identity, tiny.WIDTH)
    assert 4 <= len(known.by_content) <= 8  # one batch may be on the devices


def test_an_image_that_changes_meanwhile_is_named(photos):
    listed = stamped(photos)
    with open(photos.paths[4], "ab") as file:
        file.write(b"more")
    with pytest.raises(errors.InputError, match=r"04 .* has changed"):
        sweep.embed(listed, tiny.backbone())


def test_numbers_that_are_not_finite_are_named(photos):
    backbone = tiny.backbone(std=(0.0,) * 3)
    with pytest.raises(errors.InputError, match=r"vector of .*00 .* is not finite"):
        sweep.embed(photos, backbone, batch=2)


def test_content_is_of_all_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a" * 200_000 + b"b")
    first = opening.content(str(path))
    path.write_bytes(b"a" * 200_000 + b"c")
    second = opening.content(str(path))
    assert first[0].head == second[0].head
    assert first[1] != second[1]


def test_files_that_begin_alike_have_their_own_vectors(tmp_path):
    # Uncompressed pictures of an archive: one size, one time, one white beginning.
    paths = [tmp_path / f"{number}.bmp" for number in range(3)]
    for number, path in enumerate(paths):
        pixels = np.full((200, 150, 3), 255, np.uint8)
        pixels[:20] = 80 * number  # a .bmp begins with the last row
        Image.fromarray(pixels).save(path)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    photos = stamped(files.ImageFiles(tuple(map(str, paths)), 3, 1))
    assert (photos.stamps == photos.stamps[0]).all()
    backbone, cache = tiny.backbone(), tmp_path / "cache"
    expected = sweep.embed(photos, backbone)
    assert len(np.unique(expected, axis=0)) == 3

    first, last = files.take(photos, np.arange(2)), files.take(photos, np.arange(2, 3))
    for part in (first, photos, photos, last):  # the last is asked about alone
        rows = [photos.paths.index(path) for path in part.paths]
        found = sweep.embed(part, backbone, cache=cache)
        np.testing.assert_array_equal(found, expected[rows])


def test_kept_vectors_stay_on_the_disk_until_they_are_needed(photos, tmp_path, counted):
    backbone, caches = tiny.backbone(), [tmp_path / "one", tmp_path / "two"]
    expected = sweep.embed(files.take(photos, np.arange(6)), backbone, cache=caches[0])
    sweep.embed(files.take(photos, np.arange(4, 11)), backbone, cache=caches[1])
    known = sweep.known_vectors(backbone, tmp_path / "none", *caches)
    assert len(known.by_stamp) == len(known.by_content) == 11
    counted.clear()
    found = sweep.embed(photos, backbone, known=known)
    assert counted == []
    np.testing.assert_array_equal(found[:6], expected)
    shutil.rmtree(caches[0])  # those in it are computed again
    np.testing.assert_array_equal(sweep.embed(photos, backbone, known=known), found)
    assert len(counted) >= 4


def test_unreadable_images_can_be_told(photos, tmp_path):
    with open(photos.paths[8], "wb"):
        pass
    faults = {}
    backbone = tiny.backbone()
    found = sweep.embed(photos, backbone, cache=tmp_path / "cache", faults=faults)
    assert faults == {8: "it is empty"}
    assert np.isnan(found[8]).all()
    rest = np.delete(np.arange(11), 8)
    expected = sweep.embed(files.take(photos, rest), backbone)
    np.testing.assert_array_equal(found[rest], expected)
    known = sweep.known_vectors(backbone, tmp_path / "cache")
    assert len(known.by_content) == 10
