"""Batch norm with one row of scale, bias and moments per domain (DSBN)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from dact_jax import errors


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over all but channels.

    Scale and bias are in the collection "norm", the running mean and variance in
    "stats", each float32[C]. If they are float32[S, C] instead, image i of the batch
    belongs to domain i mod S and is normalised with that domain's row (Chang et al.,
    CVPR 2019), in a vmap over the rows. The network around this layer needs no
    knowledge of domains.

    Training normalises with the mean and the biased variance of the batch. The running
    moments become momentum * batch + (1 - momentum) * old, with the unbiased variance
    of the batch, as in torch. All of this is in float32, whatever dtype x has.

    Attributes:
      epsilon: added to the variance.
      momentum: weight of the batch in the running moments.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B S, ..., C] -> the same shape and dtype.

        Raises:
          InputError: in training, with a single value per channel and domain, of which
            the unbiased variance is undefined.
        """
        channels = x.shape[-1:]
        scale = self.variable("norm", "scale", jnp.ones, channels).value
        bias = self.variable("norm", "bias", jnp.zeros, channels).value
        mean = self.variable("stats", "mean", jnp.zeros, channels)
        variance = self.variable("stats", "variance", jnp.ones, channels)
        if train and x.size < 2 * scale.size:
            raise errors.InputError(
                "batch norm needs at least two values for each channel and domain in "
                f"training, and its input has the shape {x.shape}: make "
                "train.batch_source, train.batch_target, train.batch_unlabeled and "
                "pretrain.batch 2 or more, or set model.batch_norm=False."
            )
        # Domains alternate along the batch axis: a part of the batch on one device
        # holds images of all domains.
        streams = x.reshape(-1, scale.size // x.shape[-1], *x.shape[1:])
        rows = [leaf.reshape(-1, *channels) for leaf in (scale, bias)]
        rows += [running.value.reshape(-1, *channels) for running in (mean, variance)]
        normalize = functools.partial(
            _normalize, epsilon=self.epsilon, momentum=self.momentum, train=train
        )
        y, *moments = jax.vmap(normalize, (1, 0, 0, 0, 0), (1, 0, 0))(streams, *rows)
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
    """Batch norm of one domain.

    Args:
      x: float[B, ..., C].
      scale, bias, mean, variance: float32[C], the domain's rows.

    Returns:
      (normalised float[B, ..., C] of x's dtype, running mean and variance float32[C]).
    """
    row = (1,) * (x.ndim - 1) + scale.shape
    running = mean, variance

    def centered(mean: jax.Array) -> jax.Array:
        return x.astype(jnp.float32) - mean.reshape(row)

    if train:
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes, dtype=jnp.float32)
        # Two passes: E[x^2] - E[x]^2 loses digits when the mean is large.
        variance = jnp.square(centered(mean)).mean(axes)
        count = x.size // scale.size
        unbiased = variance * (count / (count - 1))
        running = (
            (1 - momentum) * running[0] + momentum * mean,
            (1 - momentum) * running[1] + momentum * unbiased,
        )
    factor = scale * jax.lax.rsqrt(variance + epsilon)
    y = centered(mean) * factor.reshape(row) + bias.reshape(row)
    return y.astype(x.dtype), *running
