"""Whatever images and classes are called, an answer reaches its image or is refused."""

import csv
import io
import json
import posixpath
import shutil
from xml.etree import ElementTree

import hypothesis
import pytest
from hypothesis import strategies as st

from dact_jax import cells, errors
from dact_jax.queries import importing, names, query as queries
from dact_jax.queries.matching import Known
from dact_jax.queries.query import Item, Query
from dact_jax.queries.writers import cvat, label_studio, label_table

CAMPAIGN = "0a1b2c3d"
PIECES = ("a", "b", "/", "\\", "%41", "%20", " ", "'", '"', "=", "+1", ";", ",", "\t")
PIECES += ("<", "&", "?d=", "#", "ä", "a\u0308", "猫", "\udcff", "\x01", "\n", ".png")
words = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
paths = words.filter(lambda n: n.strip("/\\ \t\n") and posixpath.normpath(n) == n)


def table(query, labels, with_id):
    text = label_table.text(query, "").removeprefix("\ufeff")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    out = io.StringIO(newline="")
    filled = csv.DictWriter(out, reader.fieldnames)
    filled.writeheader()
    for row, label in zip(reader, labels, strict=True):
        answer = {"label": cells.neutralize(label)}  # as in the column `suggested`
        filled.writerow(row | answer | ({} if with_id else {"id": ""}))
    return "labels.csv", out.getvalue().encode()


def tasks(query, labels, with_id):
    exported = json.loads(label_studio.tasks(query, "photos"))
    for number, (task, label) in enumerate(zip(exported, labels, strict=True)):
        value = {"choices": [label]}
        result = {"from_name": "label", "type": "choices", "value": value}
        task |= {"id": number, "annotations": [{"result": [result]}]}
        for key in () if with_id else ("dact_id", "file_name"):
            del task["data"][key]
    return "export.json", json.dumps(exported).encode()


def tags(query, labels, with_id):
    del with_id  # it has none
    root = ElementTree.fromstring(cvat.text(query, ""))
    for image, label in zip(root.iter("image"), labels, strict=True):
        ElementTree.SubElement(image, "tag", label=label)
    return "cvat.xml", ElementTree.tostring(root)


@pytest.mark.parametrize("with_id", [True, False])
@pytest.mark.parametrize("write", [table, tasks, tags])
@hypothesis.settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(
    images=st.lists(paths, min_size=1, max_size=5, unique=True),
    classes=st.lists(words.filter(str.strip), min_size=2, max_size=4, unique=True),
    random=st.randoms(),
)
def test_an_answer_reaches_its_image_or_is_refused(
    tmp_path, write, with_id, images, classes, random
):
    shutil.rmtree(tmp_path / "queries", ignore_errors=True)
    items = tuple(Item(n, n, "", random.choice(classes), 0.5, 1.0, "") for n in images)
    query = Query(CAMPAIGN, 3, tuple(classes), items)
    labels = {name: random.choice(classes) for name in images}
    place = queries.place(tmp_path, 3)
    place.mkdir(parents=True)
    (place / queries.FILE).write_text(queries.text(query))
    shown = [names.writable(label) for label in labels.values()]
    file, content = write(query, shown, with_id)
    (place / file).write_bytes(content)
    try:
        given = importing.read(
            tmp_path, [], CAMPAIGN, classes, [Known(n, n, "") for n in images]
        )
    except errors.InputError as error:
        said = str(error)
    else:
        said = ""
        assert {one.id: one.label for one in given} == labels
    # Two names may look the same in a file, but nothing else may be in the way.
    assert not said or "may be any of" in said
    assert not with_id or "images" not in said or write is tags
