"""What aada, badge, entropy and margin rank by; test_contracts.py holds the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.acquisitions import (
    _ranking,
    aada,
    badge,
    clue,
    entropy,
    k_center,
    margin,
    random,
)
from dact_jax.types import Evidence
from tests import toy

GOLDEN = toy.golden("aada")


def evidence(classifier, discriminator=None, embedding=None):
    outputs = {"classifier": np.asarray(classifier, np.float32)}
    if discriminator is not None:
        outputs["discriminator"] = np.asarray(discriminator, np.float32)
    if embedding is None:
        embedding = np.ones((len(classifier), 1))
    return Evidence(np.asarray(embedding, np.float32), outputs, None)


def log_odds(*probability):
    """Logits [N, 2] of these probabilities of the first class."""
    p = np.array(probability)
    return np.log(np.stack([p, 1 - p], -1))


# --- aada -----------------------------------------------------------------------


def golden_evidence():
    logits = GOLDEN["cls_logits"]
    domain = logits @ GOLDEN["disc_weight"].T + GOLDEN["disc_bias"]
    return evidence(logits, domain), GOLDEN["labeled_mask"].astype(bool)


def test_aada_score_and_order_are_the_reference_s(key):
    pool, taken = golden_evidence()
    free = GOLDEN["unlabeled_idx"]
    np.testing.assert_allclose(
        pool.outputs["discriminator"][free], GOLDEN["disc_logits"], rtol=1e-4
    )
    picked = aada.make(share=1.0)(pool, taken, free.size, key)
    place = np.searchsorted(free, picked.row)
    np.testing.assert_allclose(
        picked.score, GOLDEN["score"][place], rtol=1e-3, atol=1e-5
    )
    by_score = picked.row[np.argsort(-picked.score)]
    np.testing.assert_array_equal(by_score, free[GOLDEN["order_desc"]])


def test_aada_factors_are_the_reference_s():
    free = GOLDEN["unlabeled_idx"]
    ratio = aada.log_ratio(GOLDEN["disc_logits"], free.size)
    np.testing.assert_allclose(jnp.exp(ratio), GOLDEN["D_weight"], rtol=1e-3)
    unsure = _ranking.entropy(jnp.asarray(GOLDEN["cls_logits"][free]))
    np.testing.assert_allclose(unsure, GOLDEN["entropy"], rtol=1e-3, atol=1e-5)


def test_aada_draws_from_the_top_share(key):
    pool, taken = golden_evidence()
    acquire, top = aada.make(), set(GOLDEN["topN_pool_idx"].tolist())
    assert set(GOLDEN["selected"].tolist()) <= top
    draws = []
    for number in range(60):
        row = acquire(pool, taken, 5, jax.random.fold_in(key, number)).row
        assert set(row.tolist()) <= top
        draws.append(row)
    assert {row[0] for row in draws} == top  # each of the 13 comes first at times
    all_of_it = acquire(pool, taken, int(GOLDEN["top_N"]), key)
    assert set(all_of_it.row.tolist()) == top


def test_aada_takes_the_best_where_the_share_is_less_than_the_budget(key):
    pool, taken = golden_evidence()
    picked = aada.make(share=0.001)(pool, taken, 20, key)  # 0.1 % is no row
    best = GOLDEN["unlabeled_idx"][GOLDEN["order_desc"][:20]]
    assert sorted(picked.row.tolist()) == sorted(best.tolist())
    assert picked.row.tolist() != best.tolist()  # the order is random


def test_aada_reads_one_logit_of_the_source_too(key):
    rng = np.random.default_rng(0)
    logits, source = rng.normal(size=(50, 4)), rng.normal(size=50)
    taken = np.arange(50) % 5 == 0
    forms = [np.stack([0 * source, source], -1), source, source[:, None]]
    two, flat, column = (
        aada.make(share=0.2)(evidence(logits, form), taken, 6, key) for form in forms
    )
    for other in (flat, column):
        np.testing.assert_array_equal(two.row, other.row)
        np.testing.assert_allclose(two.score, other.score, rtol=1e-6)


def test_aada_ranks_where_the_ratio_overflows(key):
    source = np.array([-500.0, -300.0, -400.0, 300.0])
    logits = np.zeros((4, 3))
    taken = np.zeros(4, bool)
    picked = aada.make(share=1e-6)(evidence(logits, source), taken, 1, key)
    assert picked.row.tolist() == [0]
    every = aada.make()(evidence(logits, source), taken, 4, key)
    assert np.isfinite(every.score).all()
    assert every.score[every.row == 3] == 0


@pytest.mark.parametrize("shape", [None, (6, 3), (5, 2), (2, 6), (6, 1, 1)])
def test_aada_without_a_discriminator_is_an_error(shape, key):
    domain = None if shape is None else np.zeros(shape)
    pool = evidence(np.zeros((6, 3)), domain)
    with pytest.raises(errors.InputError, match=r"'aada'.*'discriminator'.* 6 "):
        aada.make()(pool, np.zeros(6, bool), 2, key)
    assert aada.NEEDS == ("discriminator",)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_aada_rejects_a_share_out_of_range(share):
    with pytest.raises(errors.InputError, match=f"aada.share={share}"):
        plugins.load("acquisitions", "aada", share=share)


# --- entropy and margin ---------------------------------------------------------


def test_entropy_by_hand(key):
    pool = evidence(log_odds(0.9, 0.5, 0.2, 0.5, 0.99))
    picked = entropy.make()(pool, np.array([0, 1, 0, 0, 0], bool), 3, key)
    assert picked.row.tolist() == [3, 2, 0]
    np.testing.assert_allclose(picked.score, [0.693147, 0.500402, 0.325083], rtol=1e-5)


def test_margin_by_hand(key):
    pool = evidence(np.log([[0.5, 0.3, 0.2], [0.4, 0.2, 0.4], [0.1, 0.8, 0.1]]))
    picked = margin.make()(pool, np.zeros(3, bool), 3, key)
    assert picked.row.tolist() == [1, 0, 2]
    np.testing.assert_allclose(picked.score, [0.0, 0.2, 0.7], rtol=1e-5, atol=1e-7)


def test_a_small_margin_keeps_its_digits(key):
    pool = evidence([[1e-6, 0.0]])
    picked = margin.make()(pool, np.zeros(1, bool), 1, key)
    np.testing.assert_allclose(picked.score, [5e-7], rtol=1e-5)


@pytest.mark.parametrize("module", [entropy, margin])
def test_ties_go_to_the_lowest_row(module, key):
    pool = evidence(log_odds(0.7, 0.5, 0.7, 0.3, 0.7))
    picked = module.make()(pool, np.zeros(5, bool), 5, key)
    assert picked.row.tolist() == [1, 0, 2, 3, 4]


def test_margin_needs_two_classes(key):
    with pytest.raises(errors.InputError, match=r"'margin'.* 2 classes"):
        margin.make()(evidence(np.zeros((3, 1))), np.zeros(3, bool), 1, key)


# --- badge ----------------------------------------------------------------------


def gradients(pool):
    """float64[N, K F], as BADGE defines them."""
    logits = pool.outputs["classifier"].astype(np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    p[np.arange(len(p)), p.argmax(-1)] -= 1
    outer = p[:, :, None] * pool.embedding[:, None].astype(np.float64)
    return p.astype(np.float32), outer.reshape(len(p), -1)


def badge_evidence(num=60):
    rng = np.random.default_rng(3)
    return evidence(rng.normal(size=(num, 4)), None, rng.normal(size=(num, 5)) + 2)


def test_badge_distances_are_those_of_the_outer_products():
    pool = badge_evidence()
    a, dense = gradients(pool)
    for row in (0, 17):
        squared = badge.squared_distances(
            jnp.asarray(pool.embedding), jnp.asarray(a), jnp.int32(row)
        )
        expected = ((dense - dense[row]) ** 2).sum(-1)
        np.testing.assert_allclose(squared, expected, rtol=1e-4, atol=1e-6)
        assert squared[row] == 0


def test_badge_starts_with_the_longest_and_scores_by_distance(key):
    pool = badge_evidence()
    _, dense = gradients(pool)
    length = np.linalg.norm(dense, axis=-1)
    taken = np.arange(60) == length.argmax()
    picked = badge.make()(pool, taken, 12, key)
    assert picked.row[0] == np.where(taken, 0, length).argmax()
    np.testing.assert_allclose(picked.score[0], length[picked.row[0]], rtol=1e-5)
    for number in range(1, 12):
        gap = dense[picked.row[number]] - dense[picked.row[:number]]
        nearest = np.linalg.norm(gap, axis=-1).min()
        np.testing.assert_allclose(picked.score[number], nearest, rtol=1e-4)


def test_badge_draws_by_squared_distance(key):
    pool = badge_evidence(8)
    _, dense = gradients(pool)
    acquire, taken = badge.make(), np.arange(8) == 2
    first = np.where(taken, 0, (dense**2).sum(-1)).argmax()
    mass = np.where(taken, 0, ((dense - dense[first]) ** 2).sum(-1))
    draws = 600
    second = [
        acquire(pool, taken, 2, jax.random.fold_in(key, number)).row[1]
        for number in range(draws)
    ]
    share = np.bincount(second, minlength=8) / draws
    assert share[2] == share[first] == 0
    expected = mass / mass.sum()
    sigma = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(share - expected) <= 4 * sigma).all()


def test_badge_draws_repeats_last_and_each_row_once(key):
    base = badge_evidence(5)
    pool = evidence(
        np.repeat(base.outputs["classifier"], 4, 0),
        None,
        np.repeat(base.embedding, 4, 0),
    )
    picked = badge.make()(pool, np.zeros(20, bool), 20, key)
    assert sorted(picked.row.tolist()) == list(range(20))
    assert {row // 4 for row in picked.row[:5].tolist()} == set(range(5))
    assert (picked.score[:5] > 0).all()
    assert (picked.score[5:] == 0).all()


def test_badge_where_every_gradient_is_zero(key):
    pool = evidence(np.full((20, 4), 1.0), None, np.zeros((20, 5)))
    rows = [
        badge.make()(pool, np.zeros(20, bool), 20, jax.random.fold_in(key, i)).row
        for i in range(20)
    ]
    assert all(len(set(row.tolist())) == 20 for row in rows)
    assert len({int(row[1]) for row in rows}) > 2  # uniform, not the lowest row


# --- what they share ------------------------------------------------------------


def test_draw_keeps_to_the_masses(key):
    mass = jnp.array([0.0, 3.0, 0.0, 1.0, 0.0])
    row = np.asarray(badge.draw(mass, 4000, key))
    assert set(row.tolist()) == {1, 3}
    assert abs((row == 1).mean() - 0.75) < 0.03


def test_draw_where_the_sum_of_masses_would_overflow(key):
    mass = jnp.array([2.0**125, 0.0, 2.0**126] + 60 * [2.0**125], jnp.float32)
    row = np.asarray(badge.draw(mass, 4000, key))
    assert set(row.tolist()) == {*range(63)} - {1}
    assert abs((row == 2).mean() - 2 / 63) < 0.02


@pytest.mark.parametrize("module", [aada, badge, entropy, margin, random])
def test_a_budget_out_of_range_is_rejected(module, key):
    pool = evidence(np.zeros((5, 3)), np.zeros((5, 2)))
    taken = np.arange(5) < 2
    with pytest.raises(errors.InputError, match=r"budget=4.* 3 "):
        module.make()(pool, taken, 4, key)
    with pytest.raises(errors.InputError, match="budget=-1"):
        module.make()(pool, taken, -1, key)


@pytest.mark.parametrize("module", [aada, badge, entropy, margin])
@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (np.full((5, 3), np.nan), "'classifier' .*NaN"),
        (np.zeros((4, 3)), r"'classifier' .*\[5, .*\(4, 3\)"),
        (np.zeros(5), r"'classifier' .*\[5, .*\(5,\)"),
        (np.zeros((5, 0)), r"'classifier' .*\[5, .*\(5, 0\)"),
        (None, "no 'classifier'"),
    ],
)
def test_bad_logits_are_rejected(module, classifier, message, key):
    outputs = {"discriminator": np.zeros((5, 2), np.float32)}
    if classifier is not None:
        outputs["classifier"] = classifier.astype(np.float32)
    pool = Evidence(np.zeros((5, 2), np.float32), outputs, None)
    with pytest.raises(errors.InputError, match=message):
        module.make()(pool, np.zeros(5, bool), 2, key)


READS = {badge: "'embedding'", clue: "points", k_center: "features"}


@pytest.mark.parametrize("module", READS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e19, 1e20])
def test_what_k_center_refuses_all_refuse(module, value, key):
    embedding = np.zeros((5, 2))
    embedding[3, 1] = value
    pool = evidence(np.zeros((5, 3)), None, embedding)
    with pytest.raises(errors.InputError, match=f"{READS[module]} .*NaN.*row 3 "):
        module.make()(pool, np.zeros(5, bool), 2, key)


@pytest.mark.parametrize("module", [aada, badge, clue, entropy, margin])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e20, 3e38])
def test_logits_whose_differences_would_overflow_are_rejected(module, value, key):
    logits = np.zeros((5, 3))
    logits[3, 1] = value
    with pytest.raises(errors.InputError, match=r"'classifier' .*NaN.*row 3 "):
        module.make()(evidence(logits, np.zeros((5, 2))), np.zeros(5, bool), 2, key)


def test_the_longest_vectors_that_are_accepted_give_finite_scores(key):
    rng = np.random.default_rng(0)
    logits, embedding = rng.normal(size=(300, 3)), rng.normal(size=(300, 4))
    scale = 2.0**59.9 / np.linalg.norm(embedding, axis=1).max()
    pool = evidence(3 * logits, None, scale * embedding)
    for module in READS:
        picked = module.make()(pool, np.zeros(300, bool), 20, key)
        finite = np.isfinite(picked.score)
        assert finite[1:].all()
        assert finite[0] or module is k_center
        assert len(set(picked.row.tolist())) == 20
