"""How long an iteration of MME takes, with either implementation of convolution.

    python experiments/bench_step.py --encoder=lenet --side=28 --channels=1

Both are timed in turn in one process, in a scan as a run does it; printed are the
medians, in milliseconds an iteration, and the ratio.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
from absl import app, flags

from dact_jax import plugins
from dact_jax.models import lenet, model, resnet
from dact_jax.training import optimizer, schedules, step
from dact_jax.types import Batch, Examples

_ENCODER = flags.DEFINE_enum("encoder", "lenet", ["lenet", "resnet18"], "Network.")
_SIDE = flags.DEFINE_integer("side", 28, "Height and width in pixels.")
_CHANNELS = flags.DEFINE_integer("channels", 1, "Of the images.")
_BATCH = flags.DEFINE_integer(
    "batch", 32, "Source, and labelled target; twice unlabelled."
)
_CHUNK = flags.DEFINE_integer("chunk", 8, "Iterations in a scan.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Timings of each implementation.")


def images_and_labels() -> Batch:
    """Random numbers of the shapes of a run, [chunk, B, h, w, C]."""
    rng = np.random.default_rng(0)

    def images(count: int) -> np.ndarray:
        shape = (_CHUNK.value, count, _SIDE.value, _SIDE.value, _CHANNELS.value)
        return rng.standard_normal(shape, np.float32)

    label = rng.integers(0, 10, (_CHUNK.value, _BATCH.value)).astype(np.int32)
    source, target = (Examples(images(_BATCH.value), label) for _ in range(2))
    return Batch(source, target, images(2 * _BATCH.value))


def make(implementation: str) -> Callable[[Batch], None]:
    """A function that trains on a chunk and waits for the result."""
    head = "cosine" if _ENCODER.value == "lenet" else "two_layer"
    method = plugins.load("methods", "mme", 10, head=head)
    encoder = {"lenet": lenet.LeNet, "resnet18": resnet.resnet18}[_ENCODER.value]
    network = model.make_model(encoder(implementation=implementation), method.heads, 1)
    schedule = schedules.make("inverse", 0.01, num_steps=1000)
    sgd = optimizer.sgd(schedule, updates_per_iteration=2)
    key = jax.random.key(0)
    shape = (_SIDE.value, _SIDE.value, _CHANNELS.value)
    state = step.init_state(network.init(key, shape), sgd)
    one = step.make_step(network, method, sgd, num_steps=1000)
    many = jax.jit(step.scan_steps(one, lambda resident, drawn, key: drawn))

    def run(batch: Batch) -> None:
        jax.block_until_ready(many(state, (), batch, key))

    return run


def main(argv: Sequence[str]) -> None:
    """Times both implementations."""
    del argv
    batch = images_and_labels()
    runs = {name: make(name) for name in ("tiled", "stock")}
    for run in runs.values():
        run(batch)  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_REPEATS.value):
        for name, run in runs.items():
            began = time.perf_counter()
            run(batch)
            seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(found) for name, found in seconds.items()}
    for name, found in median.items():
        print(f"{name}: {1000 * found / _CHUNK.value:.1f} ms an iteration")
    print(f"stock / tiled: {median['stock'] / median['tiled']:.1f}")


if __name__ == "__main__":
    app.run(main)
