"""PyTorch's side of `bench_step`: the same iterations, as one would write them there.

On a GPU in channels_last, autocast to bfloat16 and torch.compile; on CPU in
channels_last and float32.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from experiments import step_case, step_torch_networks
from experiments.step_case import NUM_CLASSES, Case
from experiments.step_torch_networks import Classifier, Discriminator, reverse

_THRESHOLD, _ENTROPY, _SCHEDULE = 0.9, 0.1, 1e4


class Torch:
    """The training of a case; it goes on where the last window ended."""

    def __init__(self, case: Case, *, gpu: bool) -> None:
        self.case, self.gpu = case, gpu
        self.device = torch.device("cuda" if gpu else "cpu")
        if gpu:
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")
        torch.manual_seed(0)
        self.encoder, width = step_torch_networks.encoder(case)
        self.classifier, self.discriminator = _heads(case, width)
        modules = [self.encoder, self.classifier, self.discriminator]
        for module in modules:
            module.to(self.device)
        self.encoder.to(memory_format=torch.channels_last)
        # fused: a GPU's updates in one kernel.
        parameters = [p for module in modules for p in module.parameters()]
        self.optimizer = torch.optim.SGD(
            parameters,
            lr=0.01,
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
            fused=gpu,
        )
        self.encode = torch.compile(self.encoder) if gpu else self.encoder
        self.pools = [self._pool(seed) for seed in (0, 1)]
        self.done = 0

    def _pool(self, seed: int) -> tuple[Any, Any]:
        image, label = step_case.pool(self.case, seed)
        images = torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))
        images = images.to(self.device, memory_format=torch.channels_last)
        return images, torch.from_numpy(label).long().to(self.device)

    def _draw(self, domain: int, count: int) -> tuple[Any, Any]:
        """A batch of the pool on the device, as float images."""
        images, label = self.pools[domain]
        rows = torch.randint(len(label), (count,), device=self.device)
        x = images[rows].float().div_(255).sub_(0.5).div_(0.5)
        return x.contiguous(memory_format=torch.channels_last), label[rows]

    def train(self, iterations: int) -> float:
        """Seconds of an iteration."""
        self._wait()
        began = time.perf_counter()
        for _ in range(iterations):
            progress = self.done / _SCHEDULE
            for group in self.optimizer.param_groups:
                group["lr"] = 0.01 * (1 + 1e-4 * self.done) ** -0.75
            _STEPS[self.case.method](self, 2 / (1 + np.exp(-10 * progress)) - 1)
            self.done += 1
        self._wait()
        return (time.perf_counter() - began) / iterations

    def _wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def autocast(self) -> Any:
        """bfloat16 for convolutions and products, on a GPU."""
        return torch.autocast("cuda", torch.bfloat16, enabled=self.gpu)

    def descend(self, loss: Any) -> None:
        """One step of the optimizer."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def peak_memory(self) -> int | None:
        """Bytes of the GPU that were allocated at once; None on CPU."""
        return torch.cuda.max_memory_allocated() if self.gpu else None


def _heads(case: Case, width: int) -> tuple[nn.Module, nn.Module]:
    options = step_case.options(case)
    classifier = Classifier(width, options.get("bottleneck", 0), options.get("head"))
    discriminator: nn.Module = nn.Identity()
    if case.method in ("dann", "alda"):
        outputs = NUM_CLASSES if case.method == "alda" else 1
        discriminator = Discriminator(options["bottleneck"] or width, outputs)
    return classifier, discriminator


def _supervised(peer: Torch) -> Any:
    """Cross entropy of source and labeled target, which are one batch."""
    size, target, _ = peer.case.sizes
    parts = [peer._draw(0, size), peer._draw(1, target)]
    images, label = (torch.cat(part) for part in zip(*parts, strict=True))
    images = images.contiguous(memory_format=torch.channels_last)
    with peer.autocast():
        logits = peer.classifier(peer.encode(images, 0))
    return F.cross_entropy(logits.float(), label)


def _source_only(peer: Torch, strength: float) -> None:
    del strength
    peer.descend(_supervised(peer))


def _mme(peer: Torch, strength: float) -> None:
    """Two steps: cross entropy; then the entropy, whose gradient is reversed."""
    del strength
    peer.descend(_supervised(peer))
    images, _ = peer._draw(1, peer.case.sizes[2])
    with peer.autocast():
        logits = peer.classifier(peer.encode(images, 0), 1.0)
    p = F.softmax(logits.float(), 1)
    peer.descend(_ENTROPY * (p * torch.log(p + 1e-5)).sum(1).mean())


def _features(peer: Torch) -> tuple[Any, Any, Any, Any, Any]:
    """Features of source and unlabeled target by passes of their own; and logits."""
    size, _, unlabeled = peer.case.sizes
    images, label = peer._draw(0, size)
    others, _ = peer._draw(1, unlabeled)
    with peer.autocast():
        source = peer.classifier.embed(peer.encode(images, 0))
        target = peer.classifier.embed(peer.encode(others, peer.case.norms - 1))
        logits = [peer.classifier.classify(f).float() for f in (source, target)]
    return source, target, *logits, label


def _dann(peer: Torch, strength: float) -> None:
    source, target, logits, _, label = _features(peer)
    with peer.autocast():
        scores = [
            peer.discriminator(reverse(f, strength)).float() for f in (source, target)
        ]
    domain = torch.cat([torch.ones_like(scores[0]), torch.zeros_like(scores[1])])
    adversarial = F.binary_cross_entropy_with_logits(torch.cat(scores), domain)
    peer.descend(F.cross_entropy(logits, label) + adversarial)


def _alda(peer: Torch, strength: float) -> None:
    """L = CE + L_adv + L_reg + lambda L_T, each with its own gradients (section 13)."""
    source, target, logits, target_logits, label = _features(peer)
    with peer.autocast():
        score = peer.discriminator(reverse(source, strength)).float()
        target_score = peer.discriminator(reverse(target, strength)).float()
        constant = peer.discriminator(source.detach()).float()
    p = F.softmax(target_logits, 1)
    confident = (p.detach().amax(1) > _THRESHOLD).float()
    kept = confident.sum()
    truth = F.one_hot(label, NUM_CLASSES).float()
    guess = F.one_hot(logits.argmax(1), NUM_CLASSES).float()
    target_guess = F.one_hot(target_logits.argmax(1), NUM_CLASSES).float()
    noise = (1 - target_guess) / (NUM_CLASSES - 1)
    of_source = _confusion_loss(_corrected(score, guess), truth)
    corrected = _corrected(target_score, target_guess)
    of_target = confident * _confusion_loss(corrected, noise)
    adversarial = (of_source.sum() + of_target.sum()) / (len(label) + kept)
    agreement = confident * (p * corrected.detach()).sum(1)
    transfer = -agreement.sum() / (kept.clamp(min=1) * NUM_CLASSES)
    loss = F.cross_entropy(logits, label) + adversarial
    loss = loss + F.cross_entropy(constant, label) + strength * transfer
    peer.descend(loss)


def _corrected(score: Any, guess: Any) -> Any:
    """xi at the guess, (1 - xi) / (K - 1) elsewhere."""
    xi = torch.sigmoid((score * guess).sum(1, keepdim=True))
    return guess * xi + (1 - guess) * (1 - xi) / (NUM_CLASSES - 1)


def _confusion_loss(corrected: Any, label: Any) -> Any:
    return F.binary_cross_entropy(corrected, label, reduction="none").sum(1)


_STEPS: dict[str, Callable[[Torch, float], None]] = {
    "source_only": _source_only,
    "mme": _mme,
    "dann": _dann,
    "alda": _alda,
}
