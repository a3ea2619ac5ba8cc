"""CLUE's LeNet for digits (Prabhu et al., ICCV 2021), without its classifier."""

import functools

import flax.linen as nn
import jax

from dact_jax.models import conv, norm

SMALLEST = 16  # pixels of a side: both convolutions and poolings leave one


class LeNet(nn.Module):
    """Two 5x5 convolutions, each pooled, and one fully connected layer.

    The second convolution is followed by channel dropout before its pooling. The
    embedding is the rectified fully connected layer; in training it passes dropout,
    which the reference code has at the entry of its classifier.

    Attributes:
      width: size F of the embedding.
      dropout: rate of both dropouts.
      batch_norm: whether each convolution is followed by batch normalisation, so
        that domain-specific normalisation applies to digits (not in CLUE).
      formulation: how convolutions and pooling are computed.
    """

    width: int = 500
    dropout: float = 0.5
    batch_norm: bool = False
    formulation: conv.Formulation = "stock"

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """float32[B, h, w, C] -> embedding float32[B, F], taps float32[B, 20 | 50 | F].

        Taps are the spatial means of both pooled convolutions, and the embedding
        before its dropout.

        Raises:
          ValueError: images smaller than 16x16, of which nothing would be left.
        """
        if min(images.shape[1:3]) < SMALLEST:
            raise ValueError(f"LeNet needs 16x16 pixels or more, not {images.shape}")
        layer = functools.partial(
            conv.Conv, kernel_size=(5, 5), formulation=self.formulation
        )
        pool = functools.partial(conv.max_pool, formulation=self.formulation)
        drop = functools.partial(nn.Dropout, self.dropout, deterministic=not train)

        x = layer(20, name="conv1")(images)
        if self.batch_norm:
            x = norm.BatchNorm(name="norm1")(x, train=train)
        first = nn.relu(pool(x))
        x = layer(50, name="conv2")(first)
        if self.batch_norm:
            x = norm.BatchNorm(name="norm2")(x, train=train)
        second = nn.relu(pool(drop(broadcast_dims=(1, 2))(x)))

        x = second.reshape(len(second), -1)  # (h, w, C) order, torch has (C, h, w)
        init = conv.uniform(x.shape[-1])
        x = nn.Dense(self.width, kernel_init=init, bias_init=init, name="fc1")(x)
        feature = nn.relu(x)
        for x in (first, second):
            self.sow("intermediates", "maps", x)
        taps = (first.mean((1, 2)), second.mean((1, 2)), feature)
        return drop()(feature), taps
