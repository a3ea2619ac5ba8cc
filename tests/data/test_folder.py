"""Image folders: order of images, image modes, and errors for bad folders."""

import jax
import numpy as np
import pytest
from PIL import Image

from dact_jax import errors
from dact_jax.data.readers import decoding, files, folder
from dact_jax.types import UNLABELED

RED = (200, 30, 60)


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image if image is not None else Image.new("RGB", (9, 5), RED)
    image.save(path, **options)


@pytest.fixture
def root(tmp_path):
    """Two classes, nested folders, suffixes in both cases, and files to ignore."""
    for name in ("dog/b.PNG", "dog/a.png", "cat/deep/er/z.jpeg", "cat/c.bmp"):
        save(tmp_path / "photo" / name)
    for name in ("dog/.hidden.png", ".cache/x.png", "cat/.thumbs/y.png"):
        save(tmp_path / "photo" / name)
    (tmp_path / "photo" / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "sketch").mkdir()
    return tmp_path


def test_reads_a_domain(root):
    data = folder.load(root, "photo", size=8)
    assert data.name == "photo"
    assert data.class_names == ("cat", "dog")
    assert data.id.tolist() == [
        "photo/cat/c.bmp",
        "photo/cat/deep/er/z.jpeg",
        "photo/dog/a.png",
        "photo/dog/b.PNG",
    ]
    np.testing.assert_array_equal(data.label, [0, 0, 1, 1])
    assert data.label.dtype == np.int32
    assert data.split is None
    assert [file.path for file in data.left_out] == ["photo/dog/notes.txt"]
    assert data.image.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(
        data.image[[3, 0]], np.broadcast_to(np.uint8(RED), (2, 8, 8, 3))
    )


def test_order_and_choice_of_classes(root):
    save(root / "photo" / "ant" / "1.png")
    data = folder.load(root, "photo", size=4, classes=["dog", "ant"])
    assert data.class_names == ("dog", "ant")
    assert data.id.tolist() == ["photo/ant/1.png", "photo/dog/a.png", "photo/dog/b.PNG"]
    np.testing.assert_array_equal(data.label, [1, 0, 0])


def test_images_outside_class_folders_are_unlabelled(root):
    save(root / "photo" / "lone.webp")
    data = folder.load(root, "photo", size=4)
    np.testing.assert_array_equal(data.label, [0, 0, 1, 1, UNLABELED])
    assert data.id[-1] == "photo/lone.webp"


def test_linked_class_folders_are_read(root):
    (root / "sketch" / "dog").symlink_to(root / "photo" / "dog")
    data = folder.load(root, "sketch", size=4)
    assert data.id.tolist() == ["sketch/dog/a.png", "sketch/dog/b.PNG"]


def test_grey(root):
    data = folder.load(root, "photo", size=4, channels=1)
    luma = Image.new("RGB", (1, 1), RED).convert("L").getpixel((0, 0))
    np.testing.assert_array_equal(data.image[:1], np.full((1, 4, 4, 1), luma))


def test_image_files_are_one_leaf_and_index_like_an_array(root):
    images = folder.load(root, "photo", size=6).image
    assert jax.tree.leaves(images) == [images]
    array = images[:]
    assert len(images) == 4
    np.testing.assert_array_equal(images[1], array[1])
    np.testing.assert_array_equal(images[np.array([3, 0, 3])], array[[3, 0, 3]])
    np.testing.assert_array_equal(images[-2:], array[2:])
    mask = np.array([True, False, False, True])
    np.testing.assert_array_equal(files.take(images, mask)[:], array[mask])
    np.testing.assert_array_equal(files.take(array, np.array([2])), array[[2]])
    assert images[np.array([], np.int32)].shape == (0, 6, 6, 3)


def decoded(path, image, **options):
    save(path, image, **options)
    return decoding.decode(str(path), 4)


def test_resize_is_pillows_bilinear_without_aspect(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 17, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    out = decoded(tmp_path / "x.png", image)
    want = np.asarray(image.resize((4, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(out, want)


def test_sixteen_bits_are_scaled(tmp_path):
    deep = Image.fromarray(np.full((5, 5), 40000, np.uint16))
    out = decoded(tmp_path / "x.png", deep)
    np.testing.assert_array_equal(out, np.full((4, 4, 3), 40000 >> 8))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_becomes_white(tmp_path, mode):
    """The color stored under the transparency is black and must not show."""
    path = tmp_path / "x.png"
    if mode in ("RGBA", "LA"):
        out = decoded(path, Image.new(mode, (5, 5)))
    else:  # entry 0 is transparent; bytes: one alpha per entry
        image = Image.new(mode, (5, 5), 0)
        if mode == "P":
            image.putpalette([0, 0, 0, 9, 9, 9])
        out = decoded(path, image, transparency=b"\x00\xff" if mode == "P" else 0)
    np.testing.assert_array_equal(out, np.full((4, 4, 3), 255))


@pytest.mark.parametrize(
    ("mode", "color", "want"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("P", 3, (7, 8, 9)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
    ],
)
def test_other_modes(tmp_path, mode, color, want):
    image = Image.new(mode, (5, 5), color)
    if mode == "P":
        image.putpalette([0] * 9 + [7, 8, 9])
    out = decoded(tmp_path / "x.png", image)
    np.testing.assert_array_equal(out, np.broadcast_to(want, (4, 4, 3)))


def test_cmyk(tmp_path):
    out = decoded(tmp_path / "x.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
    assert abs(out.astype(int) - [255, 0, 0]).max() < 8


def test_first_frame_of_a_gif(tmp_path):
    frames = [Image.new("RGB", (5, 5), c) for c in ("white", "black")]
    out = decoded(
        tmp_path / "x.gif", frames[0], save_all=True, append_images=frames[1:]
    )
    assert (out == 255).all()


def test_images_are_rotated_by_their_exif_tag(tmp_path):
    image = Image.new("RGB", (8, 4), "white")
    image.paste("black", (0, 0, 4, 4))  # stored: left half black
    exif = Image.Exif()
    exif[0x0112] = 6  # displayed rotated by 90 degrees clockwise: top half black
    out = decoded(tmp_path / "x.png", image, exif=exif)
    assert out[0].max() < 60
    assert out[-1].min() > 200


def broken(root, how):
    path = root / "photo" / "dog" / "broken.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    save(path, Image.fromarray(noise))
    content = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "text": b"hello", "cut": content[: len(content) // 2]}[how]
    )


@pytest.mark.parametrize("how", ["empty", "text", "cut"])
def test_unreadable_images(root, how):
    broken(root, how)
    message = r"photo/dog/broken\.jpg .*data\.on_error=.skip."
    with pytest.raises(errors.InputError, match=message):
        folder.load(root, "photo", size=4)
    data = folder.load(root, "photo", size=4, on_error="skip")
    damaged = [file.path for file in data.left_out if file.damaged]
    assert damaged == ["photo/dog/broken.jpg"]
    assert len(data.label) == len(data.image) == len(data.id) == 4
    assert "photo/dog/broken.jpg" not in data.id
    with pytest.raises(errors.InputError, match=r"photo/dog/broken\.jpg"):
        decoding.decode(str(root / "photo" / "dog" / "broken.jpg"), 4)


def test_nothing_readable(tmp_path):
    (tmp_path / "d" / "c").mkdir(parents=True)
    (tmp_path / "d" / "c" / "x.png").write_text("no")
    with pytest.raises(errors.InputError, match="d has no readable image"):
        folder.load(tmp_path, "d", size=4, on_error="skip")


@pytest.mark.parametrize(
    ("domain", "options", "message"),
    [
        ("phto", {}, r"/phto.*photo, sketch"),
        ("sketch", {}, r"no images .*/sketch"),
        ("photo", {"classes": ["dgo"]}, "'dgo' .*photo.*'dog'"),
        ("photo", {"on_error": "ignore"}, "data.on_error .*'ignore'"),
        ("photo", {"size": 0}, "data.size .* 0"),
        ("photo", {"channels": 4}, "data.channels .* 4"),
    ],
)
def test_errors(root, domain, options, message):
    with pytest.raises(errors.InputError, match=message):
        folder.load(root, domain, **{"size": 4, **options})


def test_no_root(tmp_path):
    with pytest.raises(errors.InputError, match=r"none/photo\.$"):
        folder.load(tmp_path / "none", "photo", size=4)
