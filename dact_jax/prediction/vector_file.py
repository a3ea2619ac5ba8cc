"""The embeddings of predicted images as an .npz file, written while they are made."""

import contextlib
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from dact_jax import storage
from dact_jax.prediction.outcomes import Outcome

Write = Callable[[Sequence[str], np.ndarray, Outcome], None]


@contextlib.contextmanager
def opened(
    path: pathlib.Path, class_names: Sequence[str], *, probabilities: bool
) -> Iterator[Write]:
    """An .npz file that is whole when the block ends; else there is none.

    It holds features float32[N, F], path str[N], prediction int32[N] (positions in
    classes, -1: no label), confidence float32[N], classes str[K] and, if wanted,
    probabilities float32[N, K]. There is no array `label`, which would count as known.

    Args:
      path: of the file; its folder must exist.

    Yields:
      write: takes n paths, embeddings float32[n, F] and what is said of the images.
    """
    paths: list[str] = []
    labels: list[np.ndarray] = []
    confidences: list[np.ndarray] = []
    with contextlib.ExitStack() as stack:
        # Files without a name, which the system removes whatever happens.
        place = path.parent
        rows = stack.enter_context(tempfile.TemporaryFile(dir=place))
        shares = stack.enter_context(tempfile.TemporaryFile(dir=place))
        widths = [0, len(class_names)]

        def write(
            names: Sequence[str], embedding: np.ndarray, outcome: Outcome
        ) -> None:
            widths[0] = embedding.shape[1]
            with storage.naming(path):
                rows.write(np.ascontiguousarray(embedding, np.float32).tobytes())
                if probabilities:
                    shares.write(outcome.probabilities.tobytes())
            paths.extend(names)
            labels.append(outcome.label)
            confidences.append(outcome.confidence)

        yield write
        arrays: dict[str, Any] = {
            "features": _mapped(rows, (len(paths), widths[0])),
            "path": np.array(paths, str),
            "prediction": np.concatenate([np.zeros(0, np.int32), *labels]),
            "confidence": np.concatenate([np.zeros(0, np.float32), *confidences]),
            "classes": np.array(class_names, str),
        }
        if probabilities:
            arrays["probabilities"] = _mapped(shares, (len(paths), widths[1]))
        with storage.atomic(path) as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)


def _mapped(file: IO[bytes], shape: tuple[int, int]) -> np.ndarray:
    """The numbers in a file, float32 of a shape; they stay on the disk."""
    file.flush()
    if 0 in shape:
        return np.zeros(shape, np.float32)
    return np.memmap(file, np.float32, "r", shape=shape)
