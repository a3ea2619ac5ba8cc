"""README: its size, its test command, its picture and its Python."""

import pathlib
import re

import numpy as np

from tests import pages

README = pathlib.Path("README.md")
TEXT = README.read_text(encoding="utf-8")


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 150
    assert len(TEXT.split()) <= 1300


def test_the_test_command_stands_once_right_after_its_mark():
    fence = r"^<!-- test-command -->\n+```[a-z]*\n(.*?)^```$"  # as .ci/run reads it
    (command,) = re.findall(fence, TEXT, re.MULTILINE | re.DOTALL)
    assert command.rstrip().endswith("-m pytest")
    assert TEXT.count("<!-- test-command -->") == 1


def test_every_page_is_linked():
    targets = {target for _, target in pages.links(TEXT)}
    for path in pages.PAGES:
        assert path == README or str(path) in targets, path


def test_its_picture_is_small():
    pictures = [t for _, t in pages.links(TEXT) if t.endswith(".png")]
    assert len(pictures) == 1
    assert pathlib.Path(pictures[0]).stat().st_size < 150_000


def test_the_selection_example(tmp_path, monkeypatch):
    (example,) = (b.text for b in pages.blocks(TEXT, "python") if "k_center" in b.text)
    monkeypatch.chdir(tmp_path)
    points = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    np.save("x.npy", points)
    names: dict = {}
    exec(example, names)
    assert len(set(names["rows"].tolist()) - {4, 17}) == 100
