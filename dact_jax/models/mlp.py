"""A multilayer perceptron, the encoder for vectors such as given embeddings."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from dact_jax.models import conv, norm


class MLP(nn.Module):
    """Layers that each consist of a linear map, batch norm, ReLU and dropout.

    Attributes:
      widths: output size of each layer; the last is the size F of the embedding.
      dropout: rate after each layer.
      batch_norm: whether batch norm follows each linear map, as domain-specific batch
        norm requires.
    """

    widths: Sequence[int] = (512,)
    dropout: float = 0.0
    batch_norm: bool = True

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """float[B, 1, 1, C] -> embedding float[B, F], taps float[B, widths[l]].

        Images of any shape [B, ...] are flattened. Taps are the outputs of the layers
        before dropout.
        """
        # Not len: the batch of an exported program has no number.
        x = images.reshape(images.shape[0], -1)
        taps = []
        for i, width in enumerate(self.widths, start=1):
            init = conv.uniform(x.shape[-1])  # torch's default
            dense = nn.Dense(width, kernel_init=init, bias_init=init, name=f"fc{i}")
            x = dense(x)
            if self.batch_norm:
                x = norm.BatchNorm(name=f"norm{i}")(x, train=train)
            x = nn.relu(x)
            taps.append(x)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x, tuple(taps)
