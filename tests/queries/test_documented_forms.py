"""The examples of docs/labelling.md are read as the page says."""

import pathlib

import pytest

from dact_jax.queries import importing, query as queries
from dact_jax.queries.matching import Known
from dact_jax.queries.query import Query
from tests import pages

PAGE = pathlib.Path("docs/labelling.md").read_text(encoding="utf-8")
EXAMPLES = [
    (language, block.text)
    for language in ("csv", "json", "xml")
    for block in pages.blocks(PAGE, language)
]
NAMES = ("walk/dog 1.jpg", "IMG_0007.jpg")


def test_every_form_has_an_example():
    assert [language for language, _ in EXAMPLES] == ["csv", "csv", "json", "xml"]


@pytest.mark.parametrize(("language", "text"), EXAMPLES)
def test_an_example_is_read(tmp_path, language, text):
    query = Query("5f0c21aa", 3, ("dog", "house"), ())
    place = queries.place(tmp_path, 3)
    place.mkdir(parents=True)
    (place / queries.FILE).write_text(queries.text(query))
    (place / f"example.{language}").write_text(text, encoding="utf-8")
    known = [Known(name, name, f"/data/photos/{name}") for name in NAMES]
    given = importing.read(tmp_path, [], query.campaign, query.class_names, known)
    assert {one.id: one.label or one.skip for one in given} == {
        NAMES[0]: "dog",
        NAMES[1]: True,
    }
