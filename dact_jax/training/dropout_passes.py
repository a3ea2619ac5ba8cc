"""The output "classifier.dropout": the classifier on embeddings with parts left out.

Each number of an embedding is left out with probability 3/4, as in DropQuery (Gupte et
al., 2024), independently in each of 3 passes; the others are multiplied by 4. What is
left out depends on the stored image alone: neither the batch, its size, the devices nor
the order of the pool change it, and a resumed run repeats it.
"""

import jax
import jax.numpy as jnp

from dact_jax import keys
from dact_jax.types import Features, Model, Variables

OUTPUT = "classifier.dropout"
PASSES = 3
KEPT = 0.25  # probability


def logits(
    model: Model, variables: Variables, features: Features, images: jax.Array
) -> jax.Array:
    """float32[B, PASSES, K], logits in each pass.

    Args:
      features: of one stream, in evaluation mode.
      images: stored images [B, H, W, C], or vectors.
    """
    embedding = features.embedding  # [1, B, F]
    keep = kept(images, embedding.shape[-1]).swapaxes(0, 1)  # [PASSES, B, F]
    dropped = jnp.where(keep, embedding / KEPT, 0)
    passes = features._replace(embedding=dropped)
    return model.head(variables, "classifier", passes).swapaxes(0, 1)


def kept(images: jax.Array, width: int) -> jax.Array:
    """bool[B, PASSES, width], which numbers of the embedding are not left out.

    Args:
      images: uint8 or float32[B, H, W, C], as they are stored.
      width: of the embedding.
    """

    def of_image(mark: jax.Array) -> jax.Array:
        key = keys.key(jax.random.key(0), "dropout", mark[0], mark[1])
        return jax.random.bernoulli(key, KEPT, (PASSES, width))

    return jax.vmap(of_image)(_marks(images))


def _marks(images: jax.Array) -> jax.Array:
    """uint32[B, 2], 64 bits that tell images apart."""
    values = images.reshape(len(images), -1)
    if values.dtype == jnp.float32:
        words = jax.lax.bitcast_convert_type(values, jnp.uint32)
    else:
        words = values.astype(jnp.uint32)
    place = jnp.arange(words.shape[1], dtype=jnp.uint32)

    def mark(start: int) -> jax.Array:
        factor = _mixed(place * jnp.uint32(2) + jnp.uint32(start)) | jnp.uint32(1)
        return jnp.sum(_mixed(words * factor[None] + place[None]), 1, jnp.uint32)

    return jnp.stack([mark(0), mark(1)], 1)


def _mixed(x: jax.Array) -> jax.Array:
    """uint32[...], each bit of which depends on many of uint32[...]."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
