"""Predictions in parts equal those in one pass; what cannot be read is told."""

import dataclasses

import numpy as np
import pytest

from dact_jax.data.readers.files import ImageFiles
from dact_jax.embedding import sweep
from dact_jax.prediction import sweeping
from dact_jax.prediction.sweeping import Caches
from tests.embedding import tiny
from tests.prediction import colors


@pytest.fixture
def files(tmp_path):
    """Eleven images, and between them an empty file, a text and a missing one."""
    paths = []
    for number in range(14):
        path = tmp_path / f"{number:02}.png"
        paths.append(str(path))
        if number == 3:
            path.write_bytes(b"")
        elif number == 7:
            path.write_text("text")
        elif number != 13:
            colors.write(path, colors.CLASSES[number % 3], 20 * number + 15)
    return ImageFiles(tuple(paths), 6, 3)


FAULTS = {3: "it is empty", 7: "it holds no image that Pillow knows"}
FAULTS[13] = "there is no such file"
GOOD = [row for row in range(14) if row not in FAULTS]


def _joined(parts):
    rows = np.concatenate([part.row for part in parts])
    faults = {row: fault for part in parts for row, fault in part.faults.items()}
    logits = np.concatenate([part.logits for part in parts])
    return rows.tolist(), faults, logits, np.concatenate([p.embedding for p in parts])


def test_images_in_parts(files):
    network, told = colors.classifier(batch=4), []
    parts = [*sweeping.parts(network, files, progress=lambda *at: told.append(at))]
    rows, faults, logits, embedding = _joined(parts)
    assert (rows, faults) == (GOOD, FAULTS)
    assert [len(part.row) + len(part.faults) for part in parts] == [4, 4, 4, 2]
    assert told == [(4, 14), (8, 14), (12, 14), (14, 14)]
    good = [files.paths[row] for row in GOOD]
    np.testing.assert_allclose(
        outcome_of(logits), network.predict(good), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(embedding, network.embed(good), rtol=1e-6)
    (one,) = sweeping.parts(network, files, batch=32)
    np.testing.assert_allclose(one.logits, logits, rtol=1e-6)


def outcome_of(logits):
    powers = np.exp(logits)
    return powers / powers.sum(-1, keepdims=True)


def test_embedded_images_in_parts(files, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeping, "VECTORS", 5)
    network, told = colors.classifier(embeds=True), []
    caches = Caches(tmp_path / "cache", sweep.known_vectors(network.backbone))
    parts = [
        *sweeping.parts(
            network,
            dataclasses.replace(files, size=tiny.SIDE),
            caches=caches,
            progress=lambda *at: told.append(at),
        )
    ]
    rows, faults, logits, _ = _joined(parts)
    assert (rows, faults) == (GOOD, FAULTS)
    assert told[-1] == (14, 14)
    assert sorted(told) == told
    good = [files.paths[row] for row in GOOD]
    np.testing.assert_allclose(
        outcome_of(logits), network.predict(good), rtol=1e-4, atol=1e-6
    )
    known = sweep.known_vectors(network.backbone, tmp_path / "no", tmp_path / "cache")
    assert len(known.by_stamp) == 11
    launched = []
    monkeypatch.setattr(sweep, "_launch", lambda *args: launched.append(args))
    again = [*sweeping.parts(network, files, caches=Caches(None, known))]
    assert launched == []
    np.testing.assert_array_equal(_joined(again)[2], logits)


def test_arrays_and_vectors_in_parts(monkeypatch):
    monkeypatch.setattr(sweeping, "VECTORS", 3)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (7, 6, 6, 3), np.uint8)
    rows, _, logits, _ = _joined([*sweeping.parts(colors.classifier(), pixels)])
    assert rows == [*range(7)]
    mean = pixels.mean((1, 2)) / 255
    np.testing.assert_allclose(logits, colors.CERTAIN * mean, rtol=1e-5)
    vectors = random.normal(size=(7, 1, 1, tiny.WIDTH)).astype(np.float32)
    network = colors.classifier(on_vectors=True)
    parts = [*sweeping.parts(network, vectors)]
    np.testing.assert_array_equal(_joined(parts)[2], vectors[:, 0, 0, :3])
    assert [len(part.row) for part in parts] == [3, 3, 1]


def test_a_part_without_a_readable_image(files):
    only = dataclasses.replace(files, paths=files.paths[7:8])
    for network in (colors.classifier(), colors.classifier(embeds=True)):
        (part,) = sweeping.parts(network, only)
        assert part.logits.shape == (0, 3)
        assert part.faults == {0: FAULTS[7]}
