"""The LeNet for digits of CLUE (Prabhu et al., ICCV 2021), without its classifier."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from dact_jax.models import conv, norm

MIN_SIDE = 16  # pixels; one remains after both convolutions and poolings


class LeNet(nn.Module):
    """Two 5x5 convolutions, each with ReLU and pooling, and a fully connected layer.

    Channel dropout follows the second convolution, before its pooling. The embedding
    is the output of the fully connected layer after ReLU and dropout. The reference
    code applies this dropout at the start of its classifier.

    Attributes:
      width: size F of the embedding.
      dropout: rate of both dropouts.
      batch_norm: whether batch norm follows each convolution (not in CLUE), as
        domain-specific batch norm on digits requires.
      implementation: of convolution and max-pooling.
    """

    width: int = 500
    dropout: float = 0.5
    batch_norm: bool = False
    implementation: conv.Implementation = "stock"

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """float[B, h, w, C] -> embedding float[B, F], taps float[B, 20 | 50 | F].

        Taps are the spatial means of both stages after pooling and ReLU, and the
        embedding before dropout.

        Raises:
          ValueError: images smaller than 16x16 pixels.
        """
        if min(images.shape[1:3]) < MIN_SIDE:
            raise ValueError(
                f"images of a LeNet must have at least 16x16 pixels; got the shape "
                f"{images.shape}"
            )
        layer = functools.partial(
            conv.Conv, kernel_size=(5, 5), implementation=self.implementation
        )
        pool = functools.partial(conv.max_pool, implementation=self.implementation)
        drop = functools.partial(nn.Dropout, self.dropout, deterministic=not train)

        x = layer(20, name="conv1")(images)
        if self.batch_norm:
            x = norm.BatchNorm(name="norm1")(x, train=train)
        first = nn.relu(pool(x))
        x = layer(50, name="conv2")(first)
        if self.batch_norm:
            x = norm.BatchNorm(name="norm2")(x, train=train)
        second = nn.relu(pool(drop(broadcast_dims=(1, 2))(x)))

        x = second.reshape(second.shape[0], -1)  # order (h, w, C); torch: (C, h, w)
        init = conv.uniform(x.shape[-1])
        x = nn.Dense(self.width, kernel_init=init, bias_init=init, name="fc1")(x)
        feature = nn.relu(x)
        for x in (first, second):
            self.sow("intermediates", "maps", x)
        first_tap, second_tap = (
            x.mean((1, 2), dtype=jnp.float32) for x in (first, second)
        )
        taps = (first_tap, second_tap, feature)
        return drop()(feature), taps
