"""AADA (Su et al., WACV 2020): unsure images that look like the target domain.

The importance weight of a domain discriminator times the entropy of the classifier;
labels are bought for a random few of the highest scores.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

NEEDS = ("discriminator",)  # outputs that it reads besides the classifier's
_LARGEST = np.float32(88)  # e^88 is finite in float32, and so is every score


def make(*, share: float = 0.02) -> Acquire:
    """A uniform draw from the highest scores among the rows that are not taken.

    It draws from the first max(budget, int(share * rows left)): the reference fails
    where the share holds fewer rows than the budget.

    Args:
      share: the part of the rows left to draw from, in (0, 1].

    Raises:
      InputError: `share` is out of its range.
    """
    check(share=share)

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        logits = _ranking.matrix(
            evidence.outputs.get("classifier"), "classifier", taken.size
        )
        ratio = log_ratio(evidence.outputs.get("discriminator"), taken.size)
        log_score = np.asarray(ratio + jnp.log(_ranking.entropy(logits)))
        top = _ranking.highest(log_score, taken, max(budget, int(share * free.size)))
        # Ranks are drawn, not rows: the order of the pool has no say.
        rank = np.asarray(jax.random.permutation(key, top.size))[:budget]
        row = top[rank]
        return Picked(row, np.exp(np.minimum(log_score[row], _LARGEST)))

    return acquire


def check(*, share: float) -> None:
    """Raises InputError if the share is out of its range."""
    if not 0 < share <= 1:
        raise errors.InputError(
            f"acquisitions.aada.share={share} must be above 0 and at most 1."
        )


def log_ratio(discriminator: Array | None, num_rows: int) -> jax.Array:
    """float32[N], log P(target) - log P(source) of each row.

    Args:
      discriminator: two logits a row, float32[N, 2], class 0 target and class 1
        source; or the one logit of the source, float32[N, 1] or float32[N].
      num_rows: N.

    Raises:
      InputError: it is missing, or has another shape.
    """
    shape = np.shape(discriminator) if discriminator is not None else None
    if shape not in ((num_rows, 2), (num_rows, 1), (num_rows,)):
        found = "none" if shape is None else f"one of shape {shape}"
        raise errors.InputError(
            "acquisition 'aada' needs the head 'discriminator' with one or two logits "
            f"for each of {num_rows} images, and there is {found}."
        )
    assert discriminator is not None  # None has no shape
    columns = np.reshape(discriminator, (num_rows, -1))
    logits = _ranking.matrix(columns, "discriminator", num_rows)
    if logits.shape[1] == 1:
        return -logits[:, 0]
    return logits[:, 0] - logits[:, 1]
