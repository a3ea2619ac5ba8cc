"""Batch normalisation that keeps one row of terms for each domain (DSBN)."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over all but channels.

    The affine terms are in the collection `norm` and the running moments in `stats`,
    each float32[C]. Where they are float32[S, C], the images of the batch belong in
    turn to S domains, and each is normalised with its domain's moments and terms
    (Chang et al., CVPR 2019): the network around this layer knows no domains.

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
        """float32[B S, ..., C] -> the same shape.

        Raises:
          ValueError: in training, with one value per channel: it has no variance.
        """
        channels = x.shape[-1:]
        scale = self.variable("norm", "scale", jnp.ones, channels).value
        bias = self.variable("norm", "bias", jnp.zeros, channels).value
        mean = self.variable("stats", "mean", jnp.zeros, channels)
        variance = self.variable("stats", "variance", jnp.ones, channels)

        # Domains alternate, so that a batch split over devices has all on each.
        streams = x.reshape(-1, scale.size // x.shape[-1], *x.shape[1:])
        axes = (0, *range(2, streams.ndim - 1))
        row = tuple(1 if axis in axes else n for axis, n in enumerate(streams.shape))
        if train:
            moments = _moments(streams, axes)
            if not self.is_initializing():
                self._track(mean, variance, moments, streams.size // moments[0].size)
        else:
            moments = mean.value.reshape(row), variance.value.reshape(row)
        factor = scale.reshape(row) * jax.lax.rsqrt(moments[1] + self.epsilon)
        y = (streams - moments[0]) * factor + bias.reshape(row)
        return y.reshape(x.shape)

    def _track(
        self,
        mean: nn.Variable,
        variance: nn.Variable,
        moments: tuple[jax.Array, jax.Array],
        count: int,
    ) -> None:
        """Updates the running moments by those of `count` values per channel."""
        unbiased = moments[1] * (count / (count - 1))
        for running, batch in ((mean, moments[0]), (variance, unbiased)):
            old = running.value
            new = batch.reshape(old.shape)
            running.value = (1 - self.momentum) * old + self.momentum * new


def _moments(x: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Mean and variance along axes, which are kept with size 1."""
    mean = x.mean(axes, keepdims=True)
    if x.size // mean.size < 2:
        raise ValueError(
            "batch normalisation needs two or more values per channel and domain in "
            f"training; its input has the shape {x.shape}"
        )
    # Two passes: E[x^2] - E[x]^2 loses digits when the mean is large.
    return mean, jnp.square(x - mean).mean(axes, keepdims=True)
