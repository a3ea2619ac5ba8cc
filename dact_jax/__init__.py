"""Active domain adaptation in JAX: which images to label, and the adapted classifier.

Only the selection: `dact_jax.k_center(features, budget)`.
"""

from dact_jax.geometry.k_center import k_center

__all__ = ["k_center"]
