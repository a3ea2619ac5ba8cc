"""Pools that every acquisition must cope with, for the tests of those that rank."""

import jax
import numpy as np

from dact_jax.types import Evidence


def evidence(seed=0, num=60, width=6, classes=5, dtype=np.float32):
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(num, width)).astype(dtype)
    logits = (2 * rng.normal(size=(num, classes))).astype(dtype)
    passes = logits[:, None] + 3 * rng.normal(size=(num, 3, classes)).astype(dtype)
    outputs = {"classifier": logits, "classifier.dropout": passes.astype(dtype)}
    return Evidence(embedding, outputs, None, input=embedding.copy())


def rows(given, index):
    """The evidence of some rows."""
    return Evidence(
        given.embedding[index],
        {name: values[index] for name, values in given.outputs.items()},
        None,
        input=given.input[index],
    )


def taken(num=60):
    return np.arange(num) % 4 == 0


def check_hard_pools(acquire):
    """Few distinct rows, all equal, one row, the whole pool, none, float16."""
    pool = evidence()
    hard = {
        "two": (rows(pool, np.arange(60) % 2), taken(), 6),
        "equal": (rows(pool, np.zeros(60, int)), taken(), 6),
        "one": (rows(pool, [0]), np.zeros(1, bool), 1),
        "whole": (pool, taken(), 45),
        "whole_untouched": (pool, np.zeros(60, bool), 60),
        "none": (pool, taken(), 0),
        "none_free": (pool, np.ones(60, bool), 0),
        "copies": (rows(pool, np.zeros(10_000, int)), taken(10_000), 9),
        "float16": (evidence(dtype=np.float16), taken(), 7),
    }
    for name, (given, labelled, budget) in hard.items():
        picked = acquire(given, labelled, budget, jax.random.key(0))
        assert picked.row.dtype == np.int32, name
        assert picked.score.dtype == np.float32, name
        assert picked.row.shape == picked.score.shape == (budget,), name
        assert len(set(picked.row.tolist())) == budget, name
        assert not labelled[picked.row].any(), name
        assert np.isfinite(picked.score).all(), name
