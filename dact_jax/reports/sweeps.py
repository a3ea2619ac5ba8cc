"""What the final network says of a run's images: computed once, for all pictures.

A sweep is made when it is asked for first, so a run without pictures makes none.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dact_jax.data.readers import embeddings, files
from dact_jax.rounds import evaluation
from dact_jax.run_types import Experiment, Run
from dact_jax.training import inference
from dact_jax.types import SOURCE, TARGET, Domain, Evidence, Examples

_MAX_SAMPLES = 1500  # of an embedding: more would be slow in t-SNE and unreadable
_MAX_PICKED = 1000  # largest number of picked samples among them
_MAX_COUNTED = 20_000  # vectors whose predicted classes are counted
_SEED = 0


class Part(NamedTuple):
    """A part of a pool: all of it, or `subset`."""

    rows: np.ndarray  # int64[n], ascending
    label: np.ndarray  # int32[n], as far as it is known
    embedding: np.ndarray  # float32[n, F]
    logits: np.ndarray  # float32[n, K]


class Sweeps(NamedTuple):
    """Of one state of a run."""

    part: Callable[[int], Part]  # of the pool of a domain
    counted: Callable[[], Part]  # of the target's pool, without regard to picks
    test: Callable[[], evaluation.Tested]


def lazily(run: Run, experiment: Experiment) -> Sweeps:
    """Sweeps that are made when they are asked for, each once."""

    @functools.cache
    def part(domain: int) -> Part:
        rows = subset(picked(experiment, domain))
        return _sweep(run, experiment, domain, rows)

    @functools.cache
    def counted() -> Part:
        total = len(run.task.target.train.label)
        vectors = embeddings.are_vectors(run.task.target.train.image)
        if not vectors or total <= len(part(TARGET).rows):
            return part(TARGET)
        rng = np.random.default_rng(_SEED)
        rows = np.sort(draw(rng, np.arange(total), _MAX_COUNTED))
        return _sweep(run, experiment, TARGET, rows)

    @functools.cache
    def test() -> evaluation.Tested:
        return evaluation.test(run, experiment.train.variables, experiment.pools)

    return Sweeps(part, counted, test)


def subset(picked: np.ndarray) -> np.ndarray:
    """Rows of a pool to draw: all, or a random part with at most 1000 picked ones.

    Args:
      picked: bool[N].

    Returns:
      int64[n] ascending, n <= 1500; the same for equal arguments.
    """
    rng = np.random.default_rng(_SEED)
    picked_rows = draw(rng, np.flatnonzero(picked), _MAX_PICKED)
    most = _MAX_SAMPLES - len(picked_rows)
    other_rows = draw(rng, np.flatnonzero(~picked), most)
    return np.sort(np.concatenate([picked_rows, other_rows]))


def domain_of(run: Run, domain: int) -> Domain:
    """SOURCE or TARGET as data."""
    return run.task.source if domain == SOURCE else run.task.target


def known(run: Run, experiment: Experiment, domain: int) -> np.ndarray:
    """int32[N], the labels of a pool: what was bought, else what the data hold."""
    label = np.asarray(domain_of(run, domain).train.label)
    if domain == SOURCE:
        return label
    return np.where(experiment.label >= 0, experiment.label, label)


def picked(experiment: Experiment, domain: int) -> np.ndarray:
    """bool[N], the picked rows; none if the whole pool is in use."""
    pools = experiment.pools
    pool = np.asarray(pools.source if domain == SOURCE else pools.target)
    return pool & (not pool.all())


def draw(rng: np.random.Generator, rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, at random."""
    return rng.choice(rows, min(most, len(rows)), replace=False)


def _sweep(run: Run, experiment: Experiment, domain: int, rows: np.ndarray) -> Part:
    label = known(run, experiment, domain)[rows]
    pool = domain_of(run, domain).train
    found: Evidence = inference.sweep(
        run.forward,
        experiment.train.variables,
        Examples(files.take(pool.image, rows), label),
        domain,
        batch_size=run.evaluation.batch,
    )
    return Part(rows, label, found.embedding, found.outputs["classifier"])
