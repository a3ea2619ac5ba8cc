"""What a row of metrics.jsonl must hold, so that a report can be made of it."""

import json
from collections.abc import Mapping
from typing import Any

_Types = tuple[type, ...]

_COUNT: _Types = (int,)
_NUMBER: _Types = (int, float)
_MAYBE: _Types = (int, float, type(None))  # None: there was nothing to measure it on
_EVERY_ROW: Mapping[str, _Types] = {"event": (str,), "round": _COUNT, "step": _COUNT}
_ACCURACIES = {"test_accuracy": _MAYBE, "val_accuracy": _MAYBE}
_OF_EVENT: Mapping[str, Mapping[str, _Types]] = {
    "eval": _ACCURACIES,
    "pretrain": {"test_accuracy": _MAYBE},
    "round": {
        **_ACCURACIES,
        "labels_target": _COUNT,
        "labels_val": _COUNT,
        "source_samples": _COUNT,
        "seconds": _NUMBER,
    },
}
# Field -> the fields that a row with it has too; older runs have none of them.
_TOGETHER: Mapping[str, Mapping[str, _Types]] = {
    "test_mean_class_accuracy": {
        "test_at_best_val": _MAYBE,
        "best_val_step": (int, type(None)),
        "best_test": _MAYBE,
    },
    "accuracy_source": {"accuracy_target": _MAYBE, "source_samples": _COUNT},
}
# Fields that a report uses where a row has them; policies may add others.
_OPTIONAL: Mapping[str, _Types] = {
    "labels_target": _COUNT,
    "source_pool": _COUNT,
    "source_labels_read": _COUNT,
    "test_images": _COUNT,
    "union": _COUNT,
    "accuracy_source": _MAYBE,
    "labels_per_class": (dict, type(None)),
    **{f"seconds{of}": _NUMBER for of in ("", "_training", "_scoring", "_selecting")},
}
_MOST = 2**63  # counts and seconds are less
_SHARES = {
    *("test_accuracy", "val_accuracy", "accuracy_source", "accuracy_target"),
    *("test_mean_class_accuracy", "test_at_best_val", "best_test"),
}


def parse(line: str) -> dict[str, Any]:
    """The row that a line of metrics.jsonl holds.

    Raises:
      ValueError: it holds none; the message is a clause that says why.
    """
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(row, dict):
        raise ValueError("it is not an object")
    event = str(row.get("event"))
    needed = {**_EVERY_ROW, **_OF_EVENT.get(event, {})}
    for field, others in _TOGETHER.items():
        if row.get(field) is not None:
            needed.update(others)
    for field, types in needed.items():
        if field not in row:
            raise ValueError(f"it has no {field!r}")
        _check(field, row[field], types)
    for field in row.keys() - needed.keys():
        if event == "train":
            _check(field, row[field], _MAYBE)  # a loss
        elif field in _OPTIONAL:
            _check(field, row[field], _OPTIONAL[field])
    return row


def _check(field: str, value: object, types: _Types) -> None:
    if not isinstance(value, types) or isinstance(value, bool):
        raise ValueError(f"its {field!r} is {str(value)[:40]!r}")
    if isinstance(value, (int, float)) and not _in_range(field, value, types):
        raise ValueError(f"its {field!r} is {str(value)[:40]}")
    if isinstance(value, dict):  # class -> target labels bought
        for name, count in value.items():
            _check(f"{field}.{name}", count, _COUNT)


def _in_range(field: str, value: float, types: _Types) -> bool:
    """Whether a number can be what its field stands for; a loss can be any."""
    if field in _SHARES:
        return 0 <= value <= 1
    least = -1 if field == "round" else 0  # -1: before round 0
    return types not in (_COUNT, _NUMBER) or least <= value < _MOST
