"""What the page asks and what was answered, as the run's folder says it."""

import hashlib
import math
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from dact_jax import errors, storage
from dact_jax.labelling import pictures
from dact_jax.queries import query as queries
from dact_jax.queries.query import Item, Query
from dact_jax.rounds import answers
from dact_jax.rounds.answers import Answer

LABEL, SKIP, UNSURE = "label", "skip", "unsure"
_LONGEST = 1e6  # seconds that an answer may be said to have taken
_T = TypeVar("_T")


class RefusedError(Exception):
    """A request that cannot be met: an HTTP status, and the reason in one sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Question(NamedTuple):
    """The newest query of the run."""

    query: Query
    version: str  # changes with the content of query.json
    items: Mapping[str, Item]  # by `query.dact_id`, in the order of the query


class Reply(NamedTuple):
    """An answer as the page sends it."""

    version: str  # of the question that the page shows
    id: str  # `query.dact_id` of the image
    kind: str  # LABEL, SKIP or UNSURE
    label: str  # the name of a class, with LABEL
    rows: int  # answers to this image that the page knows of
    seconds: float | None  # that the image was looked at


class Session:
    """The question of a run's folder and the answers to it, for several windows.

    Only which images a person was not sure about is kept in memory.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._unsure: list[str] = []  # `query.dact_id`s, the longest ago first
        self._asked_for = ""  # the version of the question that they belong to
        self._writing = threading.Lock()
        self._question = _remembered(_parse)
        self._answers = _remembered(lambda path: answers.read(path.parent))

    def question(self) -> Question | None:
        """The newest query; None while the run has written none.

        Raises:
          InputError: its query.json cannot be read.
        """
        folders = queries.written(self.folder)
        return self._question(folders[-1] / queries.FILE) if folders else None

    def state(self) -> dict[str, Any]:
        """What a window shows, as plain values for JSON."""
        with self._writing:
            question = self.question()
            if question is None:
                return {"version": "", "round": 0, "classes": [], "items": []}
            given = self._given(question)
            unsure = self._unsure_of(question)
        return {
            "version": question.version,
            "round": question.query.round,
            "classes": question.query.class_names,
            "items": [
                _shown(name, item, given[item.id], unsure)
                for name, item in question.items.items()
            ],
        }

    def is_answered(self) -> bool:
        """Whether no image of the newest query waits for an answer."""
        question = self.question()
        return question is None or all(self._given(question).values())

    def version(self) -> str:
        """That of the newest query; "" without one."""
        question = self.question()
        return question.version if question else ""

    def item(self, name: str) -> Item:
        """The image of the newest query that has this `query.dact_id`.

        Raises:
          RefusedError: there is none.
        """
        return _item(self.question(), name)

    def answer(self, reply: Reply) -> None:
        """Takes an answer; it is on the disk when this returns.

        Raises:
          RefusedError: it answers another question, or nothing that was asked; or the
            image has an answer that the window does not know of.
          InputError: the file of the image has vanished or changed.
        """
        with self._writing:
            question = self.question()
            if question is None or question.version != reply.version:
                raise RefusedError(409, "the run asks something else by now.")
            item = _item(question, reply.id)
            rows = self._given(question)[item.id]
            if len(rows) != reply.rows:
                raise RefusedError(409, "this image was answered in another window.")
            unsure = self._unsure_of(question)
            if reply.kind == UNSURE:
                if rows:
                    raise RefusedError(409, "this image has an answer.")
                unsure[:] = [name for name in unsure if name != reply.id] + [reply.id]
                return
            answers.append(self.folder, [_answer(reply, question.query, item)])
            unsure[:] = [name for name in unsure if name != reply.id]

    def _given(self, question: Question) -> Mapping[str, list[Answer]]:
        """The answers to each image, by its id in the dataset."""
        given: dict[str, list[Answer]] = {item.id: [] for item in question.query.items}
        for answer in self._answers(self.folder / answers.FILE):
            if answer.id in given:
                given[answer.id].append(answer)
        return given

    def _unsure_of(self, question: Question) -> list[str]:
        if self._asked_for != question.version:
            self._asked_for = question.version
            self._unsure = []
        return self._unsure


def reply(fields: Any) -> Reply:
    """An answer from the JSON that a window sends.

    Raises:
      RefusedError: it is none.
    """
    try:
        found = Reply(**fields)
    except TypeError:
        found = None
    if found is None or not _is_sound(found):
        raise RefusedError(400, f"an answer is a JSON object with {Reply._fields}.")
    return found


def _is_sound(found: Reply) -> bool:
    texts = all(isinstance(x, str) for x in (found.version, found.id, found.label))
    seconds = found.seconds
    timed = seconds is None or (
        type(seconds) in (int, float)
        and math.isfinite(seconds)
        and 0 <= seconds <= _LONGEST
    )
    return (
        texts
        and timed
        and type(found.rows) is int
        and found.kind in (LABEL, SKIP, UNSURE)
    )


def _item(question: Question | None, name: str) -> Item:
    if question is None or name not in question.items:
        raise RefusedError(404, "the query has no such image.")
    return question.items[name]


def _answer(reply: Reply, query: Query, item: Item) -> Answer:
    """The line of labels.csv."""
    skip = reply.kind == SKIP
    if not skip:
        if reply.label not in query.class_names:
            near = errors.suggestion(reply.label, query.class_names)
            quoted = errors.quoted(reply.label)
            raise RefusedError(400, f"there is no class {quoted}; {near}")
        pictures.check(item)
    return Answer(
        item.id,
        "" if skip else reply.label,
        skip,
        answers.now(),
        answers.PAGE,
        item.suggested,
        reply.seconds,
    )


def _shown(
    name: str, item: Item, given: Sequence[Answer], unsure: Sequence[str]
) -> dict[str, Any]:
    """What a window needs of an image."""
    last = given[-1] if given else None
    return {
        "id": name,
        "name": errors.printable(item.file_name or item.id),
        "file": bool(item.path),
        "suggested": item.suggested,
        "confidence": item.confidence,
        "rows": len(given),
        "answer": last and {"label": last.label, "skip": last.skip},
        "unsure": unsure.index(name) + 1 if name in unsure else 0,
    }


def _parse(path: pathlib.Path) -> Question:
    query = queries.read(path.parent)
    named = {queries.dact_id(query.campaign, item.id): item for item in query.items}
    content = queries.text(query).encode()
    return Question(query, hashlib.sha256(content).hexdigest()[:16], named)


def _remembered(read: Callable[[pathlib.Path], _T]) -> Callable[[pathlib.Path], _T]:
    """Reads a file again only after it has changed; one file at a time."""
    known: list[tuple[Any, _T]] = []
    lock = threading.Lock()

    def look(path: pathlib.Path) -> _T:
        with lock:
            mark = path, *_mark(path)  # before reading: a later change counts
            if not known or known[0][0] != mark:
                known[:] = [(mark, read(path))]
            return known[0][1]

    return look


def _mark(path: pathlib.Path) -> tuple[int, ...]:
    with storage.naming(path):
        try:
            status = path.stat()
        except FileNotFoundError:
            return ()
    return status.st_size, status.st_mtime_ns, status.st_ino
