"""Kept images: those of decoding, made once, and right whatever happens to the disk."""

import errno
import os
import pathlib
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from dact_jax import errors, storage
from dact_jax.data.cache import form as forms, making, parts, room
from dact_jax.data.cache.form import Form
from dact_jax.data.cache.room import Cache
from dact_jax.data.readers import decoding, files, folder as folders, opening
from tests.toy import Killed

SIZE = 12


def noise(seed, size=(40, 30), mode="RGB"):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def photos(tmp_path):
    """A domain of nine files in two classes: JPEG of several sizes, and other forms."""
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        (root / "d" / name).mkdir(parents=True)
    cats, dogs = root / "d/cat", root / "d/dog"
    for seed, size in enumerate([(40, 30), (300, 200), (24, 96), (12, 12)]):
        noise(seed, size).save(cats / f"{seed}.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    noise(5, (200, 100)).save(dogs / "turned.jpg", exif=turned)
    noise(6, mode="L").save(dogs / "gray.png")
    noise(7, mode="P").save(dogs / "palette.gif")
    clear = noise(8, mode="RGBA")
    clear.putalpha(100)
    clear.save(dogs / "clear.png")
    deep = np.random.default_rng(9).integers(0, 2**16, (20, 30)).astype(np.uint16)
    Image.fromarray(deep).save(dogs / "deep.png")
    return root


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(making, "PART_IMAGES", 4)


def load(photos, cache, *, channels=3, on_error="raise", **options):
    return folders.load(
        photos,
        "d",
        size=SIZE,
        channels=channels,
        on_error=on_error,
        cache=cache,
        **options,
    )


def decoded(domain, channels=3):
    return np.stack([decoding.decode(path, SIZE, channels) for path in domain.files])


@pytest.fixture
def decodes(monkeypatch):
    """The names of the files that are decoded."""
    names, actual = [], decoding._pixels

    def noting(file, *form):
        names.append(pathlib.Path(file.name).name)
        return actual(file, *form)

    monkeypatch.setattr(decoding, "_pixels", noting)
    return names


def kept(cache):
    return sorted(cache.folder.glob(f"*/*{parts.SUFFIX}"))


@pytest.mark.parametrize("channels", [1, 3])
def test_kept_pixels_are_those_of_decoding(photos, cache, channels):
    expected = decoded(load(photos, None), channels)
    for _ in range(2):
        domain = load(photos, cache, channels=channels)
        assert domain.image.kept is not None
        np.testing.assert_array_equal(domain.image[:], expected)
    rows = np.array([7, 0, 7, -1, 3])
    np.testing.assert_array_equal(domain.image[rows], expected[rows])
    np.testing.assert_array_equal(domain.image[2], expected[2])
    mask = np.arange(9) % 2 == 0
    np.testing.assert_array_equal(domain.image[mask], expected[mask])
    some = files.take(domain.image, mask)
    np.testing.assert_array_equal(some[1:], expected[mask][1:])
    assert domain.image[[]].shape == (0, SIZE, SIZE, channels)


def test_files_are_decoded_once_and_never_again(photos, cache, decodes):
    domain = load(photos, cache)
    assert len(decodes) == 9
    domain.image[:]
    again = load(photos, cache, classes=["dog"])
    again.image[::-1]
    assert len(decodes) == 9
    assert len(kept(cache)) == 3
    form = forms.Form(SIZE, 3)
    about = (kept(cache)[0].parent / making.ABOUT).read_text()
    assert about == forms.described(form)
    assert "Pillow" in about


def test_only_files_that_are_new_or_changed_are_decoded(photos, cache, decodes):
    load(photos, cache)
    noise(20).save(photos / "d/cat/new.png")
    noise(21, (300, 200)).save(photos / "d/cat/1.jpg")
    decodes.clear()
    domain = load(photos, cache)
    assert sorted(decodes) == ["1.jpg", "new.png"]
    np.testing.assert_array_equal(domain.image[:], decoded(domain))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.setattr(decoding, "PREPARATION", 2),
        lambda m: m.setattr(forms.PIL, "__version__", "0.1"),
        lambda m: m.setattr(forms.features, "version", lambda name: "0.1"),
    ],
)
def test_another_decoder_uses_nothing_of_it(
    photos, cache, decodes, change, monkeypatch
):
    load(photos, cache)
    change(monkeypatch)
    decodes.clear()
    load(photos, cache)
    assert len(decodes) == 9


def test_each_form_is_kept_by_itself(photos, cache, decodes):
    load(photos, cache)
    load(photos, cache, channels=1)
    load(photos, cache, max_pixels=10**6)
    assert len(decodes) == 27
    assert len(list(cache.folder.iterdir())) == 3
    with pytest.raises(ValueError, match="another form"):
        files.ImageFiles(("x",), 5, 3, kept=load(photos, cache).image.kept)
    embedded = files.reformed(load(photos, cache).image, Form(5, 3, "bicubic"))
    assert embedded[:].shape == (9, 5, 5, 3)


def test_a_file_that_changes_during_a_run_is_told_and_decoded_by_the_next(
    photos, cache
):
    domain = load(photos, cache)
    noise(30, (300, 200)).save(photos / "d/cat/1.jpg")
    with pytest.raises(errors.InputError, match=r"1\.jpg has changed since this run"):
        domain.image[:]
    domain.image[[0, 2]]
    (photos / "d/cat/2.jpg").unlink()
    with pytest.raises(errors.InputError, match=r"2\.jpg is not .* no such file"):
        domain.image[[2]]
    again = load(photos, cache)
    np.testing.assert_array_equal(again.image[:], decoded(again))


def test_a_file_that_is_written_while_it_is_decoded_is_not_kept(
    photos, cache, monkeypatch
):
    actual = decoding._pixels

    def writing(file, *form):
        if file.name.endswith("gray.png"):
            noise(40).save(file.name)
            file.seek(0)
        return actual(file, *form)

    monkeypatch.setattr(decoding, "_pixels", writing)
    domain = load(photos, cache)
    assert (domain.image.kept.places.part < 0).sum() == 1
    with pytest.raises(errors.InputError, match=r"gray\.png has changed"):
        domain.image[:]


def test_files_of_equal_size_time_and_beginning_are_not_taken_for_each_other(
    tmp_path, cache, monkeypatch
):
    monkeypatch.setattr(opening, "HEAD", 64)
    (tmp_path / "photos/d/a").mkdir(parents=True)
    for value in range(3):
        path = tmp_path / f"photos/d/a/{value}.bmp"
        Image.new("RGB", (9, 9), (value, 0, 0)).save(path)
        content = bytearray(path.read_bytes())
        content[54:120] = bytes(66)
        path.write_bytes(content)
        os.utime(path, (1, 1))
    for _ in range(2):
        domain = load(tmp_path / "photos", cache)
        assert len(set(map(tuple, domain.image.stamps.tolist()))) == 1
        np.testing.assert_array_equal(domain.image[:], decoded(domain))
    assert len(np.unique(domain.image[:].max((1, 2, 3)))) == 3


def test_a_file_with_several_names_is_decoded_once(photos, cache, decodes):
    (photos / "d/cat/link.jpg").symlink_to("1.jpg")
    (photos / "linked").symlink_to("d", target_is_directory=True)
    domain = load(photos, cache)
    assert decodes.count("1.jpg") + decodes.count("link.jpg") == 1
    assert [file.path for file in domain.left_out] == ["d/cat/link.jpg"]
    decodes.clear()
    other = folders.load(photos, "linked", size=SIZE, cache=cache)
    assert not decodes
    np.testing.assert_array_equal(other.image[:], domain.image[:])


def test_unreadable_files_are_named_as_without_a_cache(photos, cache, caplog):
    whole = (photos / "d/cat/0.jpg").read_bytes()
    (photos / "d/cat/0.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "d/dog/text.png").write_text("no image")
    expected = load(photos, None, on_error="skip")
    for _ in range(2):
        with pytest.raises(errors.InputError) as refusal:
            load(photos, cache)
        with pytest.raises(errors.InputError) as usual:
            load(photos, None)
        assert str(refusal.value) == str(usual.value)
        domain = load(photos, cache, on_error="skip")
        assert domain.left_out == expected.left_out
        assert domain.id.tolist() == expected.id.tolist()
        np.testing.assert_array_equal(domain.image[:], expected.image[:])
    # Nothing is said of unreadable files that are looked at again.
    assert len([r for r in caplog.records if "decoded once" in r.message]) == 1


def test_what_is_written_is_said_before(photos, cache, caplog, monkeypatch):
    actual = parts.write

    def write(*args):
        assert len(caplog.records) == 1
        return actual(*args)

    monkeypatch.setattr(parts, "write", write)
    load(photos, cache)
    (line,) = [record.message for record in caplog.records]
    written = sum(path.stat().st_size for path in kept(cache))
    assert (
        f"9 images of d: decoded once and kept for later runs, {written // 1000} kB"
        in line
    )
    assert f"in {cache.folder} (data.cache_dir=FOLDER" in line


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "pixels":
        content[-1] ^= 1
    elif how == "index":
        content[100] ^= 1
    elif how == "head":
        content[0] ^= 1
    elif how == "form":
        content[20] ^= 1
    elif how == "cut":
        del content[-1:]
    elif how == "longer":
        content += b"x"
    elif how == "empty":
        content.clear()
    path.write_bytes(content)


@pytest.mark.parametrize(
    "how", ["pixels", "index", "head", "form", "cut", "longer", "empty"]
)
def test_a_damaged_part_is_named_and_made_again(photos, cache, caplog, how):
    expected = load(photos, cache).image[:]
    damaged = kept(cache)[1]
    whole = damaged.read_bytes()
    damage(damaged, how)
    caplog.clear()
    images = load(photos, cache).image
    np.testing.assert_array_equal(images[:], expected)
    np.testing.assert_array_equal(images[:], expected)
    (named,) = [r.message for r in caplog.records if "cannot be used" in r.message]
    assert damaged.name in named
    again = load(photos, cache)
    assert (again.image.kept.places.part >= 0).all()
    assert damaged.read_bytes() == whole


def test_a_part_that_vanishes_or_is_cut_during_a_run_is_decoded(photos, cache, caplog):
    domain = load(photos, cache)
    expected = decoded(domain)
    first, second, third = kept(cache)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-50])
    with third.open("rb+") as file:
        file.truncate(10)
    for _ in range(2):
        np.testing.assert_array_equal(domain.image[:], expected)
    named = [r.message for r in caplog.records if "cannot be used" in r.message]
    assert len(named) == 3


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/cache")


@pytest.mark.parametrize("at", ["mkdir", "about", "first", "second"])
def test_a_full_disk_ends_no_run(photos, cache, caplog, monkeypatch, at):
    count = 0
    actual = parts.write

    def write(*args):
        nonlocal count
        count += 1
        return full() if at == "first" or count == 2 else actual(*args)

    if at == "mkdir":
        monkeypatch.setattr(pathlib.Path, "mkdir", full)
    elif at == "about":
        monkeypatch.setattr(storage, "write_atomic", full)
    else:
        monkeypatch.setattr(parts, "write", write)
    domain = load(photos, cache)
    monkeypatch.undo()
    np.testing.assert_array_equal(domain.image[:], decoded(domain))
    line = caplog.records[-1].message
    assert "not kept, but decoded whenever they are used" in line
    assert os.strerror(errno.ENOSPC) in line
    assert len(kept(cache)) == (1 if at == "second" else 0)
    assert not list(cache.folder.glob("*/*.tmp"))
    again = load(photos, cache)
    assert (again.image.kept.places.part >= 0).all()


def test_a_folder_that_cannot_be_written_is_read(photos, cache, caplog, monkeypatch):
    load(photos, cache)
    noise(50).save(photos / "d/cat/new.png")
    caplog.clear()
    monkeypatch.setattr(os, "access", lambda *args: False)
    domain = load(photos, cache)
    assert (domain.image.kept.places.part < 0).sum() == 1
    np.testing.assert_array_equal(domain.image[:], decoded(domain))
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("1 image of d: not kept")
    assert "is not writable" in line
    assert len(kept(cache)) == 3


def test_a_kill_loses_one_part_at_most(photos, cache, decodes, monkeypatch):
    actual, count = os.replace, 0

    def replace(*args):
        nonlocal count
        count += str(args[1]).endswith(parts.SUFFIX)
        if count == 2:
            raise Killed
        return actual(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        patch.setattr(pathlib.Path, "unlink", lambda *args, **kwargs: None)
        with pytest.raises(Killed):
            load(photos, cache)
    assert len(kept(cache)) == 1
    decodes.clear()
    domain = load(photos, cache)
    assert len(decodes) in (5, 8)  # the last part has one image
    np.testing.assert_array_equal(domain.image[:], decoded(domain))


def test_two_that_begin_at_once_share_the_work(photos, cache, monkeypatch):
    for seed in range(30):
        noise(seed, (20, 20)).save(photos / f"d/dog/more{seed}.png")
    expected = decoded(load(photos, None))
    found = []

    def begin():
        domain = load(photos, cache)
        found.append(domain.image[:])

    both = [threading.Thread(target=begin) for _ in range(3)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(found) == 3
    for images in found:
        np.testing.assert_array_equal(images, expected)
    assert len(kept(cache)) == 10
    for path in kept(cache):
        parts.read(path, forms.identity(Form(SIZE, 3)), SIZE * SIZE * 3)


def test_what_another_process_has_kept_meanwhile_is_taken(
    photos, cache, decodes, monkeypatch
):
    whole = (photos / "d/cat/0.jpg").read_bytes()
    (photos / "d/cat/0.jpg").write_bytes(whole[: len(whole) // 2])
    other = Cache(cache.folder.with_name("other"))
    expected = load(photos, other, on_error="skip")
    decodes.clear()
    actual = room.make

    def make(*args):
        shutil.copytree(other.folder, cache.folder)
        return actual(*args)

    monkeypatch.setattr(room, "make", make)
    domain = load(photos, cache, on_error="skip")
    assert decodes == ["0.jpg"]
    assert domain.left_out == expected.left_out
    np.testing.assert_array_equal(domain.image[:], expected.image[:])
