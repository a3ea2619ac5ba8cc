"""Small networks and batches that tests share."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dact_jax.models import lenet, model
from dact_jax.types import Batch, Examples


class Flat(nn.Module):
    """One linear layer on the pixels: an encoder that compiles in no time."""

    width: int = 8

    @nn.compact
    def __call__(self, images, *, train):
        del train
        x = nn.Dense(self.width, name="fc")(images.reshape(len(images), -1))
        return x, (x,)


def network(method, *, num_norms=1):
    return model.make_model(
        lenet.LeNet(width=16, batch_norm=True, formulation="tiled"),
        method.heads,
        num_norms,
    )


def batch(key, *, size=4, side=16, num_classes=3, target=True):
    a, b, c, d = jax.random.split(key, 4)
    label = jax.random.randint(d, (size,), 0, num_classes)

    def images(key):
        return jax.random.normal(key, (size, side, side, 1))

    labelled = Examples(images(b), (label + 1) % num_classes) if target else None
    return Batch(Examples(images(a), label), labelled, images(c))


def same(a, b, **tolerance):
    """Whether two trees hold the same numbers."""
    close = jax.tree.map(
        lambda x, y: bool(jnp.allclose(x, y, **(tolerance or {"rtol": 0, "atol": 0}))),
        a,
        b,
    )
    return all(jax.tree.leaves(close))
