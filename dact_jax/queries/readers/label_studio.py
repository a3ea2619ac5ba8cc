"""Label Studio's exports: JSON, JSON-MIN, and tables (CSV, TSV)."""

import datetime
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from absl import logging

from dact_jax import errors
from dact_jax.queries.readers.written import Written
from dact_jax.queries.writers.label_studio import FROM, TYPE

_OF_EXPORTS = {"annotation_id", "annotator"}  # columns that only its exports have
_IDS, _NAMES = ("dact_id",), ("file_name", "image")
# What the choice is called in the interface -> the key in JSON-MIN.
_LABELS = (FROM, "choice", "class", "category")
_SHOWN = 5  # disagreements that a warning names
_EARLIEST = datetime.datetime.min.replace(tzinfo=datetime.UTC)
_MULTIPLE = 'there must be one class, by a Choices element with choice="single"'


class _Annotation(NamedTuple):
    task: str  # its number in Label Studio
    time: datetime.datetime  # of the last change
    answer: Written | None  # None: neither a choice nor skipped


def is_json(value: Any) -> bool:
    """Whether a JSON value is a list of tasks or of short annotations, or one task."""
    return all(isinstance(one, dict) and _is_one(one) for one in _listed(value))


def _is_one(fields: Mapping[str, Any]) -> bool:
    short = fields.keys() & {*_OF_EXPORTS, *_LABELS}
    return "data" in fields or bool(short and fields.keys() & {*_IDS, *_NAMES})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def of_json(path: pathlib.Path, value: Any) -> list[Written]:
    """The annotations of a JSON or JSON-MIN export; predictions are none.

    Raises:
      InputError: an annotation is not one choice; the message names the task.
    """
    found: list[_Annotation] = []
    for number, one in enumerate(_listed(value)):
        task = one.get("id", f"number {number}")
        where = f"{path}, task {errors.quoted(task)}"
        if "data" in one:
            found += _of_task(where, str(task), one)
        else:
            answer = _answer(where, one, _short(where, one), skip=False)
            found.append(_Annotation(str(task), _time(one), answer))
    return _newest(path, found)


def _short(where: str, fields: Mapping[str, Any]) -> str:
    """The class in an object of JSON-MIN; "" if nobody has labeled its task."""
    value = next((fields[key] for key in _LABELS if fields.get(key)), None)
    if value is not None:
        return _single(where, value)
    if fields.get("annotation_id") is not None:
        raise errors.InputError(
            f"{where}: the annotation has no {', '.join(map(repr, _LABELS))}: call the "
            f"Choices element {FROM!r}, as label_studio.xml does, or export as JSON."
        )
    return ""


def is_table(columns: Iterable[str]) -> bool:
    """Whether a table is an export, from the names of its columns."""
    return bool({*columns} & _OF_EXPORTS)


def of_table(
    path: pathlib.Path,
    records: Iterable[tuple[int, Mapping[str, str]]],
    label: str,
) -> list[Written]:
    """The annotations in an exported table.

    Args:
      records: the line of each row, and its cells by the names of the columns.
      label: the name of the column with the labels.

    Raises:
      InputError: a cell has several choices; the message names the line.
    """
    found = []
    for line, record in records:
        where = f"{path}, line {line}"
        answer = _answer(where, record, _cell(where, record[label]), skip=False)
        task = record.get("id") or f"line {line}"
        found.append(_Annotation(task, _time(record), answer))
    return _newest(path, found)


def _of_task(where: str, task: str, value: Mapping[str, Any]) -> list[_Annotation]:
    annotations = value.get("annotations", value.get("completions", []))
    data = value.get("data", {})
    if not isinstance(annotations, list) or not isinstance(data, dict):
        raise errors.InputError(
            f"{where}: annotations must be a list, and data an object, as in an "
            "export: export the project again."
        )
    found = []
    for annotation in annotations:
        if not isinstance(annotation, dict):
            raise errors.InputError(
                f"{where}: an annotation is {errors.quoted(annotation)}, not an "
                "object: export the project again as JSON."
            )
        skip = annotation.get("was_cancelled") is True
        label = "" if skip else _choice(where, annotation.get("result"))
        answer = _answer(where, data, label, skip=skip)
        found.append(_Annotation(task, _time(annotation), answer))
    return found


def _choice(where: str, result: Any) -> str:
    """The class in the results of an annotation; "" if there are no results."""
    if not result:
        return ""
    found = [one for one in _listed(result) if isinstance(one, dict)]
    choices = [one for one in found if one.get("type") == TYPE]
    own = [one for one in choices if one.get("from_name") == FROM] or choices
    if len(own) != 1 or not isinstance(own[0].get("value"), dict):
        raise errors.InputError(
            f"{where}: the annotation has {len(own)} results of type {TYPE}: "
            f"{_MULTIPLE}."
        )
    return _single(where, own[0]["value"].get(TYPE))


def _single(where: str, value: Any) -> str:
    """The only choice of {"choices": [...]}, of a list, or of a text."""
    if isinstance(value, dict):
        value = value.get(TYPE)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise errors.InputError(
            f"{where}: the label is {errors.quoted(value)}: {_MULTIPLE}."
        )
    return value


def _cell(where: str, text: str) -> str:
    """The label in a cell, which is an object of JSON where there are several."""
    if text.startswith(f'{{"{TYPE}"'):
        raise errors.InputError(
            f"{where}: the label is {errors.quoted(text)}: {_MULTIPLE}."
        )
    return text


def _answer(
    where: str, fields: Mapping[str, Any], label: str, *, skip: bool
) -> Written | None:
    """An answer about the image that the fields of a task name."""
    id, name = (
        next((str(fields[key]) for key in keys if fields.get(key)), "")
        for keys in (_IDS, _NAMES)
    )
    if not (label.strip() or skip):
        return None
    return Written(where, id.strip(), name, label, skip)


def _newest(path: pathlib.Path, found: Iterable[_Annotation]) -> list[Written]:
    """The newest annotation of each task; where they disagree, a warning says so."""
    # Files may be joined from projects that count their tasks alike.
    tasks: dict[tuple[str, str, str], list[_Annotation]] = {}
    for one in found:
        if one.answer is not None:
            image = one.answer.id, one.answer.name
            tasks.setdefault((one.task, *image), []).append(one)
    kept, differ = [], []
    for (task, *_), several in tasks.items():
        several.sort(key=lambda annotation: annotation.time)
        answers = [one.answer for one in several if one.answer is not None]
        kept.append(answers[-1])
        words = [_word(answer) for answer in answers]
        if len({*words}) > 1:
            differ.append(f"task {task}: {', '.join(words[:-1])}, now {words[-1]}")
    if differ:
        more = len(differ) - _SHOWN
        logging.warning(
            "%s: annotations of one task disagree (%d), and the newest counts (%s%s).",
            errors.printable(path),
            len(differ),
            errors.printable("; ".join(differ[:_SHOWN])),
            f"; and {more} more" if more > 0 else "",
        )
    return kept


def _word(answer: Written) -> str:
    return "skipped" if answer.skip else errors.quoted(answer.label)


def _time(fields: Mapping[str, Any]) -> datetime.datetime:
    """When an annotation was changed last; the earliest time if it does not say."""
    for key in ("updated_at", "created_at"):
        try:
            time = datetime.datetime.fromisoformat(str(fields.get(key)))
            return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
        except ValueError:
            continue
    return _EARLIEST


def parse(path: pathlib.Path, text: str) -> Any:
    """The value of a JSON file.

    Raises:
      InputError: it is not JSON; the message names the line.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise errors.InputError(
            f"{path}, line {error.lineno}: this is not JSON "
            f"({error.msg.removesuffix(' starting at')}): export or copy it again."
        ) from None
    except RecursionError:
        raise errors.InputError(f"{path} is nested too deeply for an export.") from None
    except ValueError as error:  # a number with thousands of digits
        raise errors.InputError(
            f"{path} is not JSON that can be read: {errors.clause(error)}."
        ) from None
