"""The person of a run that asks: knows every label, and gives it in several forms.

Of each query the images answer in turn by its table, by an export of Label Studio and
on the labelling page; one label is wrong at first and corrected from Python later, and
one image is skipped. Killed meanwhile, the person goes on with what is missing.
"""

import contextlib
import csv
import io
import json
import os
import pathlib
import resource
from collections.abc import Iterator, Sequence

import ml_collections
import numpy as np
from PIL import Image

from dact_jax import campaigns
from dact_jax.labelling import session as sessions
from dact_jax.queries import query as queries
from dact_jax.queries.query import Item, Query
from dact_jax.rounds import answers

CLASSES = ("0", "1", "2")
_TARGET, _IMAGES = "asked.npz", "images"
_EXPORT = "export.json"  # of Label Studio


def flags(place: pathlib.Path) -> list[str]:
    """Flags of a run that asks about vectors of image files, which are made here.

    Args:
      place: with target.npz, whose labels are those that the person knows.
    """
    images = place / _IMAGES
    with np.load(place / "target.npz") as archive:
        features, label = archive["features"], archive["label"]
    names = [f"{row} ü.png" for row in range(len(label))]
    if not images.exists():
        images.mkdir()
        for row, name in enumerate(names):
            Image.new("RGB", (4, 4), (2 * row, 99, 0)).save(images / name)
        np.savez(place / _TARGET, features=features, label=label, path=names)
    return [
        f"--config.target={place / _TARGET}",
        f"--config.queries.image_root={images}",
        "--config.oracle=human",
    ]


def is_asked(told: str) -> bool:
    """Whether a command has ended with a question, by what it printed."""
    return "answer in the browser" in told


def answer(folder: pathlib.Path) -> None:
    """Answers what is open of the newest query.

    Raises:
      OSError: an answer cannot be saved.
      RuntimeError: nothing is open, so something is asked again.
    """
    place = queries.written(folder)[-1]
    query = queries.read(place)
    before = _state(folder)
    if query.round:
        _correct(folder)
    by_table, by_export, on_page = (query.items[first::3] for first in range(3))
    _label_on_page(folder, on_page)
    text = (place / "labels.csv").read_text(encoding="utf-8-sig")
    if text.startswith("file_name,"):  # as the run wrote it
        _put(place / "labels.csv", _filled_in(text, query, by_table))
    if not (place / _EXPORT).exists():
        _put(place / _EXPORT, _exported(query, by_export))
    if _state(folder) == before:
        raise RuntimeError(f"{place} asks again what is answered")


def progress(folder: pathlib.Path) -> list[tuple[str, int]]:
    """What is complete: answers, queries, and the files of their folders.

    Not what a killed process has left half done.
    """
    files = [path for place in queries.written(folder) for path in place.iterdir()]
    sizes = [(str(path.relative_to(folder)), path.stat().st_size) for path in files]
    return [("answers", len(answers.read(folder))), *sorted(sizes)]


def differences(folder: pathlib.Path, expected: pathlib.Path) -> list[str]:
    """What is wrong with the questions and labels of a run that is finished."""
    found = []
    given = answers.read(folder)
    for id, last in answers.latest(given).items():
        wanted = _skips(id), "" if _skips(id) else _label(id)
        if (last.skip, last.label) != wanted:
            found.append(f"{folder}: {id} has the answer {last}")
    lines = [sorted(one[:3] for one in answers.read(run)) for run in (folder, expected)]
    if lines[0] != lines[1]:
        found.append(f"{folder / answers.FILE} has other answers: {given}")
    names = [
        {
            str(path.relative_to(run)): _content(path)
            for path in (run / queries.FOLDER).rglob("*")
        }
        for run in (folder, expected)
    ]
    found += [
        f"{folder / name} differs, is missing or is left over"
        for name in names[0].keys() | names[1].keys()
        if names[0].get(name) != names[1].get(name)
    ]
    asked = [
        item.id
        for place in queries.written(folder)
        for item in queries.read(place).items
    ]
    if len(set(asked)) < len(asked):
        found.append(f"{folder} asked about an image twice: {sorted(asked)}")
    return found


def _state(folder: pathlib.Path) -> tuple[list[answers.Answer], set[str]]:
    place = queries.written(folder)[-1]
    return answers.read(folder), {
        path.name + path.read_text(encoding="utf-8") for path in place.iterdir()
    }


def _row(id: str) -> int:
    return int(id.split()[0])


def _label(id: str) -> str:
    return CLASSES[_row(id) % 3]  # as `toy.vector_config` labels its target


def _skips(id: str) -> bool:
    """Some images fit no label."""
    return _row(id) % 19 == 7


def _correct(folder: pathlib.Path) -> None:
    """Corrects, from Python, the label that was wrong at first."""
    (first, *_) = queries.read(queries.written(folder)[0]).items
    last = answers.latest(answers.read(folder))[first.id]
    if not last.skip and last.label != _label(first.id):
        program = campaigns.Campaign(ml_collections.ConfigDict(), folder)
        program.tell({first.id: _label(first.id)})


def _label_on_page(folder: pathlib.Path, items: Sequence[Item]) -> None:
    page = sessions.Session(folder)
    state = page.state()
    by_name = {shown["id"]: shown for shown in state["items"]}
    campaign = page.question().query.campaign  # type: ignore[union-attr]
    for item in items:
        name = queries.dact_id(campaign, item.id)
        if by_name[name]["answer"] is None:
            skips = _skips(item.id)
            kind = sessions.SKIP if skips else sessions.LABEL
            label = "" if skips else _label(item.id)
            reply = sessions.Reply(state["version"], name, kind, label, 0, 1.5)
            page.answer(reply)


def _filled_in(text: str, query: Query, items: Sequence[Item]) -> str:
    """The table of the query with answers, as a spreadsheet saves it."""
    known = {queries.dact_id(query.campaign, item.id): item for item in items}
    table = csv.DictReader(io.StringIO(text))
    out = io.StringIO()
    saved = csv.DictWriter(out, table.fieldnames or [], delimiter=";")
    saved.writeheader()
    first = query.items[0].id if query.round == 0 else ""
    for row in table:
        if item := known.get(row["id"]):
            wrong = item.id == first  # it is corrected later
            label = CLASSES[(_row(item.id) + wrong) % 3]
            row |= {"skip": "x"} if _skips(item.id) else {"label": label}
        saved.writerow(row)
    return out.getvalue()


def _exported(query: Query, items: Sequence[Item]) -> str:
    """An export of Label Studio."""
    tasks = []
    for number, item in enumerate(items):
        skips = _skips(item.id)
        choice = {
            "from_name": "label",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [_label(item.id)]},
        }
        annotation = {"result": [] if skips else [choice], "was_cancelled": skips}
        data = {"dact_id": queries.dact_id(query.campaign, item.id)}
        tasks.append({"id": number, "annotations": [annotation], "data": data})
    return json.dumps(tasks)


def _put(path: pathlib.Path, text: str) -> None:
    """Puts a file of answers into the run's folder, whole: it is another program's."""
    run = path.parents[2]
    draft = run.with_name(f"{run.name}_{path.name}")
    with _room():
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """The disk of the other program is not full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _content(path: pathlib.Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
