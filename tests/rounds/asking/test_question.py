"""The query of a turn and its files."""

import hashlib

import pytest

from dact_jax import errors
from dact_jax.queries import query, writing
from dact_jax.queries.query import Item, Query
from dact_jax.rounds.asking import question


@pytest.fixture
def place(tmp_path):
    """The folder of a query for one file."""
    image = tmp_path / "a.png"
    image.write_bytes(b"pixels")
    digest = f"sha256:{hashlib.sha256(b'pixels').hexdigest()}"
    item = Item("t/a.png", "a.png", str(image), "", None, None, digest)
    place = query.place(tmp_path, 2)
    writing.write(place, Query("0a1b2c3d", 2, ("cat", "dog"), (item,)))
    return place


def test_an_image_that_changed_since_it_was_asked_about_is_named(place, tmp_path):
    question.check_files(tmp_path)
    (tmp_path / "a.png").write_bytes(b"others")
    with pytest.raises(errors.InputError, match=r"a\.png has changed since .*round_02"):
        question.check_files(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(errors.InputError, match=r"a\.png is gone, .*restore the file"):
        question.check_files(tmp_path)


def test_a_query_that_is_there_is_not_written_again(place, tmp_path):
    wanted = query.read(place)
    (place / "labels.csv").write_text("mine")
    other = wanted.items[0]._replace(suggested="dog", confidence=0.4)
    question.write(tmp_path, wanted._replace(items=(other,)), image_root="")
    assert (place / "labels.csv").read_text() == "mine"
    assert query.read(place) == wanted
