"""What every plug-in must do. Plug-ins are listed from the package, new ones too."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import plugins, select, select_methods
from dact_jax.training import optimizer, schedules, step
from dact_jax.types import (
    SOURCE,
    UNLABELED,
    Acquisitions,
    Evidence,
    Fitted,
    Lab,
    LossPredictor,
)
from tests import toy

METHODS = plugins.names("methods")
ACQUISITIONS = plugins.names("acquisitions")
POLICIES = plugins.names("policies")
# These draw rows by their index in the pool, so that its order changes their picks.
# (aada draws ranks.)
ORDER_DEPENDENT = (
    "random",
    "clue",
    "badge",
    "predicted_loss",
    "las",
    "typiclust",
    "drop_query",
    "prob_cover",
)


def _evidence(seed=0, num=40):
    """All that an acquisition may read; every fourth row is labelled."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num, 5)).astype(np.float32)
    embedding = rng.normal(size=(num, 6)).astype(np.float32)
    domain = rng.normal(size=(num, 2)).astype(np.float32)
    outputs = {"classifier": logits, "discriminator": domain}
    outputs["classifier.features"] = rng.normal(size=(num, 4)).astype(np.float32)
    dropped = logits[:, None] + rng.normal(size=(num, 3, 5))
    outputs["classifier.dropout"] = dropped.astype(np.float32)
    for name in ("predicted_loss", "actual_loss"):
        outputs[name] = rng.gamma(1.0, size=num).astype(np.float32)
    bought = np.where(_taken(num), rng.integers(0, 5, num), UNLABELED)
    stored = rng.normal(size=(num, 7)).astype(np.float32)
    return Evidence(embedding, outputs, None, stored, bought.astype(np.int32))


def _rows_of(evidence, rows):
    """A pool made of rows of another, which may repeat; none is labelled in it."""
    pool = jax.tree.map(lambda values: values[rows], evidence)
    return pool._replace(bought=np.full(len(rows), UNLABELED, np.int32))


def _taken(num=40):
    return np.arange(num) % 4 == 0


@pytest.mark.parametrize("name", ACQUISITIONS)
@pytest.mark.parametrize("budget", [0, 1, 7, 30])  # 30: all free rows
def test_acquisitions_pick_distinct_free_rows(name, budget, key):
    picked = plugins.load("acquisitions", name)(_evidence(), _taken(), budget, key)
    assert picked.row.dtype == np.int32
    assert picked.score.dtype == np.float32
    assert picked.row.shape == picked.score.shape == (budget,)
    assert len(set(picked.row.tolist())) == budget
    assert not _taken()[picked.row].any()


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_acquisitions_are_functions_of_the_key(name, key):
    acquire = plugins.load("acquisitions", name)
    first, second = (acquire(_evidence(), _taken(), 9, key) for _ in range(2))
    np.testing.assert_array_equal(first.row, second.row)


@pytest.mark.parametrize("name", sorted(set(ACQUISITIONS) - set(ORDER_DEPENDENT)))
def test_permuting_the_pool_permutes_the_picks(name, key):
    acquire, evidence = plugins.load("acquisitions", name), _evidence()
    order = np.random.default_rng(1).permutation(40)
    permuted = jax.tree.map(lambda values: values[order], evidence)
    picked = acquire(evidence, _taken(), 9, key)
    moved = acquire(permuted, _taken()[order], 9, key)
    np.testing.assert_array_equal(order[moved.row], picked.row)


def _pick(name, pool, taken, budget, key):
    """The picks, after checks of what holds for every pool."""
    picked = plugins.load("acquisitions", name)(pool, taken, budget, key)
    assert picked.row.shape == picked.score.shape == (budget,)
    assert len(set(picked.row.tolist())) == budget
    assert not taken[picked.row].any()
    assert not np.isnan(picked.score).any()
    return picked.row


TWO = np.array([3, 8])  # rows of a pool that make another
POOLS = {  # rows of `_evidence`, which rows are taken, budget
    "two_vectors": (TWO[np.arange(12) % 2], np.zeros(12, bool), 6),
    "two_vectors_of_which_one_is_taken": (
        TWO[np.arange(12) % 2],
        np.arange(12) % 2 == 0,
        6,
    ),
    "equal_rows": (np.full(12, 5), np.zeros(12, bool), 6),
    "equal_rows_of_which_some_are_taken": (np.full(12, 5), np.arange(12) < 6, 6),
    "one_row": (np.array([5]), np.zeros(1, bool), 1),
    "one_row_that_is_taken": (np.array([5]), np.ones(1, bool), 0),
    "the_whole_pool": (np.arange(12), np.zeros(12, bool), 12),
}


@pytest.mark.parametrize("name", ACQUISITIONS)
@pytest.mark.parametrize("case", POOLS)
def test_acquisitions_pick_distinct_rows_of_any_pool(name, case, key):
    rows, taken, budget = POOLS[case]
    _pick(name, _rows_of(_evidence(), rows), taken, budget, key)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_acquisitions_stand_ten_thousand_duplicates(name, key):
    rows = np.minimum(np.arange(10_020), 20)  # all but the first 20 rows are equal
    _pick(name, _rows_of(_evidence(), rows), np.zeros(10_020, bool), 6, key)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_acquisitions_take_half_precision_as_the_numbers_that_it_holds(name, key):
    def rounded(dtype):
        evidence = jax.tree.map(lambda x: x.astype(np.float16), _evidence())
        evidence = jax.tree.map(lambda x: x.astype(dtype), evidence)
        return evidence._replace(bought=_evidence().bought)

    half = _pick(name, rounded(np.float16), _taken(), 9, key)
    single = _pick(name, rounded(np.float32), _taken(), 9, key)
    np.testing.assert_array_equal(half, single)


@pytest.mark.parametrize("name", select_methods.methods())
def test_two_selections_with_one_seed_write_one_file(name, tmp_path, capsys):
    evidence, files = _evidence(), [tmp_path / "a.csv", tmp_path / "b.csv"]
    features, logits = tmp_path / "x.npz", tmp_path / "logits.npy"
    np.savez(features, features=evidence.embedding, label=evidence.bought)
    np.save(logits, evidence.outputs["classifier"])
    given = logits if plugins.needs_logits(name) else None
    for output in files:
        select.run(features, 7, method=name, logits=given, seed=3, output=output)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "rows",
    [
        {"num_norms": 1},
        {"num_norms": 2},
        {"num_norms": 2, "shared_affine": True},
    ],
    ids=["one_row", "two_rows", "shared_affine"],
)
def test_methods_train_every_head_and_compile_once(name, rows, key):
    method = toy.small(name)
    network = toy.network(method, toy.Normed(), **rows)
    variables = toy.drawn(network, (4, 4, 1))
    for head in method.heads:
        assert head in variables.params
    schedule = schedules.make("inverse", 0.01, 10)
    sgd = optimizer.sgd(schedule, groups=optimizer.Groups(weight_decay=0.0))
    state = before = step.init_state(toy.start(method, variables), sgd)
    advance = jax.jit(step.make_step(network, method, sgd, num_steps=10))
    for i in range(2):
        state, metrics = advance(state, toy.batch(jax.random.key(i), side=4), key)
        assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert advance._cache_size() == 1
    same = jax.tree.map(
        lambda a, b: a.shape == b.shape and a.dtype == b.dtype, before, state
    )
    assert all(jax.tree.leaves(same))
    for head in ("encoder", *method.heads):
        old, new = (each.variables.params[head] for each in (before, state))
        assert not toy.same(old, new), f"{head} was not trained"
    _check_rows(name, before.variables, state.variables)


def _check_rows(name, before, after):
    """Every norm row has changed, but ADDA's source row, whose encoder is frozen."""
    leaves = (jax.tree.leaves((each.norm, each.stats)) for each in (before, after))
    for old, new in zip(*leaves, strict=True):
        changed = [not np.array_equal(a, b) for a, b in zip(old, new, strict=True)]
        frozen = name == "adda" and len(changed) == 2
        assert changed == [not frozen, True][-len(changed) :], name


@pytest.mark.parametrize("name", METHODS)
def test_methods_work_before_any_target_label(name, key):
    method = toy.small(name)
    network = toy.network(method, toy.Normed())
    variables = toy.start(method, toy.drawn(network, (4, 4, 1)))
    batch = toy.batch(key, side=4, target=False)
    for loss in method.losses:
        compiled = jax.jit(functools.partial(loss, network))
        value, (after, metrics) = compiled(variables, batch, key, jnp.float32(0))
        assert np.isfinite(value)
        assert all(np.isfinite(metric) for metric in metrics.values())
        assert jax.tree.structure(after) == jax.tree.structure(variables)


class Number(NamedTuple):
    """Stands for a network."""

    value: np.ndarray


def _lab():
    """The label of target row 5 cannot be bought; all networks are equally accurate."""
    predictor = LossPredictor(
        initial=Number(np.float32(1)),
        fit=lambda variables, pools, key: Fitted(Number(variables.value + 1), {}),
        accuracy=lambda variables: 0.5,
        sweep=lambda variables: _evidence(SOURCE, 2000),
    )
    sweep = lambda variables, domain: _evidence(domain, 60)  # noqa: E731
    return Lab(sweep, np.arange(60) != 5, predictor)


STARTS = [(name, {}) for name in POLICIES] + [
    (name, {"start": "acquisition"})
    for name in POLICIES
    if "start" in plugins.options("policies", name)
]


@pytest.mark.parametrize(("name", "chosen"), STARTS)
def test_policies_only_grow_the_pools(name, chosen, key):
    num_source, num_target = 2000, 60
    options = plugins.options("policies", name)
    most = {  # picks of one selection
        "target": options.get("per_round", 0),
        "source": num_source // 8 if "source_rounds" in options else 0,
    }
    acquire = Acquisitions(
        target=plugins.load("acquisitions", "k_center"),
        source=plugins.load("acquisitions", "predicted_loss"),
    )
    policy = plugins.load("policies", name, acquire, np.arange(60) < 2, **chosen)
    assert policy.ranks_first == bool(chosen)
    selection = policy.init(_lab(), num_source, num_target, key)
    pools = selection.pools
    assert pools.source.shape == (num_source,)
    assert pools.target[selection.picked["target"].row].all()
    assert pools.target.sum() == selection.picked["target"].row.size
    for number in range(policy.num_selections + 1):
        begins_turn = number > 0  # init began the first turn
        while begins_turn or selection.again:
            turn_key = jax.random.fold_in(key, number)
            selection = policy.select(_lab(), None, pools, selection.memory, turn_key)
            _check_growth(pools, selection, most)
            pools, begins_turn = selection.pools, False
        assert pools.source.any()  # training can begin


def _check_growth(pools, selection, most):
    """The pools grow by the picks alone: free rows, within the budget."""
    for side, old, new in zip(
        ("source", "target"), pools, selection.pools, strict=True
    ):
        picked = selection.picked.get(side)
        row = np.zeros(0, np.int32) if picked is None else picked.row
        assert (new >= old).all()
        assert not old[row].any()
        assert row.size <= most[side]
        assert new.sum() == old.sum() + row.size
        assert new[row].all()
    assert not selection.pools.target[5]  # its label cannot be bought
