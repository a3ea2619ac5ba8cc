"""AADA (Su et al., WACV 2020): uncertain images that look like the target domain.

The score is the importance weight of a domain discriminator times the entropy of the
classifier, s(x) = P(target | x) / P(source | x) * H(x). The picks are drawn uniformly
from the rows with the highest scores.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, kinds
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

NEEDS = ("discriminator",)  # outputs that it reads besides the classifier's
_MAX_LOG_SCORE = np.float32(88)  # e^88 is finite in float32, e^89 is not


OPTIONS = {
    "share": kinds.Option(
        kinds.real(kinds.SMALLEST, 1), "of the best-ranked rows that picks are drawn of"
    )
}


def make(*, share: float = 0.02) -> Acquire:
    """A uniform draw from the highest scores among the free rows.

    The draw is from the first max(budget, int(share * free rows)) rows; the reference
    code fails where the share holds fewer rows than the budget.

    Args:
      share: fraction of the free rows to draw from, in (0, 1].
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        logits = _ranking.class_logits(evidence, taken.size)
        ratio = log_ratio(evidence.outputs.get("discriminator"), taken.size)
        log_score = np.asarray(ratio + jnp.log(_ranking.entropy(logits)))
        top = _ranking.highest(log_score, taken, max(budget, int(share * free.size)))
        # Draw ranks, not rows, so that the order of the pool does not matter.
        rank = np.asarray(jax.random.permutation(key, top.size))[:budget]
        row = top[rank]
        return Picked(row, np.exp(np.minimum(log_score[row], _MAX_LOG_SCORE)))

    return acquire


def log_ratio(discriminator: Array | None, num_rows: int) -> jax.Array:
    """float32[N], log P(target) - log P(source) of each row.

    Args:
      discriminator: two logits a row, float32[N, 2], class 0 target and class 1
        source; or only the logit of the source, float32[N, 1] or float32[N].
      num_rows: N.

    Raises:
      InputError: the logits are missing, have another shape, or are not all finite.
    """
    shape = np.shape(discriminator) if discriminator is not None else None
    if shape not in ((num_rows, 2), (num_rows, 1), (num_rows,)):
        actual = "there is none" if shape is None else f"its shape is {shape}"
        raise errors.InputError(
            "acquisition 'aada' needs the head 'discriminator' with one or two logits "
            f"for each of {num_rows} images, but {actual}."
        )
    assert discriminator is not None  # None has no shape
    columns = np.reshape(discriminator, (num_rows, -1))
    logits = _ranking.finite_matrix(columns, "discriminator", num_rows)
    if logits.shape[1] == 1:
        return -logits[:, 0]
    return logits[:, 0] - logits[:, 1]
