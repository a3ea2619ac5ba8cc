"""What `bench_step` times: one method on one network, with the sizes of its batches."""

from typing import Any, NamedTuple

import numpy as np

NUM_CLASSES = 10
STORED = 256  # images of each domain, at least
_NORMS = {"alda": 2}  # ALDA + DSBN; the others share one batch norm
_ON_TARGET_LABELS = ("source_only", "mme", "clue_mme", "aada", "loss_prediction")
_LABELS_ALONE = ("source_only", "loss_prediction")
IN_TORCH = ("source_only", "mme", "dann", "alda")
SIDES = {"lenet": 32, "resnet18": 224, "resnet34": 224, "resnet50": 224}


class Case(NamedTuple):
    """One row of the table; plain values."""

    method: str
    backbone: str
    side: int
    channels: int
    batch: int
    precision: str  # "float32" or "bfloat16"

    @property
    def norms(self) -> int:
        """Rows of batch norm: 2 for DSBN."""
        return _NORMS.get(self.method, 1)

    @property
    def batch_norm(self) -> bool:
        """Whether the network has batch norm: a LeNet only for DSBN."""
        return self.backbone != "lenet" or self.norms > 1

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Images of an iteration: source, labeled target, unlabeled target.

        MME's batches are those of its code: twice as many unlabeled.
        """
        target = self.batch if self.method in _ON_TARGET_LABELS else 0
        unlabeled = 0 if self.method in _LABELS_ALONE else self.batch
        return self.batch, target, 2 * unlabeled if self.method == "mme" else unlabeled

    @property
    def title(self) -> str:
        """A line for a person."""
        sizes = "+".join(str(size) for size in self.sizes if size)
        dsbn = " + DSBN" if self.norms > 1 else ""
        return (
            f"{self.method}{dsbn}, {self.backbone}, {sizes} images of "
            f"{self.side}x{self.side}x{self.channels}, {self.precision}"
        )


def options(case: Case) -> dict[str, Any]:
    """Options of the method that are not its defaults."""
    if case.method == "mme":
        return {"head": "cosine" if case.backbone == "lenet" else "two_layer"}
    if case.method == "alda":
        return {"bottleneck": 0 if case.backbone == "lenet" else 512}
    if case.method == "dann":
        return {"bottleneck": 0 if case.backbone == "lenet" else 256}
    return {}


def pool(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images uint8[N, h, w, C] of a domain, and labels int32[N]."""
    rng = np.random.default_rng(seed)
    count = max(STORED, 2 * max(case.sizes))
    shape = (count, case.side, case.side, case.channels)
    label = np.arange(count, dtype=np.int32) % NUM_CLASSES
    return rng.integers(0, 256, shape, np.uint8), label
