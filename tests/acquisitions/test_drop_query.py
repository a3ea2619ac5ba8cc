"""DropQuery's candidates as the paper reads; k-means itself is that of the package."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.acquisitions import clue, drop_query
from dact_jax.geometry import k_means
from tests.acquisitions import cases


def share_changed(given):
    logits, dropped = (given.outputs[n] for n in ("classifier", "classifier.dropout"))
    return np.array(
        [np.mean([p.argmax() != z.argmax() for p in of_row])
         for z, of_row in zip(logits, dropped, strict=True)]
    )  # fmt: skip


@pytest.mark.parametrize("passes", ["most", "any"])
@pytest.mark.parametrize("features", ["embedding", "input"])
def test_one_of_each_cluster_of_the_candidates(passes, features, key):
    given, taken = cases.evidence(1), cases.taken()
    given = given._replace(input=given.embedding[:, ::-1] * 2 + 1)
    share = share_changed(given)
    least = 0.6 if passes == "most" else 0.3
    rows = np.flatnonzero((share > least) & ~taken)
    assert 6 < len(rows) < 45
    points, weight = getattr(given, features), np.isin(np.arange(60), rows)
    clusters = k_means.k_means(points, weight, 5, key=key)
    row, _ = clue.nearest(points, clusters.centroid, rows)
    acquire = drop_query.make(passes=passes, features=features)
    picked = acquire(given, taken, 5, key)
    assert picked.row.tolist() == row.tolist()
    np.testing.assert_allclose(picked.score, share[row], rtol=1e-6)


def test_too_few_candidates_are_filled_by_entropy(key):
    given, taken = cases.evidence(2), cases.taken()
    logits = given.outputs["classifier"]
    dropped = np.repeat(logits[:, None], 3, 1)
    dropped[[5, 9, 12], :2] *= -1  # 12 is taken
    dropped[7, :1] *= -1  # one pass of three
    outputs = {"classifier": logits, "classifier.dropout": dropped}
    picked = drop_query.make()(given._replace(outputs=outputs), taken, 6, key)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    entropy = -(p * np.log(p)).sum(1)
    others = [i for i in np.argsort(-entropy) if not taken[i] and i not in (5, 9)]
    assert sorted(picked.row[:2]) == [5, 9]
    assert picked.row[2:].tolist() == others[:4]
    assert (picked.score[:2] > 0.6).all()
    assert (picked.score[2:] < 0.4).all()


def test_what_it_reads_must_be_there(key):
    given, taken = cases.evidence(), cases.taken()
    logits = given.outputs["classifier"]
    bare = given._replace(outputs={"classifier": logits})
    with pytest.raises(errors.InputError, match=r"'classifier\.dropout'"):
        drop_query.make()(bare, taken, 1, key)
    bare.outputs["classifier.dropout"] = logits
    with pytest.raises(errors.InputError, match=r"float\[60, passes, 5\]"):
        drop_query.make()(bare, taken, 1, key)
    wrong = given.outputs["classifier.dropout"].copy()
    wrong[4, 1, 2] = np.nan
    bare.outputs["classifier.dropout"] = wrong
    with pytest.raises(errors.InputError, match="row 4 is not"):
        drop_query.make()(bare, taken, 1, key)
