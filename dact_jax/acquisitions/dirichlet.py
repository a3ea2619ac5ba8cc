"""DUC (Xie et al., ICLR 2023): uncertain by distribution, then by data.

The logits z of a row give a Dirichlet distribution over predictions, with parameters
alpha_k = exp(z_k), a_0 = sum_k alpha_k and mean m_k = alpha_k / a_0. Its data
uncertainty is the expected entropy of a prediction, and its distributional uncertainty
the mutual information of label and prediction: the entropy of the mean without it,

    data = sum_k m_k (psi(a_0 + 1) - psi(alpha_k + 1)),
    distributional = -sum_k m_k log m_k - data,

with the digamma function psi. Method "duc" trains logits of this meaning; those of any
other method are evidence by their form alone.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import kinds, ops
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

SCORE = (
    "the data uncertainty (expected entropy, in nats), among the images of which the "
    "distribution is most uncertain: the highest is first"
)

OPTIONS = {
    "kappa": kinds.Option(
        kinds.real(1.0), "images kept by the first step, as a multiple of the budget"
    )
}


def make(*, kappa: float = 10.0) -> Acquire:
    """Of the kappa b rows of highest distributional, the b of highest data uncertainty.

    Ties in either step go to the lowest row.

    Args:
      kappa: the paper's 10; kappa b is rounded to the nearest number.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        del key
        free = _ranking.free_rows(taken, budget)
        logits = _ranking.class_logits(evidence, taken.size)
        distributional, data = (value[free] for value in uncertainties(logits))
        kept = round(min(kappa * budget, free.size))
        order = np.argsort(-distributional, kind="stable")[:kept]
        order.sort()  # so that ties of the second step go to the lowest row
        first = order[np.argsort(-data[order], kind="stable")[:budget]]
        return Picked(free[first], data[first])

    return acquire


def uncertainties(logits: Array) -> tuple[np.ndarray, np.ndarray]:
    """(float32[N] distributional, float32[N] data uncertainty), in nats.

    They are computed in float64 and rounded: small differences of large numbers.

    Args:
      logits: float32[N, K].
    """
    with jax.enable_x64(True):
        values = _uncertainties(jnp.asarray(np.asarray(logits, np.float64)))
        distributional, data = (np.asarray(value, np.float32) for value in values)
    return distributional, data


@jax.jit
def _uncertainties(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    return ops.dirichlet_uncertainties(ops.dirichlet(logits))
