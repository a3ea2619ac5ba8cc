"""Heads: small networks on the features of an encoder.

Each head maps Features to float32[..., K]; the loss predictor maps them to
float32[...]. All heads share these conventions:

- `reverse` is the strength of the gradient reversal; None: no reversal.
- `on` names the head that it is stacked on: its input, in place of the embedding.
- `logits_from` names a head whose output is passed as `Features.logits`.
- The head named `BOTTLENECK` is applied as part of `Model.encode`: its output is the
  embedding that all other heads read.
- Linear, Cosine and TwoLayer sow the input of their last layer, which `Model.head`
  returns for the name "<head>.features".

The folder of a pre-training records the attributes of its bottleneck and classifier:
renaming an attribute of these classes invalidates existing folders.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dact_jax import ops
from dact_jax.models import conv, precisions
from dact_jax.types import Features

# Torch's default; Xavier-normal with zero bias; or, as in Caffe, normal with this
# standard deviation and zero bias.
Initial = Literal["torch", "xavier"] | float
Strength = jax.Array | float | None

BOTTLENECK = "bottleneck"
CLASSIFIER = "classifier"  # the head that every method has
LAST_INPUT = "features"  # sown in the collection "intermediates"


class Linear(nn.Module):
    """Linear classifier, W f + b."""

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
        self.sow("intermediates", LAST_INPUT, x)
        return _dense(x, self.num_classes, self.initial)


class Cosine(nn.Module):
    """W f/||f|| / T, MME's predictor for shallow encoders (Saito et al., ICCV 2019).

    The rows of W, the prototypes, are not normalised. The gradient is reversed before
    the normalisation.
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
        self.sow("intermediates", LAST_INPUT, x)
        return _dense(x, self.num_classes, use_bias=False) / self.temperature


class TwoLayer(nn.Module):
    """W2 g/||g|| / T with g = W1 f + b1, MME's predictor for ResNets.

    The gradient is reversed between both layers: the first layer follows the objective
    of the encoder, the second that of the classifier.

    Attributes:
      width: size of g; None: size of the embedding.
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
        self.sow("intermediates", LAST_INPUT, x)
        x = _dense(x, self.num_classes, use_bias=False, name="fc2")
        return x / self.temperature


class Bottleneck(nn.Module):
    """W f + b, a smaller embedding, with optional ReLU and dropout (JAN)."""

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
    """The entry for a bottleneck in a method's heads; {} for width 0."""
    if not width:
        return {}
    return {BOTTLENECK: Bottleneck(width, rectify=rectify, dropout=dropout)}


class Discriminator(nn.Module):
    """Multilayer perceptron with ReLU and dropout after each hidden layer.

    Attributes:
      outputs: number of logits: 1 or 2 to predict the domain, K for ALDA's
        noise-correcting discriminator.
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


class ClasswiseDiscriminator(nn.Module):
    """K domain discriminators, one logit each (MADA, Pei et al., AAAI 2018).

    Discriminator k reads p_k f, where p is the softmax of the classifier's logits; no
    gradient flows into p. The K perceptrons are computed in one vmap: every parameter
    has a leading axis K.

    Attributes:
      deviations: standard deviation of the initial weights of each layer, as in the
        released Caffe code; biases start at 0.
      logits_from: name of the classifier.
    """

    num_classes: int
    hidden: tuple[int, ...] = (1024, 1024)
    dropout: float = 0.5
    deviations: tuple[float, ...] = (0.01, 0.01, 0.3)
    logits_from: str = "classifier"

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

    It reads the taps, which are spatial means of the encoder's stages, and not the
    embedding. Each tap passes a linear layer and a ReLU; a last linear layer maps
    their concatenation to the predicted loss. The gradient is reversed at the taps.

    Attributes:
      width: output size of the linear layer of each stage.
    """

    width: int = 128

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
            raise ValueError("the loss predictor needs an encoder that returns taps")
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
    """W x + b, float32, as a submodule of the calling module."""
    if initial == "torch":
        kernel_init = bias_init = conv.uniform(x.shape[-1])
    else:
        xavier = nn.initializers.xavier_normal()
        kernel_init = xavier if initial == "xavier" else nn.initializers.normal(initial)
        bias_init = nn.initializers.zeros
    layer = nn.Dense(
        width,
        use_bias=use_bias,
        kernel_init=kernel_init,
        bias_init=bias_init,
        promote_dtype=precisions.keep_dtypes,
        dot_general=precisions.dot_general,
        name=name,
    )
    return layer(x)
