"""The first labels, chosen by the acquisition before anything is adapted."""

import numpy as np
import pytest

from dact_jax import plugins
from dact_jax.policies import dual
from dact_jax.types import (
    START,
    TARGET,
    UNLABELED,
    Acquisitions,
    Evidence,
    Fitted,
    Lab,
    LossPredictor,
    Picked,
)
from tests.policies import test_dual

POINTS = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
GIVEN = np.arange(30) == 4
NOTHING = np.zeros(test_dual.NUM_TARGET, bool)  # is labelled in `test_dual`
OPTIONS = {"initial": 3, "per_round": 2, "purchases": 2, "start": "acquisition"}


def _lab(sweeps=None, **fields):
    def sweep(variables, domain):
        assert domain == TARGET
        if sweeps is not None:
            sweeps.append(variables)
        bought = np.full(30, UNLABELED, np.int32)
        return Evidence(POINTS, {}, None, POINTS + 1, bought)

    return Lab(sweep, np.arange(30) != 7, **fields)


def _never(*_):
    raise AssertionError("nothing may be swept here")


def _policy(name="single", acquire="k_center", **options):
    target = plugins.load("acquisitions", acquire) if acquire else _never
    acquire = Acquisitions(
        target=target, source=None, target_blind=plugins.blind(acquire or "k_center")
    )
    return plugins.load("policies", name, acquire, GIVEN, **{**OPTIONS, **options})


def _chosen(count, taken):
    """Greedy k-center by its definition, without the row that is not for sale."""
    taken, rows = list(taken), []
    for _ in range(count):
        gaps = np.linalg.norm(POINTS[:, None] - POINTS[taken], axis=-1).min(1)
        gaps[[*taken, 7]] = -1
        rows.append(int(gaps.argmax()))
        taken.append(rows[-1])
    return rows


def test_the_acquisition_ranks_by_the_given_network_before_round_0(key):
    policy, sweeps = _policy(), []
    assert policy.ranks_first
    lab = _lab()._replace(sweep=_never)
    first = policy.init(lab, 7, 30, key)
    assert first.again
    assert first.picked["target"].row.tolist() == [4]
    assert np.flatnonzero(first.pools.target).tolist() == [4]

    bought = policy.select(_lab(sweeps), "pretrained", first.pools, first.memory, key)
    assert sweeps == ["pretrained"]
    assert bought.picked["target"].row.tolist() == _chosen(3, [4])
    assert bought.picked["target"].origin == START
    assert not bought.again
    assert bought.columns["labels_target"] == 4
    later = policy.select(_lab(), "adapted", bought.pools, bought.memory, key)
    assert later.picked["target"].row.size == 2
    assert later.picked["target"].origin == ""
    assert later.pools.target.sum() == 6


def test_a_blind_acquisition_needs_no_sweep(key):
    policy = _policy(acquire="random")
    lab = _lab()._replace(sweep=_never)
    first = policy.init(lab, 7, 30, key)
    bought = policy.select(lab, None, first.pools, first.memory, key)
    row = bought.picked["target"].row
    assert len({*row.tolist()} - {4, 7}) == 3


@pytest.mark.parametrize("options", [{"start": "random"}, {"initial": 0}])
def test_otherwise_a_run_begins_as_ever(key, options):
    policy = _policy(acquire=None, **options)
    assert not policy.ranks_first
    first = policy.init(_lab()._replace(sweep=_never), 7, 30, key)
    assert not first.again
    assert first.memory == ()  # as in the checkpoints of earlier versions
    assert first.pools.target.sum() == 1 + (0 if "initial" in options else 3)


def test_an_image_is_left_to_adapt_to_where_a_person_skipped_the_others(key):
    policy = _policy()
    skipped = np.arange(30) > 6
    lab = Lab(_lab().sweep, ~skipped, skipped=skipped)
    first = policy.init(_lab(), 7, 30, key)
    many = _policy(initial=20)
    bought = many.select(lab, None, first.pools, first.memory, key)
    assert bought.pools.target.sum() == 6  # of the 7 that are not skipped


def test_evidence_is_cut_in_all_its_fields(key):
    seen = []

    def acquire(evidence, taken, budget, key):
        seen.append(evidence)
        return Picked(np.zeros(0, np.int32), np.zeros(0, np.float32))

    acquire = Acquisitions(target=acquire, source=None)
    policy = plugins.load("policies", "single", acquire, GIVEN, **OPTIONS)
    first = policy.init(_lab(), 7, 30, key)
    policy.select(_lab(), None, first.pools, first.memory, key)
    rows = np.flatnonzero(np.arange(30) != 7)
    np.testing.assert_array_equal(seen[0].embedding, POINTS[rows])
    np.testing.assert_array_equal(seen[0].input, POINTS[rows] + 1)
    assert seen[0].bought.shape == (29,)
    assert seen[0].label is None


def test_d_act_trains_its_predictor_on_the_labels_that_were_chosen(key):
    unions = []

    def fit(variables, pools, key):
        unions.append(np.flatnonzero(pools.target).tolist())
        return Fitted(variables, {})

    predictor = LossPredictor(np.float32(1), fit, lambda variables: 0.5, _never)
    policy = _policy("dual", source_per_round=1, source_rounds=2)
    lab = _lab(loss_predictor=predictor)
    first = policy.init(lab, 7, 30, key)
    assert policy.ranks_first
    assert first.again
    assert first.memory.line == dual.Line.START
    bought = policy.select(lab, None, first.pools, first.memory, key)
    assert bought.picked["target"].row.tolist() == _chosen(3, [4])
    assert bought.picked["target"].origin == START
    assert bought.again
    assert not bought.pools.source.any()
    trained = policy.select(lab, None, bought.pools, bought.memory, key)
    assert unions == [sorted([4, *_chosen(3, [4])])]
    assert trained.memory.line == dual.Line.CHOOSE


def test_d_act_resumed_after_any_step_is_the_same_run(key):
    def go(saved):
        world = test_dual.World(lambda source, target: 0.5)
        policy = test_dual.make(initial=2, start="acquisition", labelled=NOTHING)
        return test_dual.trace(world, policy, key, saved)

    saved = []
    whole = go(saved)
    assert whole.picked[1] == ("target", [11, 10])  # the first labels
    assert saved[0].memory.line == dual.Line.START
    assert whole.rows[0]["line"] == "buy target labels"
    for count in range(1, len(saved) + 1):
        again = go(saved[:count])
        np.testing.assert_array_equal(again.pools.source, whole.pools.source)
        np.testing.assert_array_equal(again.pools.target, whole.pools.target)
        assert again.memory.variables == whole.memory.variables
        assert again.picked == whole.picked[len(whole.picked) - len(again.picked) :]
