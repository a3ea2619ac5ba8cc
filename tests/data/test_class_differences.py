"""Classes that only one domain has: the sentence says what would help."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data import splits
from dact_jax.data.classes import differences
from dact_jax.types import Dataset, LeftOut

NFC, NFD = "caf\u00e9", "cafe\u0301"


def domain(name, classes, left_out=()):
    label = np.repeat(np.arange(len(classes), dtype=np.int32), 6)
    return Dataset(
        name=name,
        image=np.zeros((len(label), 1, 1, 3), np.uint8),
        label=label,
        id=np.array([f"{name}/{i}" for i in range(len(label))]),
        split=None,
        class_names=tuple(classes),
        left_out=left_out,
    )


@pytest.mark.parametrize(
    ("known", "name", "parts"),
    [
        (["cat", "dog"], "Dog", ["'Dog'", "has 'dog'", "upper and lower case"]),
        (["cat", "dog"], "cat ", ["'cat '", "has 'cat'", "blanks only"]),
        ([NFC, "dog"], NFD, [r"'cafe\u0301'", r"has 'caf\xe9'", "NFC and NFD"]),
        ([NFC, "dog"], f" {NFD.upper()}", [r"has 'caf\xe9'", "accents, blanks or"]),
        (["cat", "dog"], "dogs", ["'dogs'", "most similar", "'dog'"]),
        (["cat", "dog"], "emu", ["'emu'", "classes are 'cat', 'dog'"]),
        ([f"{i:02}" for i in range(30)], "emu", ["'11' and 18 more"]),
    ],
)
def test_the_nearest_name(known, name, parts):
    message = differences.only_in([name], "b", "source a", domain("a", known))
    assert message.startswith(f"class {name!r} is in b but not in source a: ")
    for part in parts:
        assert part in message, message


def test_all_classes_are_named():
    names = ["emu", *(f"x{i:02}" for i in range(14))]
    message = differences.only_in(names, "b", "source a", domain("a", ["cat"]))
    assert message.startswith("15 classes are in b but not in source a: 'emu', 'x00', ")
    assert "'x10' and 3 more; for 'emu': its classes are 'cat'." in message


def test_a_folder_that_is_there_but_holds_no_image():
    empty = (LeftOut("b/dog", "it holds no image"),)
    source = domain("a", ["cat", "dog"])
    with pytest.raises(errors.InputError, match=r"'dog'.*b/dog is there, but it holds"):
        splits.make_task(source, domain("b", ["cat"], empty), seed=0)


def test_images_that_were_all_left_out():
    damaged = (
        LeftOut("b/dog/1.png", "it is empty", damaged=True),
        LeftOut("b/dog/more/2.png", "it is empty", damaged=True),
        LeftOut("b/cat/dog.txt", "it is a text"),
    )
    lost = differences.lost("dog", domain("b", ["cat"], damaged))
    assert lost == "its files are left out (2), such as b/dog/1.png: it is empty"
    assert differences.lost("do", domain("b", ["cat"], damaged)) == ""
