"""One image file: what the check accepts, decoding accepts; damage, bounds, changes."""

import os
import socket
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, features

from dact_jax import errors
from dact_jax.data.readers import decoding, files, formats, opening

WRITTEN = ["jpg", "png", "webp", "tif", "gif", "bmp", "ppm"]
WRITTEN += ["avif"] if features.check("avif") else []
ORIENTATION, MAKER, RESOLUTION = 0x0112, 0x010F, 282
TURNED = 6  # shown turned by 90 degrees clockwise


def picture(size=(24, 16)):
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3))
    return Image.fromarray(noise.astype(np.uint8))


def exif(damage):
    """An EXIF block that turns the image; one of its tags is damaged."""
    tags = Image.Exif()
    tags[ORIENTATION], tags[MAKER], tags[RESOLUTION] = TURNED, "Maker", 72.0
    raw = bytearray(tags.tobytes())  # "Exif\0\0", a TIFF header, entries of 12 bytes
    entries = {
        int.from_bytes(raw[at : at + 2], "big"): at for at in range(16, 16 + 36, 12)
    }
    resolution = entries[RESOLUTION]
    if damage == "text":
        raw[resolution + 2 : resolution + 4] = b"\0\2"
    elif damage == "bytes":
        raw[resolution + 2 : resolution + 4] = b"\0\7"
    elif damage == "72/0":
        raw[6 + int.from_bytes(raw[resolution + 8 : resolution + 12], "big") + 7] = 0
    elif damage == "orientation":
        raw[entries[ORIENTATION] + 2 : entries[ORIENTATION] + 4] = b"\0\2"
    elif damage == "header":
        raw[8] = 0xFF
    elif damage == "cut":
        del raw[20:]
    return bytes(raw)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize(
    "damage", ["none", "text", "bytes", "72/0", "orientation", "header", "cut"]
)
def test_check_and_decoding_agree_about_damaged_metadata(tmp_path, ending, damage):
    path = str(tmp_path / f"x.{ending}")
    block = exif(damage)
    if ending == "tif":  # its tags are its header
        block = block if damage == "none" else None
    picture().save(path, **({"exif": block} if block else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fault = decoding.inspect(path).fault
        assert fault == ""
        pixels = decoding.decode(path, 16)
        opened = Image.open(path)
        opened.load()
        turned = damage in ("none", "text", "bytes", "72/0") and ending != "tif"
        want = opened.transpose(Image.Transpose.ROTATE_270) if turned else opened
    want = want.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels, np.asarray(want))


def mutations(content, count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        changed = bytearray(content)
        for at in rng.integers(0, len(changed), 3):
            changed[at] = rng.integers(0, 256)
        yield bytes(changed[: rng.integers(1, len(changed) + 1)])
        yield bytes(changed)


@pytest.mark.parametrize("ending", WRITTEN)
@pytest.mark.filterwarnings("ignore")
def test_check_and_decoding_agree_about_damaged_files(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    picture().save(path)
    for content in mutations(path.read_bytes(), 40):
        path.write_bytes(content)
        assert "\n" not in formats.content_fault(str(path))
        fault = decoding.inspect(str(path), max_pixels=10**6).fault
        if not fault:
            image = decoding.decode(str(path), 8, max_pixels=10**6)
            assert image.shape == (8, 8, 3)
            continue
        assert "\n" not in fault
        with pytest.raises(errors.InputError, match=r"x\.\w+ is not a readable image"):
            decoding.decode(str(path), 8, max_pixels=10**6)


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "itself.png").symlink_to("itself.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, what in {
        "pipe": "a named pipe",
        "folder": "a folder",
        "socket": "a socket",
        "zero": "a device",
        "itself": "symbolic links",
        "missing": "no such file",
    }.items():
        path = str(tmp_path / f"{name}.png")
        assert what in decoding.inspect(path).fault
        with pytest.raises(errors.InputError, match=rf"{name}\.png .*{what}"):
            decoding.decode(path, 4)


def png_header(width, height):
    """A PNG of that size without pixels."""

    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"")


def test_pixels_are_bounded_before_they_are_decoded(tmp_path):
    path = tmp_path / "x.png"
    picture((20, 10)).save(path)
    assert decoding.inspect(str(path), max_pixels=200).fault == ""
    fault = decoding.inspect(str(path), max_pixels=199).fault
    assert "20 x 10 pixels" in fault
    assert "data.max_pixels=199" in fault
    with pytest.raises(errors.InputError, match=r"data\.max_pixels=199"):
        decoding.decode(str(path), 4, max_pixels=199)
    path.write_bytes(png_header(9460, 9460))  # a little more than the default
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        decoding.silence_pillow()
        assert "9460 x 9460" in decoding.inspect(str(path)).fault
        path.write_bytes(png_header(50_000, 50_000))
        assert "178956970 pixels" in decoding.inspect(str(path)).fault
    assert seen == []


def test_what_pillow_logs_names_no_file_and_is_not_shown(tmp_path, caplog):
    path = tmp_path / "x.tif"
    picture().save(path)
    content = bytearray(path.read_bytes())
    samples = content.index(struct.pack("<HH", 277, 3))  # an entry of 12 bytes
    content[samples + 8 : samples + 10] = b"\xff\x00"
    path.write_bytes(content)
    assert decoding.inspect(str(path)).fault
    assert caplog.text == ""


def test_a_replaced_file_is_noticed(tmp_path):
    path = tmp_path / "x.bmp"
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(path)
    content = bytearray(path.read_bytes())
    seen = decoding.inspect(str(path))
    before = os.stat(path)
    decoding.decode(str(path), 4, stamp=seen.stamp)

    def changed(new, *, same_time):
        path.write_bytes(new)
        if same_time:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        else:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        with pytest.raises(errors.InputError, match=r"x\.bmp has changed"):
            decoding.decode(str(path), 4, stamp=seen.stamp)
        with pytest.raises(errors.InputError, match=r"x\.bmp has changed"):
            opening.size_and_head(str(path), seen.stamp)

    content[-1] ^= 1
    changed(content, same_time=False)
    content[-1] ^= 1
    content[1000] ^= 1
    changed(content, same_time=True)  # the hash of the first bytes tells
    content[1000] ^= 1
    changed(content + b"\0", same_time=True)


def test_files_keep_their_stamps(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for path in paths:
        picture().save(path)
    stamps = np.array([decoding.inspect(path).stamp for path in paths], np.int64)
    images = files.ImageFiles(tuple(paths), 4, 3, stamps=stamps)
    taken = files.take(images, np.array([2, 0]))
    assert taken.stamp(0) == decoding.inspect(paths[2]).stamp
    picture((9, 9)).save(paths[2])
    assert taken[1].shape == (4, 4, 3)
    with pytest.raises(errors.InputError, match=r"2\.png has changed"):
        taken[np.array([1, 0])]


def test_memory_is_taken_for_what_the_file_holds(tmp_path):
    """Pillow would ask for the rest of a chunk that claims 2 GiB."""
    picture().save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    place = content.index(b"IDAT") - 4
    lie = content[:place] + b"\x7f\xff\xff\xff" + content[place + 4 :]
    (tmp_path / "a.png").write_bytes(lie)
    tracemalloc.start()
    assert not decoding.inspect(str(tmp_path / "a.png")).fault
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
