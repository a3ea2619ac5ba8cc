import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dact_jax
from dact_jax import errors, plugins
from dact_jax.acquisitions import k_center as plugin
from dact_jax.geometry import k_center
from dact_jax.types import Evidence
from tests import toy
from tests.geometry.reference import greedy

GOLDEN = toy.golden("kcenter")


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_equals_google_active_learning(case):
    points, centers = GOLDEN[f"{case}_X"], GOLDEN[f"{case}_already_selected"]
    picked = k_center.select(points, int(GOLDEN[f"{case}_N"]), labelled=centers)
    np.testing.assert_array_equal(picked.row, GOLDEN[f"{case}_selected"])
    chosen = np.concatenate([centers, picked.row]).astype(int)
    gaps = np.linalg.norm(points[:, None] - points[None, chosen], axis=-1)
    np.testing.assert_allclose(
        gaps.min(-1).max(), GOLDEN[f"{case}_final_max_min_dist"], rtol=1e-5
    )


@pytest.mark.parametrize("num_centers", [0, 1, 16, 17, 40])  # around blocks of 16
def test_equals_the_definition(num_centers):
    rng = np.random.default_rng(num_centers)
    points = rng.normal(size=(300, 7)).astype(np.float32)
    centers = rng.permutation(300)[:num_centers]
    picked = k_center.select(points, 30, labelled=centers)
    assert picked.row.tolist() == greedy(points, centers, 30)


def test_duplicates_and_ties_go_to_the_lowest_row():
    points = np.repeat(np.array([[0.0], [4.0], [-4.0], [1.0]]), 3, axis=0)
    picked = k_center.select(points, 11, labelled=[0])
    assert picked.row.tolist() == greedy(points, [0], 11)
    assert picked.row[:3].tolist() == [3, 6, 9]
    assert sorted(picked.row.tolist()) == list(range(1, 12))  # none twice


def test_all_points_equal_and_a_budget_of_everything():
    picked = k_center.select(np.ones((5, 2)), 5)
    assert picked.row.tolist() == [0, 1, 2, 3, 4]
    assert picked.score.tolist() == [np.inf, 0, 0, 0, 0]


def test_scores_are_distances_and_never_rise():
    points = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    picked = k_center.select(points, 50, labelled=[7])
    assert (np.diff(picked.score) <= 0).all()
    first = np.linalg.norm(points - points[7], axis=-1).max()
    np.testing.assert_allclose(picked.score[0], first, rtol=1e-6)


def test_far_from_the_origin_picks_stay_exact():
    """Expanded squares lose these digits in float32; differences do not."""
    rng = np.random.default_rng(1)
    points = (30 + 0.05 * rng.normal(size=(400, 32))).astype(np.float32)
    picked = k_center.select(points, 40, labelled=[3])
    assert picked.row.tolist() == greedy(points, [3], 40)


def test_normalized_features_ignore_the_length():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(100, 5)).astype(np.float32)
    scaled = points * rng.uniform(0.1, 10, (100, 1)).astype(np.float32)
    taken = np.arange(100) < 2
    acquire = plugin.make(features="normalized")
    unit = points / np.linalg.norm(points, axis=-1, keepdims=True)
    picked = acquire(Evidence(scaled, {}, None), taken, 10, jax.random.key(0))
    assert picked.row.tolist() == greedy(unit, [0, 1], 10)


def test_head_features_are_those_of_the_classifier():
    rng = np.random.default_rng(3)
    embedding, head = rng.normal(size=(2, 100, 5)).astype(np.float32)
    taken = np.arange(100) < 2
    acquire = plugin.make(features="head")
    evidence = Evidence(embedding, {"classifier.features": head}, None)
    picked = acquire(evidence, taken, 10, jax.random.key(0))
    assert picked.row.tolist() == greedy(head, [0, 1], 10)


def test_missing_head_features_are_named():
    evidence = Evidence(np.ones((3, 2), np.float32), {}, None)
    with pytest.raises(errors.InputError, match=r"classifier\.features"):
        plugin.make(features="head")(evidence, np.zeros(3, bool), 1, jax.random.key(0))


@pytest.mark.parametrize(
    ("points", "centers", "budget", "message"),
    [
        (np.ones((3, 2)), None, 4, "budget=4 .* 3 points"),
        (np.ones((3, 2)), None, 1.5, "budget .* 1.5"),
        (np.ones((3, 2)), [0, 1], 2, "budget=2 .* 1 points"),
        (np.ones((3, 2)), [3], 1, "labelled: 3 .* 0 .. 2"),
        (np.ones((3, 2)), [0, 1, 0], 1, "labelled .* 0 or 1 .* 3 rows.* bool"),
        (np.ones((3, 2)), [True, False], 1, r"labelled .* bool\[3\].* bool\[2\]"),
        (np.ones((3, 2)), [1.5], 1, "labelled .* float64"),
        (np.ones(3), None, 1, r"features .* \(3,\)"),
        (np.full((3, 2), np.nan), None, 1, "features .* row 0 "),
    ],
)
def test_bad_input_is_rejected(points, centers, budget, message):
    centers = None if centers is None else np.array(centers)
    with pytest.raises(errors.InputError, match=message):
        k_center.select(points, budget, labelled=centers)


def test_distances_are_returned_with_the_rows():
    points = np.array([[0.0], [1.0], [5.0]])
    row, distance = dact_jax.k_center(points, 3, return_distances=True)
    assert (row.tolist(), distance.tolist()) == ([0, 2, 1], [np.inf, 5, 1])
    assert (row.dtype, distance.dtype) == (np.int32, np.float32)


class Tensor:
    """A tensor of PyTorch, as far as NumPy sees it."""

    def __init__(self, values, fault=None):
        self.values, self.fault = values, fault

    def __array__(self, dtype=None, copy=None):
        if self.fault is not None:
            raise self.fault
        return self.values


def test_tensors_and_lists():
    points = [[0.0], [1.0], [3.0]]
    for given in (points, Tensor(np.array(points)), np.ma.array(points)):
        assert dact_jax.k_center(given, 2).tolist() == [0, 2]
    assert dact_jax.k_center(points, 1, labelled=Tensor(np.array([2]))).tolist() == [0]


@pytest.mark.parametrize(
    "points",
    [
        Tensor(None, RuntimeError("Can't call numpy() on Tensor that requires grad.")),
        Tensor(None, TypeError("can't convert cuda:0 device type tensor to numpy.")),
        Tensor(None, TypeError("Got unsupported ScalarType BFloat16")),
        [[1.0], [2.0, 3.0]],
    ],
)
def test_what_numpy_cannot_convert_is_told(points):
    with pytest.raises(
        errors.InputError, match=r"features .*float\(\)\.cpu\(\)"
    ) as told:
        dact_jax.k_center(points, 1)
    assert "\n" not in str(told.value)


def test_masked_numbers_are_rejected():
    masked = np.ma.array(np.ones((3, 2)), mask=[[0, 0], [0, 1], [0, 0]])
    with pytest.raises(errors.InputError, match=r"features .* 1 are masked"):
        dact_jax.k_center(masked, 1)
    rows = np.ma.array([0, 1], mask=[False, True])
    with pytest.raises(errors.InputError, match=r"labelled .* 1 are masked"):
        dact_jax.k_center(np.ones((3, 2)), 1, labelled=rows)


def test_unknown_features_are_rejected():
    with pytest.raises(errors.InputError, match="features='raw'"):
        plugins.check("acquisitions", "k_center", {"features": "raw"})


def test_no_pick():
    assert k_center.select(jnp.ones((2, 1)), 0).row.size == 0


SLOW = ("flax", "optax", "orbax", "tensorflow_datasets", "sklearn", "matplotlib")
ALONE = f"""
import sys
import dact_jax
assert dact_jax.k_center([[0.0], [1.0], [3.0]], 2).tolist() == [0, 2]
print(*[name for name in {SLOW} if name in sys.modules])
"""


def test_k_center_loads_only_what_it_needs():
    process = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == ""
