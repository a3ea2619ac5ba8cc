import pytest

from dact_jax import errors
from dact_jax.queries import query as queries
from dact_jax.queries.query import Item, Query


def make_query(**changes):
    items = (
        Item("a/b 1.png", "b 1.png", "/p/a/b 1.png", "cat", 0.75, 1.5, "sha256:1"),
        Item("a/\udcff.png", "\udcff.png", "", "", None, None, ""),
    )
    return Query("0a1b2c3d", 3, ("cat", 'd"og'), items)._replace(**changes)


def test_a_query_is_read_as_it_was_written(tmp_path):
    query = make_query()
    place = queries.place(tmp_path, query.round)
    place.mkdir(parents=True)
    (place / queries.FILE).write_text(queries.text(query), encoding="ascii")
    assert place == tmp_path / "queries" / "round_03"
    assert queries.read(place) == query
    assert queries.written(tmp_path) == [place]


def test_queries_are_in_order_of_rounds_and_the_newest_is_last(tmp_path):
    names = ("round_02_before_1", "round_02", "round_10", "round_100_before_2")
    names += ("round_100",)
    for name in (*reversed(names), "round_x", ".round_03.tmp"):
        place = tmp_path / "queries" / name
        place.mkdir(parents=True)
        (place / queries.FILE).write_text(queries.text(make_query()))
    (tmp_path / "queries" / "round_11").mkdir()  # no query
    assert [path.name for path in queries.written(tmp_path)] == [*names]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"round": 3', '"round": -3'),
        ('"confidence": 0.75', '"confidence": NaN'),
        ('"score": 1.5', '"score": "a"'),
        ('"campaign"', '"other"'),
        ("{", "["),
    ],
)
def test_a_file_that_is_no_query_is_refused_by_name(tmp_path, before, after):
    text = queries.text(make_query())
    assert before in text
    (tmp_path / queries.FILE).write_text(text.replace(before, after, 1))
    with pytest.raises(errors.InputError, match=r"query\.json is not a query"):
        queries.read(tmp_path)


def test_ids_for_other_tools_depend_on_campaign_and_image():
    names = ("cat", "dog")
    one, two = queries.campaign("sha256:1", names), queries.campaign("sha256:2", names)
    ids = {queries.dact_id(c, i) for c in (one, two) for i in ("a", "b\udcff")}
    assert len(ids) == 4
    assert all(id.isascii() and " " not in id for id in ids)
    assert queries.campaign("sha256:1", names[:1]) != one
