"""Small networks, methods and batches that tests share."""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import plugins
from dact_jax.configuration import files
from dact_jax.models import lenet, model, norm
from dact_jax.types import Batch, Examples

GOLDEN = pathlib.Path(__file__).parent / "golden"


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test sees it."""


class Flat(nn.Module):
    """One linear layer on the pixels: an encoder that compiles in no time."""

    width: int = 8
    rectify: bool = False

    @nn.compact
    def __call__(self, images, *, train):
        del train
        x = nn.Dense(self.width, name="fc")(images.reshape(len(images), -1))
        x = nn.relu(x) if self.rectify else x
        return x, (x,)


class Normed(nn.Module):
    """A rectified layer with batch norm, so with norm rows."""

    width: int = 8

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.Dense(self.width, name="fc")(images.reshape(len(images), -1))
        x = nn.relu(norm.BatchNorm(name="bn")(x, train=train))
        return x, (x,)


class Same(nn.Module):
    """An encoder without parameters: the pixels are the embedding."""

    @nn.compact
    def __call__(self, images, *, train):
        del train
        return images.reshape(len(images), -1), ()


def network(method, encoder=None, *, num_norms=1, shared_affine=False):
    """The method's heads on an encoder, a narrow LeNet if none is given."""
    encoder = encoder or lenet.LeNet(width=16, batch_norm=True, implementation="tiled")
    return model.make_model(
        encoder, method.heads, num_norms, shared_affine=shared_affine
    )


def small(name, num_classes=3, **options):
    """A method whose discriminators are small enough for a test."""
    default = plugins.options("methods", name).get("hidden")
    if default is not None:
        narrow = (8, 8) if isinstance(default, tuple) else 8
        options = {"hidden": narrow, **options}
    return plugins.load("methods", name, num_classes, **options)


def drawn(network, shape, seed=0):
    """Variables as init returns them, but from NumPy: nothing to compile."""
    shapes = jax.eval_shape(lambda key: network.init(key, shape), jax.random.key(0))
    random = np.random.default_rng(seed)

    def draw(tree, low):
        return jax.tree.map(
            lambda leaf: jnp.asarray(random.uniform(low, 0.5, leaf.shape), leaf.dtype),
            tree,
        )

    return type(shapes)(
        draw(shapes.params, -0.5), draw(shapes.norm, 0.1), draw(shapes.stats, 0.1)
    )


def start(method, variables):
    """The variables that training starts from."""
    return method.prepare(variables) if method.prepare else variables


def batch(key, *, size=4, side=16, num_classes=3, target=True):
    """All streams of one size, as JAN needs it."""
    a, b, c, d = jax.random.split(key, 4)
    label = jax.random.randint(d, (size,), 0, num_classes)

    def images(key):
        return jax.random.normal(key, (size, side, side, 1))

    labelled = Examples(images(b), (label + 1) % num_classes) if target else None
    return Batch(Examples(images(a), label), labelled, images(c))


def vectors(array):
    """float32[B, F] as images of one pixel."""
    return jnp.asarray(array, jnp.float32)[:, None, None, :]


def labels(array):
    return jnp.asarray(array, jnp.int32)


def layer(weight, bias):
    """A linear layer from torch's weight and bias; a stack of layers alike."""
    return {
        "kernel": jnp.asarray(np.swapaxes(weight, -1, -2)),
        "bias": jnp.asarray(bias),
    }


def golden(name):
    """Arrays of a reference code; shared/golden/README.md says what they are."""
    with np.load(GOLDEN / f"{name}_dev.npz") as archive:
        return dict(archive)


def same(a, b, **tolerance):
    """Whether two trees hold the same numbers."""
    close = jax.tree.map(
        lambda x, y: bool(jnp.allclose(x, y, **(tolerance or {"rtol": 0, "atol": 0}))),
        a,
        b,
    )
    return all(jax.tree.leaves(close))


def vector_config(folder, preset="s_act", **changes):
    """A run of a second: two domains of vectors, three classes, two rounds."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 6))
    for shift, (name, count) in enumerate((("source", 60), ("target", 90))):
        path = folder / f"{name}.npz"
        if not path.exists():
            label = np.arange(count) % 3
            features = centers[label] + 0.7 * shift + rng.normal(size=(count, 6))
            np.savez(path, features=features.astype(np.float32), label=label)
    config = files.load(f"configs/embeddings.py:preset={preset}")
    config.update_from_flattened_dict(
        {
            "source": str(folder / "source.npz"),
            "target": str(folder / "target.npz"),
            "model.widths": (8,),
            **{f"policies.{p}.initial": 3 for p in ("single", "dual")},
            **{f"policies.{p}.per_round": 3 for p in ("single", "dual")},
            **{f"policies.{p}.purchases": 1 for p in ("single", "dual")},
            "policies.dual.source_rounds": 2,
            "loss_predictor.steps": 4,
            "loss_predictor.batch": 8,
            "figures": False,
            "train.steps": 8,
            "train.chunk": 2,
            "train.save_every": 4,
            "train.batch_source": 8,
            "train.batch_target": 8,
            "train.batch_unlabeled": 8,
            "train.eval_batch": 32,
            "pretrain.batch": 8,
            **changes,
        }
    )
    return config
