"""Batch normalisation whose terms live in collections of their own.

The affine terms are in `norm` and the running moments in `stats`, so that a caller
can keep one row of each per domain (DSBN) and the network need not know.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over all but channels.

    Training uses the moments of the batch, the variance over n. The running moments
    take momentum * batch + (1 - momentum) * old, the variance over n - 1 (torch).

    Attributes:
      epsilon: added to the variance.
      momentum: weight of the batch in the running moments.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float32[B, ..., C] -> the same shape.

        Raises:
          ValueError: in training, with one value per channel: it has no variance.
        """
        channels = x.shape[-1:]
        scale = self.variable("norm", "scale", jnp.ones, channels).value
        bias = self.variable("norm", "bias", jnp.zeros, channels).value
        mean = self.variable("stats", "mean", jnp.zeros, channels)
        variance = self.variable("stats", "variance", jnp.ones, channels)
        if not train:
            return _affine(x, mean.value, variance.value, scale, bias, self.epsilon)

        count = x.size // x.shape[-1]
        if count < 2:
            raise ValueError(
                "batch normalisation needs two or more values per channel in "
                f"training; its input has the shape {x.shape}"
            )
        axes = tuple(range(x.ndim - 1))
        batch_mean = x.mean(axes)
        # Two passes: E[x^2] - E[x]^2 loses digits when the mean is large.
        batch_variance = jnp.square(x - _like(batch_mean, x)).mean(axes)
        if not self.is_initializing():
            keep, unbiased = 1 - self.momentum, count / (count - 1)
            mean.value = keep * mean.value + self.momentum * batch_mean
            variance.value = (
                keep * variance.value + self.momentum * unbiased * batch_variance
            )
        return _affine(x, batch_mean, batch_variance, scale, bias, self.epsilon)


def _affine(
    x: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
) -> jax.Array:
    factor = scale * jax.lax.rsqrt(variance + epsilon)
    return (x - _like(mean, x)) * _like(factor, x) + _like(bias, x)


def _like(term: jax.Array, x: jax.Array) -> jax.Array:
    """float32[C] -> float32[1, ..., 1, C] with the rank of x."""
    return jnp.expand_dims(term, range(x.ndim - 1))
