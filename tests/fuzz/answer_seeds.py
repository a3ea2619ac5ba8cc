"""A query, and files with answers to it in every form."""

import json

from dact_jax.queries import matching, query as queries
from dact_jax.queries.query import Item, Query
from dact_jax.queries.writers import cvat, label_studio, label_table

PLACE = "queries/round_03"
CLASSES = ("cat", "Käfer", "=1+1")
_NAMES = ("a/b 1.png", "ä.png", "=x.png", "a/c.png")
QUERY = Query(
    "0a1b2c3d",
    3,
    CLASSES,
    tuple(Item(name, name, "", "cat", 0.5, 1.5, "sha256:1") for name in _NAMES),
)
KNOWN = tuple(matching.Known(name, name, f"/photos/{name}") for name in _NAMES)


def _tasks():
    tasks = json.loads(label_studio.tasks(QUERY, ""))
    for number, task in enumerate(tasks):
        choice = {"choices": [CLASSES[number % len(CLASSES)]]}
        result = {"from_name": "label", "type": "choices", "value": choice}
        annotation = {"id": number, "result": [result], "was_cancelled": number == 3}
        annotation["updated_at"] = f"2026-01-31T12:00:0{number}.25Z"
        older = annotation | {"updated_at": "2026-01-01"}
        task |= {"id": 100 + number, "annotations": [annotation, older]}
        task["predictions"] = [number]
    del tasks[1]["data"]["dact_id"], tasks[2]["data"]["dact_id"]
    return tasks


def _short(task):
    annotation = task["annotations"][0]
    label = annotation["result"][0]["value"]["choices"][0]
    own = {"id": task["id"], "annotator": 1, "annotation_id": annotation["id"]}
    time = annotation["updated_at"]
    return task["data"] | own | {"label": label, "updated_at": time}


def _row(values):
    return ",".join('"' + str(value).replace('"', '""') + '"' for value in values)


def files():
    """(name, text, names of readers) of each file."""
    tasks = _tasks()
    short = [_short(task) for task in tasks if "dact_id" in task["data"]]
    table = [_row(short[0]), *(_row(record.values()) for record in short)]
    lines = label_table.text(QUERY, "").splitlines()
    answers = [
        line.replace(",", ",cat,", 1).replace(",cat,,", ",cat,") for line in lines
    ]
    xml = cvat.text(QUERY, "").replace('" />', '"><tag label="cat" /></image>')
    for name, text in (
        ("labels.csv", "\r\n".join([lines[0], *answers[1:]])),
        ("names.csv", "path;class;skip\na/c.png;cat;\nb 1.png;;1\n/photos/ä.png;cat;"),
        ("export.json", json.dumps(tasks, indent=1, ensure_ascii=False)),
        ("short.json", json.dumps(short)),
        ("export.csv", "\n".join(table)),
        ("cvat.xml", xml),
    ):
        yield f"{PLACE}/{name}", text, "answers"
    yield f"{PLACE}/{queries.FILE}", queries.text(QUERY), "query"
