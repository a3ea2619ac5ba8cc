"""What a pool looks like without training: the field `input` of the evidence."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from dact_jax import devices
from dact_jax.data.readers import embeddings
from dact_jax.run_types import Run
from dact_jax.training import inference


def make_inputs(run: Run) -> Callable[[int], np.ndarray]:
    """Domain (SOURCE or TARGET) -> float32[N, D], of its pool, computed once.

    Vectors are taken as they are stored. Of images it is the embedding of the network
    that round 0 begins with: pre-trained, or with pretrained weights. It is never
    stored: a process that resumes the run computes the same.
    """

    @functools.cache
    def of_pool(domain: int) -> np.ndarray:
        pool = (run.task.source, run.task.target)[domain].train
        if embeddings.are_vectors(pool.image):
            image = pool.image
            rows = devices.whole(image) if isinstance(image, jax.Array) else image[:]
            return np.asarray(rows).reshape(len(rows), -1)
        evidence = inference.sweep(
            run.forward,
            run.train.variables,
            pool,
            domain,
            batch_size=run.evaluation.batch,
        )
        return evidence.embedding

    return of_pool
