"""Whether the accuracies of two runs are measured on the same images."""

from collections.abc import Mapping
from typing import Any

from dact_jax.rounds.claim import Record

# Fields that decide which images test, which validate, and which can be bought.
SPLIT = (
    "test_fraction",
    "stratified",
    "val_per_class",
    "transductive",
    "transductive_set",
    "labelled_list",
    "val_list",
    "unlabeled_list",
)


def difference(one: Record, other: Record) -> str:
    """How the data of two runs differ, as a clause; "" if they do not.

    Seeds are not compared: they draw other test images of the same ones.
    """
    for side in ("source", "target"):
        if one.data.get(side) != other.data.get(side):
            there = _value(one.config, side), _value(other.config, side)
            same = there[0] == there[1]
            which = (
                f"the files of {there[0]} were others"
                if same
                else (f"one has {there[0]} and the other {there[1]}")
            )
            return f"their {side} data differ: {which}"
    if set(one.classes) != set(other.classes):
        return (
            f"their classes differ: one has {len(one.classes)}, the other "
            f"{len(other.classes)}, and {_example(one, other)} is in one of them only"
        )
    for field in SPLIT:
        there = _value(one.config, field), _value(other.config, field)
        if there[0] != there[1]:
            return (
                f"they split the target differently: data.{field} is {there[0]} in one "
                f"and {there[1]} in the other"
            )
    return ""


def _value(config: Mapping[str, Any], field: str) -> Any:
    return config.get("data", {}).get(field)


def _example(one: Record, other: Record) -> str:
    return repr(sorted(set(one.classes) ^ set(other.classes))[0])
