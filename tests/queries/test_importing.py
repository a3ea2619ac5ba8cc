import csv
import io
import json
import unicodedata
from xml.etree import ElementTree
from xml.sax import saxutils

import pytest

from dact_jax import errors
from dact_jax.queries import importing, query as queries, writing
from dact_jax.queries.importing import Given
from dact_jax.queries.matching import Known
from dact_jax.queries.query import Item, Query

CLASSES = ("cat", "<b>\"d&g'", "Kätzchen", "猫", "=1+1")
NAMES = ("a/b 1.png", "Bär.png", "猫.png", '<i>".png', "=x.png", "a/plain.png")
ROUND = 3


@pytest.fixture
def place(tmp_path):
    """The folder of a query, as it is written."""
    items = tuple(Item(n, n, "", CLASSES[1], 0.5, 1.5, "") for n in NAMES)
    place = queries.place(tmp_path, ROUND)
    writing.write(place, Query("0a1b2c3d", ROUND, CLASSES, items))
    return place


def ids():
    return [queries.dact_id("0a1b2c3d", name) for name in NAMES]


def read(place, *extra):
    known = [Known(name, name, "") for name in (*NAMES, "unasked.png")]
    workdir = place.parents[1]
    return importing.read(workdir, extra, "0a1b2c3d", CLASSES, known)


def labels(place, *extra):
    return {one.id: one.label or one.skip for one in read(place, *extra)}


def refused(place, *words):
    with pytest.raises(errors.InputError) as caught:
        read(place)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    return message


def rows(place):
    text = (place / "labels.csv").read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def save(path, records, **form):
    """Writes a table as a spreadsheet would."""
    encoding, end = form.pop("encoding", "utf-8"), form.pop("end", "\n")
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, [*records[0]], lineterminator=end, **form)
    table.writeheader()
    table.writerows(records)
    path.write_bytes(out.getvalue().encode(encoding))


def answered(place, answers, **more):
    """The rows of labels.csv with labels, by the number of the image."""
    records = rows(place)
    for number, label in answers.items():
        records[number] |= {"label": label} | more
    return records


def task(number, label=None, *, time="2026-01-31T12:00:00Z", **fields):
    """A task of Label Studio's JSON with one annotation, as it exports it."""
    value = {"choices": [label]}
    result = {"from_name": "label", "to_name": "image", "type": "choices"}
    annotation = {
        "id": 10 + number,
        "completed_by": 1,
        "result": [{**result, "value": value}] if label else [],
        "was_cancelled": False,
        "created_at": "2026-01-01T12:00:00.1Z",
        "updated_at": time,
        "lead_time": 3.5,
        "prediction": {},
    }
    data = {"image": f"/data/local-files/?d=x/{number}", "dact_id": ids()[number]}
    return {
        "id": 100 + number,
        "annotations": [annotation | fields],
        "predictions": [7],
        "data": data,
    }


def short(number, label, **fields):
    """An annotation of Label Studio's JSON-MIN."""
    record = {"image": f"/data/upload/1/0123abcd-{number}.png", "id": 100 + number}
    record |= {"dact_id": ids()[number], "annotator": 1, "annotation_id": 10 + number}
    record |= {"updated_at": "2026-01-31T12:00:00.5Z", "lead_time": None}
    return record | ({"label": label} if label else {}) | fields


def put(place, value, name="export.json"):
    (place / name).write_text(json.dumps(value, ensure_ascii=False), "utf-8")


def cvat(place, *images):
    """An export of CVAT: a name, then elements of the image."""
    body = "".join(
        f'<image id="{n}" name={saxutils.quoteattr(name)} width="9">{inside}</image>'
        for n, (name, inside) in enumerate(images)
    )
    text = f"<annotations><version>1.1</version><meta/>{body}</annotations>"
    (place / "annotations.xml").write_text(text, "utf-8")


def tag(label, source="manual"):
    return f'<tag label={saxutils.quoteattr(label)} source="{source}"></tag>'


def test_files_as_they_are_written_hold_no_answer(place):
    """Though a suggestion stands in them."""
    assert read(place) == []


def test_a_run_without_a_query_has_no_answers(tmp_path):
    assert importing.read(tmp_path, [], "0a1b2c3d", CLASSES, []) == []


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"encoding": "utf-8-sig", "end": "\r\n", "delimiter": ";"},
        {"encoding": "utf-16", "delimiter": "\t"},
        {"quoting": csv.QUOTE_ALL},
    ],
)
def test_the_table_is_read_however_a_spreadsheet_saves_it(place, form):
    answers = dict(enumerate(CLASSES))
    save(place / "labels.csv", answered(place, answers), **form)
    origin = "queries/round_03/labels.csv"
    assert read(place) == [
        Given(name, label, False, origin, f"{place / 'labels.csv'}, line {line}")
        for line, (name, label) in enumerate(zip(NAMES, CLASSES, strict=False), start=2)
    ]


def test_a_table_in_windows_1252_is_read(place):
    records = [{"ID ": ids()[1], "Label": " Kätzchen "}]
    save(place / "mine.CSV", records, encoding="cp1252", delimiter=";", end="\r\n")
    assert labels(place) == {"Bär.png": "Kätzchen"}


def test_a_class_that_a_spreadsheet_would_run_is_read_either_way(place):
    save(place / "labels.csv", answered(place, {0: "=1+1", 1: "'=1+1"}))
    assert {*labels(place).values()} == {"=1+1"}


@pytest.mark.parametrize("yes", ["1", "x", "TRUE", "1.0", "skip"])
def test_an_image_is_skipped(place, yes):
    save(place / "labels.csv", answered(place, {2: ""}, skip=yes))
    assert labels(place) == {"猫.png": True}


def test_a_table_without_ids_is_matched_by_names(place):
    names = ["a\\b 1.png", unicodedata.normalize("NFD", "Bär.png"), "/x/a/plain.png"]
    save(place / "own.csv", [{"path": n, "class": "cat"} for n in names])
    assert labels(place) == dict.fromkeys((NAMES[0], NAMES[1], NAMES[5]), "cat")


def test_what_metadata_of_other_images_say_is_taken_too(place, tmp_path):
    path = tmp_path / "more.csv"
    save(path, [{"file_name": "unasked.png", "label": "猫"}])
    (given,) = read(place, path)
    assert given == Given("unasked.png", "猫", False, "more.csv", f"{path}, line 2")


def test_a_file_elsewhere_is_named_in_full(place, tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "answers.txt"
    save(path, [{"id": ids()[0], "label": "cat"}])
    assert read(place, path)[0].origin == str(path)


def test_tasks_of_label_studio(place):
    tasks = [task(n, label) for n, label in enumerate(CLASSES)]
    tasks += [task(5, "cat", was_cancelled=True)]
    put(place, tasks)
    found = labels(place)
    assert found == dict(zip(NAMES, (*CLASSES, True), strict=True))
    assert read(place)[0].where == f"{place / 'export.json'}, task 100"


@pytest.mark.parametrize("times", ["13", "31"])
def test_the_newest_annotation_of_a_task_counts_and_disagreement_is_told(
    place, times, caplog
):
    both = task(0, "cat", time=f"2026-01-0{times[0]}T12:00:00+02:00")
    other = task(0, "猫", time=f"2026-01-0{times[1]}T12:00:00.25Z")
    both["annotations"] += other["annotations"]
    same = task(1, "cat")
    same["annotations"] *= 2
    put(place, [both, same])
    newest = "猫" if times == "13" else "cat"
    assert labels(place) == {NAMES[0]: newest, NAMES[1]: "cat"}
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1
    assert "task 100" in told[0]
    assert "task 101" not in told[0]
    assert f"now {newest!r}" in told[0]


def test_projects_that_count_their_tasks_alike_lose_no_answer(place):
    put(place, [task(0, "cat"), task(1, "猫") | {"id": 100}])
    assert labels(place) == {NAMES[0]: "cat", NAMES[1]: "猫"}


def test_an_annotation_that_was_submitted_empty_is_no_answer(place):
    put(place, [task(0), {"id": 3, "data": {}, "annotations": []}, {"data": {}}])
    assert read(place) == []


def test_short_annotations_of_label_studio(place):
    records = [short(n, label) for n, label in enumerate(CLASSES)]
    unlabelled = short(5, None, annotation_id=None, annotator=None)
    put(place, [*records, unlabelled])
    assert labels(place) == dict(zip(NAMES, CLASSES, strict=False))


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_table_of_label_studio(place, ending):
    """Its column `id` counts tasks, and nothing in it is neutralized."""
    records = [short(n, label) for n, label in enumerate(CLASSES)]
    records += [short(0, "猫", updated_at="2026-01-01", annotation_id=99)]
    form = {"delimiter": "\t" if ending == "tsv" else ",", "quoting": csv.QUOTE_ALL}
    save(place / f"project-1.{ending}", records, **form)
    assert labels(place) == dict(zip(NAMES, CLASSES, strict=False))


def test_uploads_of_label_studio_have_no_id(place):
    one = task(0, "cat")
    one["data"] = {"image": "/data/upload/3/89c7a9b4-b_1.png"}
    put(place, [one])
    assert labels(place) == {"a/b 1.png": "cat"}


def test_tags_of_cvat(place):
    images = [(name, tag(label)) for name, label in zip(NAMES, CLASSES, strict=False)]
    cvat(place, *images, ("plain.png", tag("skip", "file")))
    found = labels(place)
    assert found == dict(zip(NAMES, (*CLASSES, True), strict=True))
    assert read(place)[0].where.endswith("annotations.xml, image 'a/b 1.png'")


def test_what_a_program_has_tagged_is_no_answer(place, caplog):
    cvat(place, (NAMES[0], tag("cat", "auto")), (NAMES[1], ""), (NAMES[2], tag("cat")))
    assert labels(place) == {NAMES[2]: "cat"}
    assert "set (1) are no answers" in caplog.text


def test_several_files_may_say_the_same(place):
    save(place / "labels.csv", answered(place, {0: "cat"}))
    put(place, [task(0, "cat"), task(1, "猫")])
    assert labels(place) == {NAMES[0]: "cat", NAMES[1]: "猫"}


def test_files_that_programs_keep_beside_an_open_one_are_left_out(place, caplog):
    for name in (".~lock.labels.csv#", "~$labels.csv", ".hidden.json"):
        (place / name).write_bytes(b"\0")
    (place / "answers.zip").write_bytes(b"PK")
    assert read(place) == []
    assert "answers.zip is not read: unpack it" in caplog.text


def test_an_answer_belongs_to_the_query_beside_it(tmp_path, place):
    """So that a program that drops folders does not confuse two rounds."""
    item = Item("b/plain.png", "b/plain.png", "", "", None, None, "")
    later = queries.place(tmp_path, ROUND + 1)
    writing.write(later, Query("0a1b2c3d", ROUND + 1, CLASSES, (item,)))
    cvat(place, ("plain.png", tag("cat")))
    cvat(later, ("plain.png", tag("猫")))
    known = [Known(name, name, "") for name in (*NAMES, item.id)]
    found = importing.read(tmp_path, [], "0a1b2c3d", CLASSES, known)
    assert {one.id: one.label for one in found} == {NAMES[5]: "cat", item.id: "猫"}


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("CAT", "did you mean 'cat'?"),
        ("dog", "there is no class 'dog'"),
        ("Katzchen", "did you mean 'Kätzchen'?"),
        ("nan", "there is no class 'nan'"),
    ],
)
def test_a_label_that_is_no_class_is_refused_with_the_nearest(place, label, words):
    save(place / "labels.csv", answered(place, {1: label}))
    refused(place, "labels.csv, line 3", words)


@pytest.mark.parametrize(
    ("classes", "label", "found"),
    [
        (("ka\u0308fer", "b"), "käfer", "ka\u0308fer"),
        (("ka\u0308fer", "käfer"), "käfer", "käfer"),
        (("ka\u0308fer", "käfer"), "ka\u0308fer", "ka\u0308fer"),
        ((" cat", "dog"), "cat", " cat"),
        (("bad\udcff", "dog"), r"bad\xff", "bad\udcff"),
        ((" cat", "cat"), "cat", "cat"),
        ((" cat", "cat"), " cat", " cat"),
        ((" cat", "cat"), "cat ", None),
        (("bad\udcff", r"bad\xff"), r"bad\xff", None),
    ],
)
def test_blanks_and_accents_of_a_class(place, classes, label, found):
    save(place / "labels.csv", answered(place, {1: label}))
    known = [Known(name, name, "") for name in NAMES]
    if found is None:
        with pytest.raises(errors.InputError, match=r"line 3.*may be any of the cl"):
            importing.read(place.parents[1], [], "0a1b2c3d", classes, known)
    else:
        (given,) = importing.read(place.parents[1], [], "0a1b2c3d", classes, known)
        assert given.label == found


def test_a_column_that_was_sorted_alone_is_noticed(place):
    records = answered(place, {0: "cat", 1: "cat"})
    for record, id in zip(records, sorted(ids()), strict=True):
        record["id"] = id
    save(place / "labels.csv", records)
    refused(place, "labels.csv, line ", "columns are mixed")


def test_a_name_that_lost_letters_does_no_harm_beside_an_id(place):
    records = answered(place, {1: "cat", 2: "cat"})
    records[1]["file_name"], records[2]["file_name"] = "B?r.png", "?.png"
    save(place / "labels.csv", records)
    assert labels(place) == {NAMES[1]: "cat", NAMES[2]: "cat"}


def test_a_label_together_with_skip_is_refused(place):
    save(place / "labels.csv", answered(place, {1: "cat"}, skip="1"))
    refused(place, "labels.csv, line 3", "'cat' and skip")


def test_an_unclear_skip_is_refused(place):
    save(place / "labels.csv", answered(place, {1: ""}, skip="perhaps"))
    refused(place, "labels.csv, line 3", "skip must be", "'perhaps'")


def test_two_labels_of_an_image_in_one_file_are_refused(place):
    records = answered(place, {0: "cat"})
    save(place / "labels.csv", [*records, records[0] | {"label": "猫"}])
    refused(place, "labels.csv, line 8", "labels.csv, line 2", "'猫'", "'cat'")


def test_two_labels_of_an_image_in_two_files_are_refused(place):
    save(place / "labels.csv", answered(place, {0: "cat"}))
    put(place, [task(0, "cat", was_cancelled=True)])
    refused(place, "labels.csv, line 2", "export.json, task 100", "skip", NAMES[0])


def test_what_a_file_said_before_is_not_new_and_contradicts_nothing(place):
    save(place / "labels.csv", answered(place, {0: "cat", 1: "cat"}))
    put(place, [task(0, "猫")])
    known = [Known(name, name, "") for name in NAMES]
    origin = (place / "labels.csv").relative_to(place.parents[1]).as_posix()
    given = importing.read(
        place.parents[1],
        [],
        "0a1b2c3d",
        CLASSES,
        known,
        recorded={(origin, NAMES[0]): ("cat", False), (origin, NAMES[1]): ("", True)},
    )
    assert {one.id: one.label for one in given} == {NAMES[0]: "猫", NAMES[1]: "cat"}


def test_a_folder_that_was_moved_aside_answers_what_has_no_answer_yet(place):
    save(place / "labels.csv", answered(place, {0: "cat", 1: "cat"}))
    place.rename(place.with_name(f"{place.name}_before_1"))
    known = [Known(name, name, "") for name in NAMES]
    recorded = {(f"queries/{place.name}/labels.csv", NAMES[0]): ("cat", False)}
    recorded |= {("page", NAMES[0]): ("猫", False)}
    run = place.parents[1]
    given = importing.read(run, [], "0a1b2c3d", CLASSES, known, recorded=recorded)
    assert {one.id: one.label for one in given} == {NAMES[1]: "cat"}


def test_two_tasks_of_one_image_are_no_annotations_of_one(place):
    put(place, [task(0, "cat"), task(0, "猫") | {"id": 7}])
    refused(place, "task 7", "task 100")


def test_a_file_of_another_campaign_is_refused(place):
    other = queries.dact_id("ffffffff", NAMES[0])
    save(place / "labels.csv", [{"id": other, "label": "cat"}])
    refused(place, "labels.csv, line 2", "another campaign", "ffffffff", "0a1b2c3d")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"images": []}, "JSON of another form"),
        ([1], "JSON of another form"),
        ([[]], "JSON of another form"),
        ([short(0, {"choices": ["cat", "猫"]})], "task 100: the label is"),
        ([short(0, None)], "call the Choices element 'label'"),
        ([short(0, 3)], "task 100: the label is 3"),
        ({"images": [], "annotations": [{"id": 1}]}, "JSON of another form"),
        ([{"file_name": "=x.png", "caption": "a cat"}], "JSON of another form"),
        ([task(0) | {"annotations": {}}], "task 100: annotations must be a list"),
        ([task(0) | {"annotations": [2]}], "task 100: an annotation is 2"),
        ([task(0, "cat", result=[{"type": "textarea"}])], "has 0 results"),
        ([task(0, "cat", result="cat")], "has 0 results"),
        ([task(0, "cat") | {"data": {}}], "neither an id nor a file name"),
    ],
)
def test_json_that_is_no_export_is_refused(place, value, words):
    put(place, value)
    refused(place, "export.json", words)


def test_a_choice_of_several_classes_is_refused(place):
    one = task(0, "cat")
    one["annotations"][0]["result"][0]["value"]["choices"].append("猫")
    put(place, [one])
    refused(place, "export.json, task 100", "one class")
    (place / "export.json").unlink()
    records = [short(0, json.dumps({"choices": ["cat", "猫"]}))]
    save(place / "project.csv", records)
    refused(place, "project.csv, line 2", "one class")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '[{"id": 1,\n}]', "a.json, line 2: this is not JSON"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", f'[{{"id": {"9" * 5000}}}]', "is not JSON that can be read"),
        ("a.xml", "<annotations>\n<image></annotations>", "a.xml, line 2"),
        ("a.json", "17", "JSON of another form"),
        ("a.json", "cat", "a.json, line 1: this is not JSON"),
        ("a.xml", "cat", "a.xml, line 1: this is not XML"),
        ("a.xml", "<html/>", "XML of another form ('html')"),
        ("a.xml", "<annotations><track/></annotations>", "tracks of a video"),
        (
            "a.xml",
            '<!DOCTYPE a [<!ENTITY b "&c;&c;">]><annotations>&b;</annotations>',
            "<!DOCTYPE",
        ),
        ("a.csv", "file;day\nx;y\n", "the first line must be file_name,label"),
        ("a.csv", "", "the first line must be"),
        ("a.csv", "id,label,label\n1,a,b\n", "2 columns 'label'"),
        ("a.csv", 'id,label\n1,"a\n', "line 2"),
        ("a.csv", "label,file_name\ncat,\n", "neither an id nor a file name"),
    ],
)
def test_a_damaged_file_is_one_sentence(place, name, text, words):
    (place / name).write_text(text, "utf-8")
    refused(place, name, words)


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (tag("cat") + tag("猫"), "it has the tags 'cat', '猫'"),
        ('<box label="cat"/>', "shapes but no tag"),
        (tag("dog"), "there is no class 'dog'"),
    ],
)
def test_an_image_of_cvat_without_one_class_is_refused(place, inside, words):
    cvat(place, (NAMES[5], inside))
    refused(place, "annotations.xml, image 'a/plain.png'", words)


def test_a_file_that_is_not_there_is_refused(place, tmp_path):
    with pytest.raises(errors.InputError, match=r"there is no file .*gone\.csv"):
        read(place, tmp_path / "gone.csv")


def test_a_huge_file_is_not_read(place, monkeypatch):
    monkeypatch.setattr(importing, "_LARGEST", 10)
    refused(place, "has more than 10 bytes")


def test_our_cvat_file_is_read_back_with_tags_in_it(place):
    """As a program would write them."""
    path = place / "cvat.xml"
    tree = ElementTree.parse(path)
    for image in tree.getroot().iter("image"):
        ElementTree.SubElement(image, "tag", label="Kätzchen")
    tree.write(path, encoding="utf-8")
    assert labels(place) == dict.fromkeys(NAMES, "Kätzchen")
