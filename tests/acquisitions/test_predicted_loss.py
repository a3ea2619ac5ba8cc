"""Which source samples D_AcT keeps: scores, ties, and whose labels are read."""

import tracemalloc

import jax
import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.acquisitions import predicted_loss
from dact_jax.types import Evidence

SCORES = ("pair", "mean_pair", "pred", "actual", "absdiff")


def evidence(predicted, actual=None):
    outputs = {"predicted_loss": np.asarray(predicted, np.float32)}
    if actual is not None:
        outputs["actual_loss"] = np.asarray(actual, np.float32)
    return Evidence(np.ones((len(predicted), 1), np.float32), outputs, None)


def losses(num, seed=0):
    """Predicted and actual, related but not the same."""
    rng = np.random.default_rng(seed)
    actual = rng.gamma(1.0, size=num).astype(np.float32)
    return (actual + rng.normal(size=num)).astype(np.float32), actual


def hinge(predicted, actual, i, j, margin):
    sign = 1 if actual[i] > actual[j] else -1
    return max(0.0, margin - sign * (float(predicted[i]) - float(predicted[j])))


def brute(predicted, actual, margin):
    """float64[n], mean_pair by its definition."""
    rows = range(len(predicted))
    return [
        np.mean([hinge(predicted, actual, i, j, margin) for j in rows if j != i])
        for i in rows
    ]


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("num", [2, 61])
def test_mean_pair_equals_the_definition(num, margin):
    predicted, actual = losses(num)
    actual = np.round(actual, 1)  # with ties
    value = predicted_loss.scores(
        "mean_pair", predicted, actual, order=np.arange(num), margin=margin
    )
    assert value.dtype == np.float64
    expected = brute(predicted, actual, margin)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)


def test_mean_pair_of_a_perfect_order_is_exactly_zero():
    """So that ties stay ties: a row is not compared with itself."""
    predicted = np.float32(0.1) * np.arange(1, 40, dtype=np.float32)
    value = predicted_loss.scores(
        "mean_pair", predicted, predicted, order=np.arange(39), margin=0.03
    )
    np.testing.assert_array_equal(value, 0)


def test_mean_pair_of_one_row_is_zero(key):
    picked = predicted_loss.make(score="mean_pair")(
        evidence([2.0], [1.0]), np.zeros(1, bool), 1, key
    )
    assert (picked.row.tolist(), picked.score.tolist()) == ([0], [0.0])


def test_mean_pair_holds_no_square_of_the_pool():
    """Which would be 200 MB."""
    predicted, actual = losses(5000)
    tracemalloc.start()
    predicted_loss.scores(
        "mean_pair", predicted, actual, order=np.arange(5000), margin=1.0
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_pairs_by_hand():
    predicted, actual = np.array([0.5, 2.0, 1.0, 4.0, 9.0]), np.array([1, 1, 2, 3, 0.0])
    value = predicted_loss.scores(
        "pair", predicted, actual, order=np.array([3, 1, 4, 0, 2]), margin=1.0
    )
    # (3, 2): 3 > 2, lhat 3 apart: 0. (1, 0): a tie, so I = -1: 1 + (2 - 0.5).
    # 4 is left in the middle, paired with itself.
    np.testing.assert_allclose(value, [2.5, 2.5, 0, 0, 1.0])


def test_both_members_of_a_pair_inherit_its_loss(key):
    predicted, actual = losses(41)
    taken = np.arange(41) % 4 == 0
    picked = predicted_loss.make()(evidence(predicted, actual), taken, 30, key)
    score = dict(zip(picked.row.tolist(), picked.score.tolist(), strict=True))
    free = np.flatnonzero(~taken)
    seed = np.asarray(jax.random.key_data(key))
    order = free[np.random.default_rng(seed).permutation(30)]
    for one, other in zip(order[:15], order[:14:-1], strict=True):
        expected = hinge(predicted, actual, one, other, 1.0)
        assert score[one] == score[other]
        np.testing.assert_allclose(score[one], expected, rtol=1e-6)


def test_the_pairing_follows_the_key(key):
    pool, no_row = evidence(*losses(200)), np.zeros(200, bool)
    acquire = predicted_loss.make()
    once, again = (acquire(pool, no_row, 20, key) for _ in range(2))
    other = acquire(pool, no_row, 20, jax.random.key(1))
    np.testing.assert_array_equal(once.row, again.row)
    np.testing.assert_array_equal(once.score, again.score)
    assert once.row.tolist() != other.row.tolist()


@pytest.mark.parametrize("score", ["pair", "mean_pair", "actual", "absdiff"])
def test_ties_go_to_the_lower_predicted_loss_and_then_the_lower_row(score, key):
    """All scores are equal."""
    predicted = np.array([3, 1, 2, 1, 2, 3], np.float32)
    actual = predicted if score == "absdiff" else np.ones(6, np.float32)
    if score in ("pair", "mean_pair"):
        actual = 10 * predicted  # rightly ordered, or equal
    acquire = predicted_loss.make(score=score, margin=0.0)
    picked = acquire(evidence(predicted, actual), np.zeros(6, bool), 6, key)
    assert len(set(picked.score.tolist())) == 1
    assert picked.row.tolist() == [1, 3, 2, 4, 0, 5]


def test_pred_goes_by_predicted_loss_and_then_by_row(key):
    acquire = predicted_loss.make(score="pred")
    picked = acquire(evidence([3, 1, 2, 1, -2, 3]), np.arange(6) == 1, 5, key)
    assert picked.row.tolist() == [4, 3, 2, 0, 5]
    assert picked.score.tolist() == [-2, 1, 2, 3, 3]


def test_actual_and_absdiff_by_hand(key):
    pool = evidence([5.0, 1.0, 2.0], [4.0, 3.0, 2.5])
    no_row = np.zeros(3, bool)
    for score, row, value in (
        ("actual", [2, 1, 0], [2.5, 3, 4]),
        ("absdiff", [2, 0, 1], [0.5, 1, 2]),
    ):
        picked = predicted_loss.make(score=score)(pool, no_row, 3, key)
        assert picked.row.tolist() == row
        np.testing.assert_allclose(picked.score, value)


def test_in_large_pools_ties_decide(key):
    """Many pairs have loss 0; by predicted loss, ties choose samples of small loss."""
    predicted, actual = losses(4000)
    picked = predicted_loss.make()(
        evidence(2 * predicted, actual), np.zeros(4000, bool), 100, key
    )
    assert (picked.score == 0).all()
    assert actual[picked.row].mean() < 0.5 * actual.mean()


@pytest.mark.parametrize("score", SCORES)
def test_taken_rows_have_no_influence(score, key):
    """Taken rows are neither picked nor paired: their losses change nothing."""
    predicted, actual = losses(60)
    taken = np.arange(60) % 3 == 0
    acquire = predicted_loss.make(score=score)
    picked = acquire(evidence(predicted, actual), taken, 25, key)
    moved = evidence(
        np.where(taken, -50, predicted), np.where(taken, 70 * actual, actual)
    )
    again = acquire(moved, taken, 25, key)
    assert not taken[picked.row].any()
    np.testing.assert_array_equal(picked.row, again.row)
    np.testing.assert_array_equal(picked.score, again.score)
    assert (np.diff(picked.score) >= 0).all()


@pytest.mark.parametrize("score", sorted(set(SCORES) - {"pair"}))
def test_without_pairing_the_order_of_the_pool_does_not_matter(score, key):
    predicted, actual = losses(50)
    order = np.random.default_rng(1).permutation(50)
    taken = np.arange(50) % 4 == 0
    acquire = predicted_loss.make(score=score)
    picked = acquire(evidence(predicted, actual), taken, 20, key)
    moved = acquire(evidence(predicted[order], actual[order]), taken[order], 20, key)
    np.testing.assert_array_equal(order[moved.row], picked.row)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("budget", [0, 3])
def test_labels_that_were_read_are_counted(score, budget, key):
    taken = np.arange(30) < 8
    picked = predicted_loss.make(score=score)(evidence(*losses(30)), taken, budget, key)
    assert picked.labels_read == (0 if score == "pred" else 22)
    assert type(picked.labels_read) is int  # it is written as JSON


def test_nothing_left(key):
    picked = predicted_loss.make()(evidence(*losses(3)), np.ones(3, bool), 0, key)
    assert picked.row.size == picked.labels_read == 0


@pytest.mark.parametrize("score", sorted(set(SCORES) - {"pred"}))
def test_without_actual_losses(score, key):
    pool = evidence(losses(6)[0])
    message = rf"acquisitions\.predicted_loss\.score='{score}' .*'pred'"
    with pytest.raises(errors.InputError, match=message):
        predicted_loss.make(score=score)(pool, np.zeros(6, bool), 2, key)


@pytest.mark.parametrize(
    ("predicted", "actual", "message"),
    [
        (None, np.zeros(5), "'predicted_loss', .* 5 .* none"),
        (np.zeros((5, 1)), np.zeros(5), r"'predicted_loss', .* 5 .*\(5, 1\)"),
        (np.zeros(4), np.zeros(5), r"'predicted_loss', .* 5 .*\(4,\)"),
        (np.zeros(5), np.zeros(6), r"'actual_loss', .* 5 .*\(6,\)"),
        (np.full(5, np.nan), np.zeros(5), "'predicted_loss' .*NaN"),
        (np.zeros(5), np.full(5, np.inf), "'actual_loss' .*finite.*row 0 "),
    ],
)
def test_bad_losses_are_rejected(predicted, actual, message, key):
    outputs = {"actual_loss": actual}
    if predicted is not None:
        outputs["predicted_loss"] = predicted
    pool = Evidence(np.ones((5, 1), np.float32), outputs, None)
    with pytest.raises(errors.InputError, match=message):
        predicted_loss.make()(pool, np.zeros(5, bool), 2, key)


@pytest.mark.parametrize("score", SCORES)
def test_a_budget_out_of_range_is_rejected(score, key):
    acquire, taken = predicted_loss.make(score=score), np.arange(5) < 2
    with pytest.raises(errors.InputError, match=r"budget=4.* 3 "):
        acquire(evidence(*losses(5)), taken, 4, key)
    with pytest.raises(errors.InputError, match="budget=-1"):
        acquire(evidence(*losses(5)), taken, -1, key)


def test_bad_options_are_rejected():
    with pytest.raises(
        errors.InputError, match=r"predicted_loss\.score='pairs'.*'pair'"
    ):
        plugins.load("acquisitions", "predicted_loss", score="pairs")
    for margin in (-0.1, np.nan, np.inf):
        with pytest.raises(
            errors.InputError, match=rf"predicted_loss\.margin={margin}"
        ):
            plugins.load("acquisitions", "predicted_loss", margin=margin)
    assert predicted_loss.NEEDS == ("predicted_loss",)


def test_classes_come_in_proportion_or_equally_often(key):
    """Class 0 has the six lowest losses of nine; 1 has two, 2 one."""
    label = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
    loss = np.arange(9, dtype=np.float32)
    pool = evidence(loss, loss)._replace(label=label)
    no_row = np.zeros(9, bool)

    def pick(classes, budget, score="actual"):
        acquire = predicted_loss.make(score=score, classes=classes)
        return acquire(pool, no_row, budget, key)

    assert pick("any", 4).row.tolist() == [0, 1, 2, 3]
    assert pick("balanced", 4).row.tolist() == [0, 6, 8, 1]
    assert pick("balanced", 6).row.tolist() == [0, 6, 8, 1, 7, 2]
    assert label[pick("proportional", 9).row][:1] == [0]
    # Of three rows, two of the class that is two thirds of the pool.
    assert label[pick("proportional", 3).row].tolist() == [0, 0, 1]
    assert sorted(pick("proportional", 9).row.tolist()) == list(range(9))
    for classes, read in (("any", 0), ("balanced", 9), ("proportional", 9)):
        assert pick(classes, 2, "pred").labels_read == read


def test_classes_need_labels(key):
    loss = np.arange(5, dtype=np.float32)
    acquire = predicted_loss.make(score="pred", classes="balanced")
    with pytest.raises(errors.InputError, match=r"predicted_loss\.classes='balanced'"):
        acquire(evidence(loss, loss), np.zeros(5, bool), 2, key)
    with pytest.raises(errors.InputError, match=r"predicted_loss\.classes='all'"):
        plugins.load("acquisitions", "predicted_loss", classes="all")
