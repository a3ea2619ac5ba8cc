"""Batch normalisation that keeps one row of terms for each domain (DSBN)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over all but channels.

    The affine terms are in the collection `norm` and the running moments in `stats`,
    each float32[C]. Where they are float32[S, C], the images of the batch belong in
    turn to S domains, and each is normalised with its domain's moments and terms
    (Chang et al., CVPR 2019) by a vmap over the rows: the network around this layer
    knows no domains.

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
        if train and x.size < 2 * scale.size:
            raise ValueError(
                "batch normalisation needs two or more values per channel and domain "
                f"in training; its input has the shape {x.shape}"
            )
        # Domains alternate, so that a batch split over devices has all on each.
        streams = x.reshape(-1, scale.size // x.shape[-1], *x.shape[1:])
        rows = [leaf.reshape(-1, *channels) for leaf in (scale, bias)]
        rows += [running.value.reshape(-1, *channels) for running in (mean, variance)]
        one = functools.partial(
            _normalize, epsilon=self.epsilon, momentum=self.momentum, train=train
        )
        y, *moments = jax.vmap(one, (1, 0, 0, 0, 0), (1, 0, 0))(streams, *rows)
        if train and not self.is_initializing():
            for running, new in zip((mean, variance), moments, strict=True):
                running.value = new.reshape(running.value.shape)
        return y.reshape(x.shape)


def _normalize(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    *,
    epsilon: float,
    momentum: float,
    train: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One domain's float32[B, ..., C] and its rows -> normalised, running moments."""
    row = (1,) * (x.ndim - 1) + scale.shape
    running = mean, variance
    if train:
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        # Two passes: E[x^2] - E[x]^2 loses digits when the mean is large.
        variance = jnp.square(x - mean.reshape(row)).mean(axes)
        count = x.size // scale.size
        unbiased = variance * (count / (count - 1))
        running = (
            (1 - momentum) * running[0] + momentum * mean,
            (1 - momentum) * running[1] + momentum * unbiased,
        )
    factor = scale * jax.lax.rsqrt(variance + epsilon)
    y = (x - mean.reshape(row)) * factor.reshape(row) + bias.reshape(row)
    return y, *running
