"""The answers in the files of a run's queries, and in others that a user names."""

import pathlib
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from absl import logging

from dact_jax import errors
from dact_jax.data import text_files
from dact_jax.queries import matching, names, query as queries
from dact_jax.queries.matching import Index, Known
from dact_jax.queries.readers import cvat, label_studio, label_table
from dact_jax.queries.readers.written import Written
from dact_jax.queries.writers.cvat import skip_label

_READ = (".csv", ".tsv", ".json", ".xml")
_PACKED = (".zip", ".xlsx", ".xls", ".ods")  # what people forget to unpack or convert
_LARGEST = 2**28  # bytes of a file
# The forms in which a label may equal the name of a class, the strictest first.
_FORMS: tuple[Callable[[str], str], ...] = (
    names.writable,
    lambda name: names.writable(name).strip(),
    lambda name: unicodedata.normalize("NFC", names.writable(name)).strip(),
)
Classes = tuple[Mapping[str, Sequence[str]], ...]  # see `_classes`


class Given(NamedTuple):
    """An answer that a file gives."""

    id: str  # of the image, as its dataset names it
    label: str  # the name of a class; "" if the image is skipped
    skip: bool
    origin: str  # the file, below the run's folder if it lies there
    where: str  # file and line, task or image, for messages


def read(
    workdir: pathlib.Path,
    extra: Iterable[pathlib.Path],
    campaign: str,
    class_names: Sequence[str],
    known: Iterable[Known],
    *,
    recorded: Mapping[tuple[str, str], tuple[str, bool]] | None = None,
) -> list[Given]:
    """The new answers in the files of the queries, and in others; each image once.

    Every file with the ending of a form is read, whatever it is called, and recognized
    by what is in it. Files as `writing.write` leaves them hold no answers.

    Args:
      workdir: the folder of the run.
      extra: files elsewhere.
      campaign: of the run.
      class_names: all classes.
      known: all images of the target.
      recorded: (origin, id) -> (label, skip), what each file said when it was last
        read. That is not new, and a later correction from elsewhere stays. In a folder
        that was moved aside, answers are new for images without any.

    Raises:
      InputError: a file cannot be understood, names an image or a class that is not
        there, or two answers about an image differ, in one file or in what is new of
        several; the message names file and line.
    """
    asked = _asked(workdir, extra)
    written = {path: _written(path, class_names) for path in asked}
    if not any(written.values()):
        return []
    recorded = recorded or {}
    answered = {id for _, id in recorded}
    unnamed = any(not one.id for answers in written.values() for one in answers)
    every = frozenset[str]().union(*asked.values())
    index = matching.index(campaign, known, None if unnamed else every)
    classes = _classes(class_names)
    given: list[Given] = []
    for path, answers in written.items():
        origin = _origin(workdir, path)
        own = _once(_given(one, origin, index, asked[path], classes) for one in answers)
        # What was in a folder before it was moved aside has been read there.
        read_before = answered if _is_aside(workdir, path) else frozenset[str]()
        given += [
            one
            for one in own
            if recorded.get((origin, one.id)) != (one.label, one.skip)
            and one.id not in read_before
        ]
    return _once(given)


def _asked(
    workdir: pathlib.Path, extra: Iterable[pathlib.Path]
) -> Mapping[pathlib.Path, frozenset[str]]:
    """Every file to read, and the ids of the images that its answers may be about."""
    asked: dict[pathlib.Path, frozenset[str]] = {}
    every = frozenset[str]()
    for folder in queries.written(workdir):
        ids = frozenset(item.id for item in queries.read(folder).items)
        asked |= dict.fromkeys(files(folder), ids)
        every |= ids
    others = [path for path in map(pathlib.Path, extra) if path not in asked]
    return asked | dict.fromkeys(others, every)


def _is_aside(workdir: pathlib.Path, path: pathlib.Path) -> bool:
    """Whether a file is in the folder of a query that another one has replaced."""
    folder = path.parent
    own = folder.parent == workdir / queries.FOLDER
    return own and not folder.name.removeprefix("round_").isdecimal()


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files in the folder of a query that may hold answers, sorted."""
    found = []
    for path in sorted(folder.iterdir()):
        ending = path.suffix.lower()
        if path.name.startswith((".", "~")) or path.name == queries.FILE:
            continue  # what editors keep beside an open file
        if ending in _READ and path.is_file():
            found.append(path)
        elif ending in _PACKED:
            logging.warning(
                "%s is not read: unpack it, or save it as CSV.", errors.printable(path)
            )
    return found


def _written(path: pathlib.Path, class_names: Sequence[str]) -> list[Written]:
    """The answers of a file, whose form its content tells."""
    if path.is_file() and path.stat().st_size > _LARGEST:
        raise errors.InputError(
            f"{path} has more than {_LARGEST} bytes: leave out what is no answer."
        )
    text = text_files.read(path)
    start = text.lstrip()[:1]
    if start == "<" or path.suffix.lower() == ".xml":
        return cvat.read(path, text, skip_label(class_names))
    if start in ("[", "{") or path.suffix.lower() == ".json":
        value = label_studio.parse(path, text)
        if not label_studio.is_json(value):
            raise errors.InputError(
                f"{path} is JSON of another form: export the project from Label Studio "
                "as JSON or JSON-MIN."
            )
        return label_studio.of_json(path, value)
    return label_table.read(path, text)


def _given(
    answer: Written,
    origin: str,
    index: Index,
    asked: Collection[str],
    classes: Classes,
) -> Given:
    id = matching.find(index, asked, answer.where, answer.id, answer.name)
    label = "" if answer.skip else _class(classes, answer.where, answer.label)
    return Given(id, label, answer.skip, origin, answer.where)


def _once(given: Iterable[Given]) -> list[Given]:
    """Each image once.

    Raises:
      InputError: two answers about an image differ.
    """
    found: dict[str, Given] = {}
    for one in given:
        first = found.setdefault(one.id, one)
        if (first.label, first.skip) != (one.label, one.skip):
            raise errors.InputError(_contradiction(first, one))
    return list(found.values())


def _classes(class_names: Sequence[str]) -> Classes:
    """For each form: a name in this form -> the classes that have it."""
    found = []
    for form in _FORMS:
        alike: dict[str, list[str]] = {}
        for name in class_names:
            alike.setdefault(form(name), []).append(name)
        found.append(alike)
    return tuple(found)


def _class(classes: Classes, where: str, label: str) -> str:
    """The class that a label names, by the strictest form in which there is one."""
    for form, alike in zip(_FORMS, classes, strict=True):
        found = alike.get(form(label), ())
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(map(ascii, found))
            raise errors.InputError(
                f"{where}: {errors.quoted(label)} may be any of the classes {listed}, "
                "whose names differ in blanks, accents or characters that cannot be "
                "shown: rename the classes."
            )
    class_names = [name for alike in classes[0].values() for name in alike]
    raise errors.InputError(
        f"{where}: there is no class {errors.quoted(label)}; "
        f"{_nearest(label, class_names)}"
    )


def _nearest(label: str, class_names: Sequence[str]) -> str:
    same = [name for name in class_names if name.casefold() == label.casefold()]
    if same:
        return f"did you mean {errors.quoted(same[0])}?"
    return errors.suggestion(label, class_names)


def _origin(workdir: pathlib.Path, path: pathlib.Path) -> str:
    if path.is_relative_to(workdir):
        return path.relative_to(workdir).as_posix()
    return str(path)


def _contradiction(first: Given, second: Given) -> str:
    words = [
        "skip" if one.skip else errors.quoted(one.label) for one in (first, second)
    ]
    return (
        f"{second.where}: the image {errors.quoted(second.id)} is {words[1]}, but "
        f"{words[0]} in {first.where}: correct one of the two."
    )
