"""Which bytes a browser gets for an image file of any format."""

import io

import numpy as np
import pytest
from PIL import Image

from dact_jax import errors
from dact_jax.data.readers import decoding
from dact_jax.labelling import pictures
from dact_jax.queries.query import Item
from tests.labelling import asking

ORIENTATION = 0x0112


def item(path):
    return Item("x", "x", str(path), "", None, None, asking.digest(path))


def drawn(width=6, height=4, mode="RGB"):
    """An image whose corners differ, so that a turned one is noticed."""
    image = Image.new("RGB", (width, height), "blue")
    image.putpixel((0, 0), (255, 0, 0))
    return image.convert(mode)


def opened(picture):
    return Image.open(io.BytesIO(picture.content))


@pytest.mark.parametrize(
    ("format", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
    ],
)
def test_what_browsers_show_is_sent_as_it_is(tmp_path, format, media_type):
    path = tmp_path / "image.of_no_known_ending"
    drawn().save(path, format)
    picture = pictures.load(item(path))
    assert picture == (path.read_bytes(), media_type)


@pytest.mark.parametrize("format", ["TIFF", "PPM", "JPEG2000", "PCX", "TGA"])
def test_other_formats_are_converted(tmp_path, format):
    path = tmp_path / "image"
    drawn(mode="RGB").save(path, format)
    picture = pictures.load(item(path))
    assert picture.media_type == "image/png"
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(opened(picture)), expected)


def test_a_large_one_is_sent_as_jpeg(tmp_path):
    path = tmp_path / "image.tif"
    drawn(1200, 1000).save(path)
    picture = pictures.load(item(path))
    assert picture.media_type == "image/jpeg"
    assert opened(picture).size == (1200, 1000)


@pytest.mark.parametrize("format", ["TIFF", "PNG", "WEBP"])
def test_a_converted_image_is_turned_by_its_tag(tmp_path, format):
    path, exif = tmp_path / "image", Image.Exif()
    exif[ORIENTATION] = 6
    options = {"lossless": True} if format == "WEBP" else {}
    drawn().save(path, format, exif=exif, **options)
    shown = opened(pictures.load(item(path)))
    assert shown.size == (4, 6)
    assert shown.getpixel((3, 0)) == (255, 0, 0)
    seen = decoding.thumbnail(str(path), 6)  # as other parts show it
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(shown))


def test_browsers_turn_a_jpeg_themselves(tmp_path):
    path, exif = tmp_path / "image.jpg", Image.Exif()
    exif[ORIENTATION] = 6
    drawn().save(path, exif=exif)
    assert pictures.load(item(path)).content == path.read_bytes()


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_of_a_moving_image_the_first_is_shown(tmp_path, format):
    path = tmp_path / "image"
    drawn().save(path, format, save_all=True, append_images=[Image.new("RGB", (6, 4))])
    picture = pictures.load(item(path))
    assert picture.media_type == "image/png"
    assert opened(picture).n_frames == 1
    red, _, blue = opened(picture).getpixel((5, 3))
    assert (red < 50, blue > 200) == (True, True)


def test_what_is_transparent_is_white(tmp_path):
    path = tmp_path / "image.tif"
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(path)
    assert opened(pictures.load(item(path))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"<html><script>alert(1)</script></html>",
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"no image",
    ],
)
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_what_is_no_image_is_never_sent(tmp_path, content, ending):
    path = tmp_path / f"image.{ending}"
    path.write_bytes(content)
    with pytest.raises(errors.InputError, match="is not a readable image"):
        pictures.load(item(path))


def test_a_truncated_image_is_told(tmp_path):
    path = tmp_path / "image.tif"
    drawn(64, 64).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(errors.InputError, match="is not a readable image"):
        pictures.load(item(path))


def test_a_file_that_is_another_now_is_told(tmp_path):
    path = tmp_path / "image.png"
    drawn().save(path)
    asked = item(path)
    pictures.check(asked)
    drawn(7, 4).save(path)
    with pytest.raises(errors.InputError, match="has changed since the query"):
        pictures.check(asked)
    path.unlink()
    with pytest.raises(errors.InputError, match="has vanished since the query"):
        pictures.load(asked)
    pictures.check(asked._replace(path=""))
