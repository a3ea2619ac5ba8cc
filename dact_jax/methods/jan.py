"""JAN: joint adaptation networks (Long et al., ICML 2017)."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from dact_jax import errors, kinds
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables

Estimator = Literal["full", "linear"]
Pair = tuple[jax.Array, jax.Array]  # embeddings [B, F], probabilities [B, K]
Kernel = Callable[[jax.Array, jax.Array], jax.Array]  # of both squared distances

MULTIPLES = (0.125, 0.25, 0.5, 1.0, 2.0)  # of the mean squared embedding distance
SOFTMAX_SIGMA = 0.92


OPTIONS = {
    "weight": kinds.Option(kinds.real(), "weight of the joint discrepancy"),
    "estimator": kinds.Option(
        kinds.choice(*get_args(Estimator)), "how the discrepancy is estimated"
    ),
    "bottleneck": kinds.Option(kinds.whole(0, 65536), "units of that layer; 0: none"),
    "dropout": kinds.Option(kinds.rate(), "rate in the bottleneck"),
    "joint": kinds.Option(kinds.flag(), "both domains pass the network as one batch"),
}


def make(
    num_classes: int,
    *,
    weight: float = 1.0,
    estimator: Estimator = "full",
    bottleneck: int = 0,
    dropout: float = 0.0,
    joint: bool = False,
) -> Method:
    """One gradient step an iteration on CE(labels) + weight JMMD.

    JMMD is the joint maximum mean discrepancy of (embedding, class probabilities)
    between source and unlabelled target.

    Args:
      weight: of the JMMD.
      estimator: "full", over all pairs, or "linear", over neighbors in the batch.
      bottleneck: width of a linear layer with ReLU after the encoder; 0: none.
      dropout: rate after that layer.
      joint: encode source and unlabelled target in one forward pass.

    Raises:
      InputError: when the loss is traced, source and unlabelled batches of different
        sizes or of one image.
    """

    def joint_adaptation(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        _forward.check_equal_batches(batch)
        if len(batch.source.label) < 2:
            raise errors.InputError(
                "train.batch_source=1 must be 2 or more for method 'jan', which "
                "compares pairs."
            )
        streams, variables = _forward.encode_streams(
            model, variables, batch, key, joint=joint
        )
        supervised = _forward.supervised_loss(model, variables, streams, batch, key)
        source, target = (
            (
                features.embedding[0],
                jax.nn.softmax(_forward.classify(model, variables, features, key)[0]),
            )
            for features in (streams.source, streams.unlabeled)
        )
        discrepancy = joint_mmd(source, target, estimator)
        metrics = {"cross_entropy": supervised, "joint_mmd": discrepancy}
        return supervised + weight * discrepancy, (variables, metrics)

    modules = {
        **heads.bottleneck(bottleneck, rectify=True, dropout=dropout),
        "classifier": heads.Linear(num_classes, initial="xavier"),
    }
    return Method(modules, (joint_adaptation,))


def joint_mmd(source: Pair, target: Pair, estimator: Estimator) -> jax.Array:
    """The unbiased estimate of the squared JMMD, plus 2 / (B - 1); float32[].

    The kernel of the joint distribution is the product of a kernel on embeddings (five
    Gaussians whose widths are multiples of the mean squared distance, without
    gradient) and a Gaussian on class probabilities. The estimate leaves out the
    diagonal and can be negative; the Transfer-Learning-Library adds the constant.

    Args:
      source: embeddings float32[B, F], probabilities float32[B, K]; B is at least 2.
      target: of the same shapes.
    """
    count = len(source[0])
    spread = _mean_squared_distance(jnp.concatenate([source[0], target[0]]))

    def kernel(embedding: jax.Array, probability: jax.Array) -> jax.Array:
        gaussians = (_gaussian(embedding, multiple * spread) for multiple in MULTIPLES)
        return sum(gaussians) * _gaussian(probability, SOFTMAX_SIGMA**2)

    if estimator == "linear":
        estimate = _linear(kernel, source, target)
    else:
        estimate = _full(kernel, source, target)
    return estimate + 2 / (count - 1)


def _full(kernel: Kernel, source: Pair, target: Pair) -> jax.Array:
    """Mean over pairs i != j within domains - 2 x the mean over all pairs across."""
    count = len(source[0])
    distances = [
        _squared_distances(jnp.concatenate(domains))
        for domains in zip(source, target, strict=True)
    ]
    values = kernel(*distances)  # [2B, 2B]
    within = values[:count, :count] + values[count:, count:]
    off_diagonal = jnp.sum(within) - jnp.trace(within)
    return off_diagonal / (count * (count - 1)) - 2 * jnp.mean(values[:count, count:])


def _linear(kernel: Kernel, source: Pair, target: Pair) -> jax.Array:
    """Mean over neighbors (i, i + 1) in the batch, cyclic; O(B)."""

    def compare(left: Pair, right: Pair) -> jax.Array:
        return kernel(
            *(jnp.sum(jnp.square(a - b), -1) for a, b in zip(left, right, strict=True))
        )

    next_source, next_target = (
        (jnp.roll(pair[0], -1, 0), jnp.roll(pair[1], -1, 0))
        for pair in (source, target)
    )
    return jnp.mean(
        compare(source, next_source)
        + compare(target, next_target)
        - compare(source, next_target)
        - compare(next_source, target)
    )


def _gaussian(squared: jax.Array, variance: jax.Array | float) -> jax.Array:
    return jnp.exp(-squared / (2 * variance))


def _mean_squared_distance(x: jax.Array) -> jax.Array:
    """Over all N^2 pairs of float32[N, F], without gradient; float32[]."""
    centered = x - x.mean(0, keepdims=True)
    return jax.lax.stop_gradient(2 * jnp.mean(jnp.sum(jnp.square(centered), -1)))


def _squared_distances(x: jax.Array) -> jax.Array:
    """float32[N, F] -> float32[N, N], by one matrix product; 0 on the diagonal."""
    x = x - x.mean(0, keepdims=True)  # less cancellation below
    squared = jnp.sum(jnp.square(x), -1)
    product = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    distance = jnp.maximum(squared[:, None] + squared[None] - 2 * product, 0.0)
    return jnp.where(jnp.eye(len(x), dtype=bool), 0.0, distance)
