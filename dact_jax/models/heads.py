"""Heads: small networks on the features of an encoder.

Each maps Features to float32[..., K], the loss predictor to float32[...]. `reverse` is
the strength of the gradient reversal at the place where the paper has it; None: none.
`on` names the head whose output it reads instead of the embedding, `beside` the one
whose output comes with it as `Features.logits`. A head named `BOTTLENECK` belongs to
the encoding: what it returns is the embedding that all other heads see. Classifiers sow
what their last layer sees, which `Model.head` returns for "<name>.features".
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dact_jax import ops
from dact_jax.models import conv
from dact_jax.types import Features

# torch's default; xavier-normal with zero bias; or normal of that deviation (Caffe).
Initial = Literal["torch", "xavier"] | float
Strength = jax.Array | float | None

BOTTLENECK = "bottleneck"
SEEN = "features"  # what the last layer sees, in the collection "intermediates"


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
        x = _reverse(features.embedding, reverse)
        self.sow("intermediates", SEEN, x)
        return _dense(x, self.num_classes, self.initial)


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
        self.sow("intermediates", SEEN, x)
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
        self.sow("intermediates", SEEN, x)
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


def bottleneck(
    width: int, *, rectify: bool = False, dropout: float = 0.0
) -> dict[str, nn.Module]:
    """The entry of a method's heads for a bottleneck; none where the width is 0."""
    if not width:
        return {}
    return {BOTTLENECK: Bottleneck(width, rectify=rectify, dropout=dropout)}


class Discriminator(nn.Module):
    """A rectified perceptron with dropout behind each hidden layer; raw logits.

    Attributes:
      outputs: 1 or 2 for a domain, K for ALDA's noise-correcting discriminator.
      hidden: sizes of the hidden layers.
      dropout: rate.
      initial: "xavier" as in CDAN and ALDA, "torch" as in AADA.
      judges: "domain", source 1 and target 0; or "label" noise, ALDA's.
    """

    outputs: int
    hidden: tuple[int, ...] = (1024, 1024)
    dropout: float = 0.5
    initial: Initial = "xavier"
    on: str | None = None
    judges: Literal["domain", "label"] = "domain"

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


class ClasswiseDiscriminator(nn.Module):
    """D_k(p_k f) for k = 1 .. K, one logit each (MADA, Pei et al., AAAI 2018).

    p is the softmax of what the classifier says of f, without gradient. The K
    perceptrons are one vmap: every parameter has a leading axis K.

    Attributes:
      num_classes: K.
      hidden: sizes of the hidden layers.
      dropout: rate.
      deviations: of the normal distributions that the weights start from, a layer
        each (the released Caffe solver's); biases start at 0.
      beside: the classifier's name.
    """

    num_classes: int
    hidden: tuple[int, ...] = (1024, 1024)
    dropout: float = 0.5
    deviations: tuple[float, ...] = (0.01, 0.01, 0.3)
    beside: str = "classifier"

    @nn.compact
    def __call__(
        self, features: Features, *, reverse: Strength = None, train: bool = False
    ) -> jax.Array:
        """float32[..., F], logits float32[..., K] -> float32[..., K]."""
        assert features.logits is not None
        p = jax.lax.stop_gradient(jax.nn.softmax(features.logits))
        x = p[..., None] * features.embedding[..., None, :]  # [..., K, F]
        each = nn.vmap(
            _Perceptron,
            in_axes=-2,
            out_axes=-1,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            axis_size=self.num_classes,
        )
        perceptrons = each(
            self.hidden, self.dropout, self.deviations, not train, name="each"
        )
        return perceptrons(_reverse(x, reverse))


class PredictedLoss(nn.Module):
    """The loss prediction module of Yoo & Kweon (CVPR 2019), figure 2.

    Reads the taps, which are the spatial means of the encoder's stages already, and
    not the embedding. Each passes a linear map and a rectification; one more linear
    map of all of them, joined, is the predicted loss. Reversal is before the first.

    Attributes:
      width: outputs of each stage's linear map.
      judges: what it is a judgement of.
    """

    width: int = 128
    judges: Literal["loss"] = "loss"

    @nn.compact
    def __call__(
        self, features: Features, *, reverse: Strength = None, train: bool = False
    ) -> jax.Array:
        """taps float32[..., C_l] -> float32[...].

        Raises:
          ValueError: the encoder has no taps.
        """
        del train
        if not features.taps:
            raise ValueError("the loss predictor reads taps, and the encoder has none")
        stages = [
            nn.relu(_dense(_reverse(tap, reverse), self.width, name=f"fc{stage}"))
            for stage, tap in enumerate(features.taps, 1)
        ]
        return _dense(jnp.concatenate(stages, -1), 1, name="linear")[..., 0]


class _Perceptron(nn.Module):
    """float32[..., F] -> float32[...], one logit."""

    hidden: tuple[int, ...]
    dropout: float
    deviations: tuple[float, ...]
    deterministic: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for layer, width in enumerate(self.hidden, 1):
            x = nn.relu(_dense(x, width, self.deviations[layer - 1], name=f"fc{layer}"))
            x = nn.Dropout(self.dropout, deterministic=self.deterministic)(x)
        return _dense(x, 1, self.deviations[-1], name="logits")[..., 0]


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
    elif initial == "xavier":
        kernel_init = nn.initializers.xavier_normal()
        bias_init = nn.initializers.zeros
    else:
        kernel_init = nn.initializers.normal(initial)
        bias_init = nn.initializers.zeros
    layer = nn.Dense(
        width,
        use_bias=use_bias,
        kernel_init=kernel_init,
        bias_init=bias_init,
        name=name,
    )
    return layer(x)
