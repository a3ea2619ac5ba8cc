"""Heads: small networks on the features of an encoder.

Each maps Features to float32[..., K]. `reverse` is the strength of the gradient
reversal at the place where the paper has it; None: none. `on` names the head whose
output it reads instead of the embedding. A head named `BOTTLENECK` belongs to the
encoding: what it returns is the embedding that all other heads see.
"""

from typing import Literal

import flax.linen as nn
import jax

from dact_jax import ops
from dact_jax.models import conv
from dact_jax.types import Features

Initial = Literal["torch", "xavier"]
Strength = jax.Array | float | None

BOTTLENECK = "bottleneck"


class Linear(nn.Module):
    """W f + b, the plain classifier."""

    num_classes: int
    initial: Initial = "torch"
    on: str | None = None

    @nn.compact
    def __call__(
        self, features: Features, *, reverse: Strength = None, train: bool = False
    ) -> jax.Array:
        """float32[..., F] -> float32[..., num_classes]."""
        del train
        return _dense(
            _reverse(features.embedding, reverse), self.num_classes, self.initial
        )


class Cosine(nn.Module):
    """W f/||f|| / T: MME's shallow predictor (Saito et al., ICCV 2019).

    The rows of W, the prototypes, are not normalised. Reversal is before the norm.
    """

    num_classes: int
    temperature: float = 0.05
    on: str | None = None

    @nn.compact
    def __call__(
        self, features: Features, *, reverse: Strength = None, train: bool = False
    ) -> jax.Array:
        """float32[..., F] -> float32[..., num_classes]."""
        del train
        x = ops.normalize(_reverse(features.embedding, reverse))
        return _dense(x, self.num_classes, use_bias=False) / self.temperature


class TwoLayer(nn.Module):
    """W2 g/||g|| / T with g = W1 f + b1: MME's predictor for ResNets.

    Reversal is after the first layer, which therefore moves with the encoder.

    Attributes:
      width: size of g; None: that of the embedding.
    """

    num_classes: int
    temperature: float = 0.05
    width: int | None = 512
    on: str | None = None

    @nn.compact
    def __call__(
        self, features: Features, *, reverse: Strength = None, train: bool = False
    ) -> jax.Array:
        """float32[..., F] -> float32[..., num_classes]."""
        del train
        x = features.embedding
        x = _dense(x, self.width or x.shape[-1], name="fc1")
        x = ops.normalize(_reverse(x, reverse))
        x = _dense(x, self.num_classes, use_bias=False, name="fc2")
        return x / self.temperature


class Bottleneck(nn.Module):
    """W f + b, a smaller embedding; rectified and with dropout where asked (JAN)."""

    width: int
    initial: Initial = "xavier"
    rectify: bool = False
    dropout: float = 0.0
    on: str | None = None

    @nn.compact
    def __call__(
        self, features: Features, *, reverse: Strength = None, train: bool = False
    ) -> jax.Array:
        """float32[..., F] -> float32[..., width]."""
        x = _dense(_reverse(features.embedding, reverse), self.width, self.initial)
        x = nn.relu(x) if self.rectify else x
        return nn.Dropout(self.dropout, deterministic=not train)(x)


class Discriminator(nn.Module):
    """A rectified perceptron with dropout behind each hidden layer; raw logits.

    Attributes:
      outputs: 1 or 2 for a domain, K for ALDA's noise-correcting discriminator.
      hidden: sizes of the hidden layers.
      dropout: rate.
      initial: "xavier" as in CDAN and ALDA, "torch" as in AADA.
    """

    outputs: int
    hidden: tuple[int, ...] = (1024, 1024)
    dropout: float = 0.5
    initial: Initial = "xavier"
    on: str | None = None

    @nn.compact
    def __call__(
        self, features: Features, *, reverse: Strength = None, train: bool = False
    ) -> jax.Array:
        """float32[..., F] -> float32[..., outputs]."""
        x = _reverse(features.embedding, reverse)
        for layer, width in enumerate(self.hidden, 1):
            x = nn.relu(_dense(x, width, self.initial, name=f"fc{layer}"))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return _dense(x, self.outputs, self.initial, name="logits")


def _reverse(x: jax.Array, strength: Strength) -> jax.Array:
    return x if strength is None else ops.reverse_gradient(x, strength)


def _dense(
    x: jax.Array,
    width: int,
    initial: Initial = "torch",
    *,
    use_bias: bool = True,
    name: str = "fc",
) -> jax.Array:
    """W x + b, in the network of the calling module."""
    if initial == "torch":
        kernel_init = bias_init = conv.uniform(x.shape[-1])
    else:
        kernel_init = nn.initializers.xavier_normal()
        bias_init = nn.initializers.zeros
    layer = nn.Dense(
        width,
        use_bias=use_bias,
        kernel_init=kernel_init,
        bias_init=bias_init,
        name=name,
    )
    return layer(x)
