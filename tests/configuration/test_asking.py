"""Who is asked for labels, and what is hidden from the run then."""

import numpy as np
import pytest

import dact_jax
from dact_jax import errors
from dact_jax.configuration import plugin_checks
from dact_jax.configuration.asking import build_person
from dact_jax.data import label_counts, splits
from dact_jax.types import UNLABELED, Dataset

NAMES = ("a", "b", "c")
ALL = np.arange(30) % 3
SOME = np.where(np.arange(30) < 6, ALL, UNLABELED)
NONE = np.full(30, UNLABELED)


def task(label, **options):
    def dataset(name, label, names):
        id = np.array([f"{name}/{i}" for i in range(len(label))])
        image = np.zeros((len(label), 1, 1, 4), np.float32)
        return Dataset(name, image, label.astype(np.int32), id, None, names)

    names = NAMES if (label != UNLABELED).any() else ()
    target = dataset("t", label, names)
    options = {"val_per_class": 0, "test_fraction": 0, **options}
    return splits.make_task(dataset("s", ALL, NAMES), target, seed=0, **options)


def config(**fields):
    made = dact_jax.config("embeddings:preset=s_act")
    made.update_from_flattened_dict({"policies.single.purchases": 1, **fields})
    return made


@pytest.mark.parametrize(
    ("oracle", "label", "policy", "asked"),
    [
        ("auto", ALL, "single", False),
        ("auto", SOME, "single", False),
        ("auto", NONE, "single", True),
        ("auto", NONE, "fixed", False),
        ("human", ALL, "single", True),
        ("dataset", NONE, "single", False),
    ],
)
def test_who_is_asked(oracle, label, policy, asked):
    made = config(oracle=oracle, policy=policy)
    assert build_person.asks_person(made, task(label)) == asked


@pytest.mark.parametrize(
    ("label", "given", "hidden"), [(ALL, 0, 30), (SOME, 6, 0), (NONE, 0, 0)]
)
def test_labels_of_a_pool_that_is_labelled_in_part_are_given(label, given, hidden):
    made, whole = config(oracle="human"), task(label)
    mask = build_person.given(made, whole)
    assert mask.sum() == given
    person = build_person.make_person(made, whole, mask, "sha256:0")
    assert person.num_hidden == hidden
    assert (person.file_names[0], person.files[0]) == ("t/0", "")
    seen = build_person.hide(whole, mask).target.train.label
    assert (seen != UNLABELED).sum() == given
    lines = " ".join(
        label_counts.lines(build_person.hide(whole, mask), mask, num_hidden=hidden)
    )
    assert "A person is asked for the labels that are bought (oracle=human)." in lines
    assert ("labeled from the start" in lines) == bool(given)
    assert ("labels of the pool that the data hold are not read" in lines) == (
        bool(hidden)
    )


def test_what_is_hidden_from_training_is_hidden_from_a_test_on_the_pool():
    whole = task(ALL, transductive=True)
    hidden = build_person.hide(whole, np.zeros(30, bool)).target
    assert hidden.test is hidden.train
    apart = task(ALL, test_fraction=0.3)
    kept = build_person.hide(apart, np.zeros(len(apart.target.id), bool)).target
    np.testing.assert_array_equal(kept.test.label, apart.target.test.label)


def test_the_files_of_vectors_are_looked_for_below_the_image_root(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "1").write_bytes(b"")
    made = config(oracle="human", **{"queries.image_root": str(tmp_path)})
    mask = np.zeros(30, bool)
    person = build_person.make_person(made, task(NONE), mask, "sha256:0")
    assert person.files[:3] == ("", str(tmp_path / "t" / "1"), "")


def test_names_are_below_the_folder_of_the_target(tmp_path):
    made = config(oracle="human", **{"data.target": str(tmp_path)})
    whole = task(NONE)
    files = tuple(str(tmp_path / "x y" / f"{i}.png") for i in range(30))
    whole = whole._replace(target=whole.target._replace(files=files))
    person = build_person.make_person(made, whole, np.zeros(30, bool), "sha256:0")
    assert person.file_names[7] == "x y/7.png"
    assert person.files == files


@pytest.mark.parametrize(
    ("fields", "label", "message"),
    [
        ({"oracle": "human", "policy": "fixed"}, NONE, "'fixed' buys no label, so"),
        ({"oracle": "dataset"}, NONE, "no image .* label .*set oracle='human'"),
        (
            {"policies.single.per_round": 13},
            SOME,
            "only 6 of the 30 .*; or set oracle='human' to label the others yourself",
        ),
        ({"policies.single.per_round": 99}, SOME, r"data\.val_per_class\)\.$"),
        (
            {"oracle": "human", "policies.single.per_round": 15},
            SOME,
            "only 24 of the 30 images",
        ),
    ],
)
def test_pools_that_nobody_can_label_are_refused(fields, label, message):
    made, whole = config(**fields), task(label)
    asks, given = (
        build_person.asks_person(made, whole),
        build_person.given(made, whole),
    )
    with pytest.raises(errors.InputError, match=message):
        plugin_checks.check_pools(made, whole, given, asks_person=asks)
