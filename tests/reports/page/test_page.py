"""report.html: what it says, that it escapes names, and that it stays small."""

import base64
import hashlib
import html.parser
import re

import numpy as np
import pytest

from dact_jax.reports import confusion
from dact_jax.reports.page import glossary, page, picks, pictures, templates
from dact_jax.reports.pictures import projections
from tests.reports.page import made


@pytest.fixture(autouse=True)
def pca_only(monkeypatch):
    """PCA in place of t-SNE, which is slow and has its own tests."""
    monkeypatch.setattr(projections, "t_sne", projections.pca)


class Elements(html.parser.HTMLParser):
    """Every element of a page, its attributes, and all text outside scripts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words, self.raw = [], [], {}
        self.open = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag == "wbr":  # a place where a word may be broken
            self.words.append("\0")
            return
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside in ("script", "style"):
            self.raw.setdefault(inside, []).append(data)
        else:
            self.words.append(data)

    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words).replace(" \0 ", ""))

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def images(tmp_path):
    task = made.task(tmp_path)
    made.fill(tmp_path / "run", task)
    return tmp_path / "run", made.run(task)


def test_the_first_sentence_says_what_was_achieved_for_how_many_labels(images):
    said = Elements(made.text(*images)).text()
    assert (
        "With 6 target labels bought, a classifier trained on photo and adapted to "
        "sketch is right on 75.0 % of 24 test images of sketch, up from 50.0 % with "
        "the first 3 labels." in said
    )
    assert "round by round: 3, 6. The images to label were chosen by k_center." in said
    assert "alone, the accuracy lies between 55.1 and 88.0 % (95 % interval" in said


def test_nothing_comes_from_elsewhere_and_only_its_own_script_may_run(images):
    text = made.text(*images)
    page_ = Elements(text)
    (policy,) = [m["content"] for m in page_.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    for kind, content in (
        ("style", page_.raw["style"]),
        ("script", page_.raw["script"]),
    ):
        digest = base64.b64encode(hashlib.sha256(content[-1].encode()).digest())
        assert f"{kind}-src 'sha256-{digest.decode()}'" in policy
    for _, attributes in page_.found:
        assert not {"style", "srcset", "action"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    assert not re.search(r"url\(|@import|https?:(?!//www\.w3\.org/2000/svg)", text)


def test_names_are_shown_as_they_are_and_never_as_markup(images):
    text = made.text(*images)
    page_ = Elements(text)
    said = page_.text()
    assert '<b>"x"</b>' in said
    assert "<i>dog</i>" in said
    assert "{{ 7 * 7 }}" in said
    assert "\\u202etxt" in said
    assert "\\xff" in said
    assert not page_.all("b")
    anchors = {attributes.get("id") for _, attributes in page_.found}
    assert {link["href"][1:] for link in page_.all("a")} <= anchors


def test_a_finished_run_of_files_shows_its_images(images):
    folder, run = images
    counts = confusion.count(np.array([0, 1, 1]), np.array([0, 0, 1]), run.task[2])
    confusion.write(folder, counts)
    page_ = Elements(made.text(folder, run))
    assert page_.all("html")[0]["data-complete"] == "yes"
    assert page.is_complete(folder)
    pictured = [image for image in page_.all("img") if "width" in image]
    assert len(pictured) == 6 + 8 + 18  # picks, mistakes, and images without a label
    assert len([c for c in page_.all("circle") if "dot" in c.get("class", "")]) == 44
    said = page_.text()
    assert "8 of 24 test images are taken for a wrong class" in said
    assert "Of 18 images of the target without a label" in said
    assert "All 20 images of the source and all 24" in said
    assert [t for t in page_.all("table") if t.get("class") == "matrix"]


def test_vectors_without_files_have_no_thumbnails(tmp_path):
    task = made.task(tmp_path, images="vectors")
    made.fill(tmp_path / "run", task)
    page_ = Elements(made.text(tmp_path / "run", made.run(task)))
    assert not page_.all("img")
    assert "Least certain images" in page_.text()


def test_pixels_are_kept_without_loss(tmp_path):
    task = made.task(tmp_path, images="pixels")
    made.fill(tmp_path / "run", task)
    page_ = Elements(made.text(tmp_path / "run", made.run(task)))
    sources = [image["src"] for image in page_.all("img")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_without_pictures_the_page_has_none_and_a_later_one_may(images):
    folder, run = images
    page_ = Elements(made.text(folder, run, finished=False, with_pictures=False))
    assert not page_.all("img")
    assert not page_.all("script")
    assert not page.is_complete(folder)


def test_a_campaign_that_waits_says_what_was_right_and_what_it_waits_for(tmp_path):
    task = made.task(tmp_path)
    folder, ids = tmp_path / "run", task.target.id.tolist()
    made.fill(folder, task, rounds=2, accuracy=None)
    made.ask(folder, task, 1, ids[3:6], given=ids[3:6], wrong=ids[3:4])
    made.ask(folder, task, 2, ids[6:9], given=ids[6:7])
    run = made.run(task, rounds=3, person=True)
    said = Elements(made.text(folder, run, finished=False)).text()
    assert (
        "With 6 target labels that a person gave (the labeling page), a classifier "
        "trained on photo was adapted to sketch; no labeled test image says how "
        "accurate it is." in said
    )
    assert (
        "A class was suggested for 3 of the 3 images that a person labeled; 2 of these "
        "suggestions were right (67 %; 95 % interval, Wilson's: 21 to 94 %). This is "
        "no accuracy: the images that were asked about are not typical ones" in said
    )
    assert "data.test_fraction" in said
    assert "more often on the others" not in said
    assert "round 2 waits for the labels of 2 images" in said
    assert "3 images by k_center; 2 of 3 suggestions right" in said
    assert "✗ suggested cat" in said
    assert "Suggestions accepted: 2 of 3 (67 %)." in said
    assert "test %" not in said  # a column without any value
    assert "Round 0 trains on the first 3 target labels" in said


def test_numbers_keep_their_unit_and_names_break_between_words_only(images):
    folder, run = images
    text = made.text(folder, run)
    seen = glossary._visible(re.sub(r"<title>.*?</title>", "", text))
    assert re.findall(r"\d %.*", seen) == []
    assert "75.0&nbsp;% of 24 test images" in text
    assert "labelled" not in Elements(text).text()
    assert str(templates._breakable("a/b_c <d> e")) == ("a/<wbr>b_<wbr>c &lt;d&gt; e")


def test_the_words_at_the_end_are_those_that_the_page_uses(images):
    folder, run = images
    finished = dict(glossary.of(made.text(folder, run), folder))
    assert finished["mme"].startswith("a method. Minimax entropy (")
    assert finished["k_center"].startswith("an acquisition. Greedy k-center (")
    assert {"pool", "acquisition", "t-SNE"} <= finished.keys()
    assert not {"oracle", "sweep"} & finished.keys()
    early = made.text(folder, run, finished=False, with_pictures=False)
    assert "t-SNE" not in early
    said = Elements(early).text()
    assert "of an image: chosen to be labeled" in said
    assert said.index("What was picked") < said.index("training time (s)")


def test_suggestions_of_two_rounds_are_points_with_named_bars_and_no_line(tmp_path):
    task = made.task(tmp_path)
    folder, ids = tmp_path / "run", task.target.id.tolist()
    made.fill(folder, task, rounds=3, accuracy=None)
    for number in (1, 2):
        few = ids[3 * number : 3 * number + 3]
        made.ask(folder, task, number, few, given=few, wrong=few[:1])
    lines = ("Source photo: 20 images.", "Target <sketch>: 24 images.")
    run = made.run(task, rounds=3, person=True)
    page_ = Elements(made.text(folder, run, finished=False, labels=lines))
    assert len([c for c in page_.all("path") if c.get("class") == "bar"]) == 2
    assert not [c for c in page_.all("path") if c.get("class") == "line"]
    said = page_.text()
    assert "suggestions for round" in said
    assert "the 95 % interval (Wilson's) that so few images leave" in said
    assert "Source photo: 20 images. Target <sketch>: 24 images." in said


def test_an_image_that_is_gone_leaves_its_reason(images):
    folder, run = images
    (folder.parent / "sketch_1.png").unlink()
    said = Elements(made.text(folder, run)).text()
    assert "sketch_1.png" in said


def test_scores_are_explained_and_shown_only_where_they_give_the_order(tmp_path):
    task = made.task(tmp_path, images="vectors")
    for name in ("k_center", "clue"):
        made.fill(tmp_path / name, task, acquisition=name)
    said = {
        name: Elements(made.text(tmp_path / name, made.run(task))).text()
        for name in ("k_center", "clue")
    }
    assert "How k_center chooses: Greedy k-center (" in said["k_center"]
    assert "A score is the distance to the nearest image that" in said["k_center"]
    assert "score 1.5" in said["k_center"]
    assert "images nearest to uncertainty-weighted clusters. It does" in said["clue"]
    assert "score 1.5" not in said["clue"]


def test_the_map_speaks_of_classes_that_were_not_bought_only_if_it_has_any(tmp_path):
    task = made.task(tmp_path, images="vectors")
    made.fill(tmp_path / "run", task)
    known = made.text(tmp_path / "run", made.run(task))
    hidden = task.target.train._replace(label=np.full(24, -1, np.int32))
    task = task._replace(target=task.target._replace(train=hidden))
    unknown = made.text(tmp_path / "run", made.run(task))
    assert "classes of images whose label was not bought" in known
    assert "classes of images whose label was not bought" not in unknown
    assert "kept more often" not in known
    dots = [c for c in Elements(known).all("circle") if "dot" in c.get("class", "")]
    assert [c["class"] for c in dots] == ["dot"] * 38 + ["dot picked"] * 6


def test_many_classes_have_an_image_in_place_of_cells(tmp_path):
    classes = tuple(f"c{k}" for k in range(345))
    task = made.task(tmp_path, classes=classes, count=345, source=345, images="vectors")
    made.fill(tmp_path / "run", task)
    said = np.arange(345)
    said[7] = 8
    counts = confusion.count(said, np.arange(345), classes)
    confusion.write(tmp_path / "run", counts)
    text = made.text(tmp_path / "run", made.run(task))
    page_ = Elements(text)
    (heat,) = page_.all("img")
    assert (heat["class"], heat["width"]) == ("heat pixels", "345")
    assert "c7 c8 1 100.00" in page_.text()
    assert len(text) < 1_000_000


def test_images_that_would_make_the_page_too_large_are_said_to_be_missing(
    images, monkeypatch
):
    monkeypatch.setattr(picks, "_MOST_BYTES", 1000)
    page_ = Elements(made.text(*images, finished=False))
    shown = len(page_.all("img"))
    assert 0 < shown < 6
    assert page_.text().count("not shown: the page would be too large") == 6 - shown


def test_the_page_stays_below_five_megabytes_whatever_the_images_are(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(pictures, "_LOSSLESS", 4)
    noise = np.random.default_rng(0).integers(0, 256, (1500, 64, 64, 3), np.uint8)
    task = made.task(tmp_path, images="vectors", count=1500, source=1500)
    source, target = (
        side._replace(
            train=side.train._replace(image=noise), test=side.test._replace(image=noise)
        )
        for side in task[:2]
    )
    task = task._replace(source=source, target=target)
    made.fill(tmp_path / "run", task, per_round=200)
    text = made.text(tmp_path / "run", made.run(task))
    assert 2_000_000 < len(text) < 5_000_000
    assert "A sample is shown: 500 of 1500 images of the source, 900 of 1500" in text
    assert "of the target's pool; picked ones are kept more often." in text
