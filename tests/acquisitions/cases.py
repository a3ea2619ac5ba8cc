"""Evidence that the tests of several acquisitions share."""

import numpy as np

from dact_jax.types import Evidence


def evidence(seed=0, num=60, width=6, classes=5):
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(num, width)).astype(np.float32)
    logits = (2 * rng.normal(size=(num, classes))).astype(np.float32)
    passes = logits[:, None] + 3 * rng.normal(size=(num, 3, classes)).astype(np.float32)
    outputs = {"classifier": logits, "classifier.dropout": passes.astype(np.float32)}
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
