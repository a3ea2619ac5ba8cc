"""Training on image files for some iterations: its speed, and how long it waits."""

import dataclasses
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from dact_jax import devices, keys
from dact_jax.configuration import build, files
from dact_jax.rounds import evaluation
from dact_jax.run_types import Run
from dact_jax.training import feeding, loop
from dact_jax.training.feeding import Chunk, Piece
from dact_jax.types import Pools, Row

CHUNK = 10


@dataclasses.dataclass
class Waiting:
    """Seconds in which training had no images."""

    seconds: float = 0.0

    def pieces(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The same, with a clock on each."""
        while True:
            began = time.perf_counter()
            try:
                piece = next(pieces)
            except StopIteration:
                return
            jax.block_until_ready(piece.drawn)
            self.seconds += time.perf_counter() - began
            yield piece

    def chunks(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """The same, with a clock on each piece."""
        for chunk in chunks:
            yield chunk._replace(pieces=self.pieces(chunk.pieces))


class Training(NamedTuple):
    """A run, with its program compiled at most once."""

    run: Run
    fit: loop.Fit
    steps: int


def prepare(
    source: str,
    target: str,
    *,
    cache: str,
    encoder: str,
    size: int,
    batch: int,
    steps: int,
) -> Training:
    """MME on two folders of images, whose pools are not on the device."""
    config = files.load(f"configs/folder.py:preset=mme,model.encoder={encoder}")
    steps = CHUNK * (1 + -(-steps // CHUNK))
    config.update_from_flattened_dict(
        {
            "source": source,
            "target": target,
            "data.size": size,
            "data.crop": size,
            "data.device_bytes": 0,
            "data.cache_dir": cache,
            "model.weights": "",
            "train.steps": steps,
            "train.chunk": CHUNK,
            "train.batch_source": batch,
            "train.batch_target": batch,
            "train.batch_unlabeled": 2 * batch,
        }
    )
    run, _ = build.build(config)
    return Training(run, loop.make_fit(run), steps)


def timed(training: Training) -> Row:
    """Images a second, and the share of the time in which training waits for them.

    What comes before the second chunk does not count: it is compilation, and the first
    images.
    """
    run, fit, steps = training
    pools = Pools(np.ones(len(run.task.source.train.label), bool), run.given)
    label = np.asarray(run.task.target.train.label)
    key, waiting = keys.key(run.key, "round", 0), Waiting()
    chunks = feeding.draw_chunks(run, pools, label, key, 0, steps)
    state = devices.replicate(evaluation.copy(run.train))
    began = 0.0
    for progress in fit(
        state, waiting.chunks(chunks), key, steps, loop.pack({}, CHUNK)
    ):
        if int(progress.state.step) <= CHUNK:
            began, waiting.seconds = time.perf_counter(), 0.0
    seconds = time.perf_counter() - began
    images, batch = sum(run.schedule.sizes), run.schedule.sizes.source
    return {
        "step": (steps - CHUNK) * images / seconds,
        "reading": _rate(run.task.source.train.image, batch),
        "waiting_share": waiting.seconds / seconds,
    }


def _rate(images: np.ndarray, batch: int) -> float:
    """Images a second that are read while nothing else is done."""
    rng, seconds = np.random.default_rng(0), []
    for _ in range(5):
        rows = rng.permutation(len(images))[:batch]
        began = time.perf_counter()
        images[rows]
        seconds.append(time.perf_counter() - began)
    return min(batch, len(images)) / statistics.median(seconds)
