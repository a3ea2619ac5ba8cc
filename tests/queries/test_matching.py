import unicodedata
import urllib.parse

import pytest

from dact_jax import errors
from dact_jax.queries import matching, query as queries
from dact_jax.queries.matching import Known

CAMPAIGN = "0a1b2c3d"
NAMES = (
    *("a/b 1.png", "a/c.png", "b/c.png", "c.png", "Bär #1?&d=%20.png", "猫.png"),
    *("only/here.png", "100%41.png", "one\\two.png", "bad\udcff.png"),
)
ROOT = "/data/my photos"


@pytest.fixture(scope="module")
def index():
    known = [Known(f"t/{name}", name, f"{ROOT}/{name}") for name in NAMES]
    return matching.index(CAMPAIGN, known)


def find(index, name, *, id="", asked=()):
    asked = {f"t/{one}" for one in asked}
    return matching.find(index, asked, "file.csv, line 3", id, name).removeprefix("t/")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_found_by_its_id_whatever_its_name(index, name):
    id = queries.dact_id(CAMPAIGN, f"t/{name}")
    assert find(index, "wrong", id=id) == name
    assert find(index, "wrong", id=id.upper()) == name
    assert find(index, "wrong", id=f"t/{name}") == name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [
        str,
        lambda name: f"./{name}",
        lambda name: f"{ROOT}/{name}",
        lambda name: f"t/{name}",
        lambda name: f"/data/local-files/?d=my%20photos/{quoted(name)}",
        lambda name: f"http://localhost:8080/data/local-files/?d={quoted(name)}",
        lambda name: f"https://host/my%20photos/{quoted(name)}?key=1",
        lambda name: f"s3://my photos/{quoted(name)}",
        lambda name: unicodedata.normalize("NFD", name),
        lambda name: f" {name} ",
    ],
)
def test_an_image_is_found_by_its_path_however_it_is_written(index, name, change):
    assert find(index, change(name)) == name


def quoted(name):
    return urllib.parse.quote(name, errors="surrogateescape")


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("a\\b 1.png", "a/b 1.png"),
        ("C:\\Users\\me\\photos\\a\\b 1.png", "a/b 1.png"),
        ("a%2Fb%201.png", "a/b 1.png"),
        ("here.png", "only/here.png"),
        ("/elsewhere/only/here.png", "only/here.png"),
        ("photos/here.png", None),
        (r"bad\xff.png", "bad\udcff.png"),
        ("100%41.png", "100%41.png"),
        ("/data/upload/3/0123abcd-here.png", "only/here.png"),
        ("0123abcd-b_1.png", "a/b 1.png"),
        ("/data/upload/3/0123abcd-B%C3%A4r_1d20.png", "Bär #1?&d=%20.png"),
        ("0123abc-here.png", None),
        ("HERE.png", None),
        ("re.png", None),
        (".", None),
    ],
)
def test_names_that_other_programs_make(index, written, found):
    if found is None:
        with pytest.raises(errors.InputError, match=r"file\.csv, line 3.*no image"):
            find(index, written)
    else:
        assert find(index, written) == found


@pytest.mark.parametrize(
    ("written", "asked", "found"),
    [
        ("c.png", (), "c.png"),  # its whole path
        ("c.png", ("a/c.png", "c.png"), "c.png"),
        ("c.png", ("a/c.png",), None),  # a folder may have been dropped
        ("x/b/c.png", (), None),
        ("x/b/c.png", ("b/c.png",), "b/c.png"),
        ("my photos/c.png", (), "c.png"),
        ("my photos/b/c.png", (), "b/c.png"),
        ("0123abcd-c.png", (), None),
        ("0123abcd-c.png", ("a/c.png",), "a/c.png"),
        ("0123abcd-c.png", ("a/c.png", "b/c.png"), None),
    ],
)
def test_a_name_that_may_be_several_is_never_guessed(index, written, asked, found):
    if found is not None:
        assert find(index, written, asked=asked) == found
        return
    with pytest.raises(errors.InputError, match="may be any of") as caught:
        find(index, written, asked=asked)
    assert "file.csv, line 3" in str(caught.value)
    assert "'t/a/c.png'" in str(caught.value) or "'t/b/c.png'" in str(caught.value)


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("ffffffff-0123456789ab", "belongs to another campaign"),
        (f"{CAMPAIGN}-0123456789ab", "no image of the target has the id"),
        ("17", "no image of the target has the id '17'"),
    ],
)
def test_an_id_that_is_not_there_is_refused_though_the_name_is(index, id, words):
    with pytest.raises(errors.InputError, match=words) as caught:
        find(index, "c.png", id=id)
    assert str(caught.value).startswith("file.csv, line 3: ")


@pytest.mark.parametrize(
    ("name", "mixed"),
    [("c.png", True), ("./a\\c.png", True), ("x/b/c.png", False), ("b/c.png", False)],
)
def test_a_name_beside_an_id_must_not_be_that_of_another_image(index, name, mixed):
    id = queries.dact_id(CAMPAIGN, "t/b/c.png")
    if mixed:
        with pytest.raises(errors.InputError, match="columns are mixed"):
            find(index, name, id=id)
    else:
        assert find(index, name, id=id) == "b/c.png"


def test_an_answer_without_id_and_name_is_refused(index):
    with pytest.raises(errors.InputError, match="neither an id nor a file name"):
        find(index, " ")


def test_composed_and_decomposed_names_are_told_apart_where_both_exist():
    names = [unicodedata.normalize(form, "ä.png") for form in ("NFC", "NFD")]
    index = matching.index(CAMPAIGN, [Known(name, name, "") for name in names])
    assert [matching.find(index, (), "", "", name) for name in names] == names


@pytest.mark.parametrize(
    ("written", "found"),
    [("0123abcd-b_1.png", None), ("0123abcd-b 1.png", "b 1.png")],
)
def test_an_upload_whose_name_was_changed_is_never_guessed(written, found):
    names = ("a/b_1.png", "b 1.png")
    index = matching.index(CAMPAIGN, [Known(name, name, "") for name in names])
    if found:
        assert matching.find(index, (), "", "", written) == found
    else:
        with pytest.raises(errors.InputError, match="may be any of 2 images"):
            matching.find(index, (), "", "", written)
