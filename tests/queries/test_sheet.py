import base64
import html.parser
import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from dact_jax.queries.query import Item, Query
from dact_jax.queries.writers import sheet


class Page(html.parser.HTMLParser):
    """Elements, and the text of the page, as a browser takes them apart."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def images(self):
        for tag, attributes in self.elements:
            if tag == "img":
                head, data = attributes["src"].split(",", 1)
                assert head == "data:image/jpeg;base64"
                yield attributes, Image.open(io.BytesIO(base64.b64decode(data)))


def item(name, path="", **fields):
    given = {"suggested": "cat", "confidence": 0.871, "score": 1.5, "digest": ""}
    return Item(id=name, file_name=name, path=str(path), **(given | fields))


def page(items, classes=("cat", "dog")):
    return Page(sheet.text(Query("0a1b2c3d", 3, classes, tuple(items)), ""))


def half_red(size=(400, 200)):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, : size[0] // 2, 0] = 255
    return Image.fromarray(image)


def test_a_thumbnail_is_small_upright_and_keeps_its_form(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the left side of the pixels is the top
    half_red().save(tmp_path / "a.jpg", exif=exif, quality=95)
    ((attributes, image),) = page([item("a.jpg", tmp_path / "a.jpg")]).images()
    assert image.size == (128, 256)
    assert (attributes["width"], attributes["height"]) == ("128", "256")
    assert attributes["alt"] == "a.jpg"
    red = np.asarray(image)[..., 0].astype(int)
    assert red[:100].mean() > 200 > 60 > red[156:].mean()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_images_of_every_mode_are_shown(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image = Image.fromarray(np.full((20, 30), 40_000, np.uint16))
    (image if mode == "I;16" else half_red((30, 20)).convert(mode)).save(path)
    ((_, found),) = page([item("a", path)]).images()
    assert found.size == (30, 20)  # never enlarged


def test_what_cannot_be_read_is_a_box_with_the_reason(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    found = page([item(n, tmp_path / n) for n in ("gone.png", "text.png")])
    assert list(found.images()) == []
    words = " ".join(found.words)
    assert "there is no such file" in words
    assert "it holds no image" in words
    assert str(tmp_path) not in words


def test_vectors_without_files_are_names_only():
    found = page([item("row 7")])
    assert list(found.images()) == []
    assert not any(a.get("class") == "picture" for _, a in found.elements)
    assert "row 7" in found.words


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>.png", '"><img src=//x>', "a\udcff.png", "猫\n.png"],
)
def test_names_are_shown_and_never_run(tmp_path, name):
    half_red().save(tmp_path / "a.png")
    found = page([item(name, tmp_path / "a.png", suggested=name)], (name, "dog"))
    tags = {tag for tag, _ in found.elements}
    assert "script" not in tags
    ((attributes, _),) = found.images()
    shown = name.replace("\udcff", r"\xff")
    assert attributes["alt"] == shown
    assert found.words.count(shown) == 3  # class, suggestion, file


def test_nothing_comes_from_outside_the_file():
    found = page([item("a")])
    assert not {"script", "link", "iframe"} & {tag for tag, _ in found.elements}
    (policy,) = [a["content"] for _, a in found.elements if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_what_is_known_of_an_image_stands_beside_it():
    first = item("a", suggested="", confidence=None, score=None)
    words = page([first, item("b", score=-0.25)]).words
    text = " ".join(word.strip() for word in words)
    assert "1 cat 87% score -0.25 b" in text.replace("  ", " ")
    assert "None" not in text
    assert "2 images to label, round 3" in text


def test_a_large_query_has_smaller_thumbnails(tmp_path, monkeypatch):
    half_red().save(tmp_path / "a.png")
    monkeypatch.setattr(sheet, "_MANY", 1)
    found = page([item("a", tmp_path / "a.png"), item("b", tmp_path / "a.png")])
    assert [image.size for _, image in found.images()] == [(96, 48)] * 2
