"""Image files as one array: decoded when indexed, checked when they are listed."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from dact_jax import errors
from dact_jax.data import left_out
from dact_jax.data.readers import decoding, links, opening, pixels
from dact_jax.data.readers.links import Found
from dact_jax.types import Dataset, Images, LeftOut

# "unchecked": no file is opened, so that the names and labels are known at once.
OnError = Literal["raise", "skip", "unchecked"]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Files as uint8[N, size, size, channels], decoded when rows are indexed.

    It is a `dact_jax.types.Images`. Gray, palette, transparent (composited over
    white), CMYK and 16-bit files become 8-bit RGB (or luma). Images are rotated by
    their EXIF tag and resized by an anti-aliased filter of Pillow's, without keeping
    the aspect ratio. Only the first frame of a GIF is read. A file that has
    changed since it was listed is an error.
    """

    paths: tuple[str, ...]
    size: int
    channels: int
    max_pixels: int = decoding.MAX_PIXELS
    filter: decoding.Filter = "bilinear"
    # int64[N, 3], a `opening.Stamp` in each row; None: files may change.
    stamps: np.ndarray | None = dataclasses.field(default=None, compare=False)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.paths), self.size, self.size, self.channels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        rows = np.arange(len(self.paths))[index]
        if rows.ndim == 0:
            return self._decode(int(rows))
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def fill(i: int) -> None:
            images[i] = self._decode(rows[i])

        map_in_threads(fill, range(len(rows)))
        return images

    def stamp(self, row: int) -> opening.Stamp | None:
        """What the file of a row was when it was listed."""
        if self.stamps is None:
            return None
        return opening.Stamp(*self.stamps[row].tolist())

    def _decode(self, row: int) -> np.ndarray:
        return decoding.decode(
            self.paths[row],
            self.size,
            self.channels,
            filter=self.filter,
            max_pixels=self.max_pixels,
            stamp=self.stamp(row),
        )


def take(images: Images, rows: np.ndarray) -> Images:
    """The images in the given rows, int[n] or bool[N]; files stay undecoded."""
    if not isinstance(images, ImageFiles):
        return images[rows]
    chosen = np.arange(len(images))[rows]
    return dataclasses.replace(
        images,
        paths=tuple(images.paths[row] for row in chosen),
        stamps=None if images.stamps is None else images.stamps[chosen],
    )


def dataset(
    name: str,
    root: pathlib.Path,
    found: Found,
    class_names: Sequence[str],
    *,
    size: int,
    channels: int,
    on_error: OnError,
    max_pixels: int = decoding.MAX_PIXELS,
) -> Dataset:
    """Makes a domain of image files, after decoding every file once.

    A file that occurs under several names (links) is taken once. It cannot have two
    labels: that is an error, as an unreadable file is.

    Args:
      root: folder that ids are relative to.
      class_names: names of the classes, by number.
      size: height and width of the decoded images, in pixels.
      channels: 1 or 3.
      on_error: what to do with an unreadable file: "raise" an error, or "skip": leave
        it out; "unchecked": open no file, and take all that are listed.
      max_pixels: largest width times height of a file.

    Raises:
      InputError: files are unreadable and on_error is "raise", with all their names
        (twenty at most, then their number), or no file is readable.
    """
    pixels.check_size(size, channels)
    if on_error not in get_args(OnError):
        raise errors.InputError(
            f'data.on_error must be "raise" or "skip", not {on_error!r}.'
        )
    paths = [str(root / path) for path in found.id]
    if on_error == "unchecked":
        images = ImageFiles(tuple(paths), size, channels, max_pixels)
        domain = _domain(name, found, class_names, images, np.arange(len(paths)))
        return domain._replace(left_out=tuple(found.left_out))
    seen = map_in_threads(
        lambda path: decoding.inspect(path, max_pixels=max_pixels), paths
    )
    out = {
        row: LeftOut(found.id[row], inspection.fault, damaged=True)
        for row, inspection in enumerate(seen)
        if inspection.fault
    }
    readable = [row for row in range(len(seen)) if row not in out]
    out |= links.repeated(root, found, {row: seen[row].place for row in readable})
    everything = [*found.left_out, *out.values()]
    everything.sort(key=lambda file: (not file.damaged, file.path))
    damaged = [file for file in everything if file.damaged]
    if damaged and on_error == "raise":
        raise errors.InputError(left_out.refusal(root, damaged))
    keep = np.array([row for row in range(len(paths)) if row not in out], np.int64)
    if not len(keep):
        reason = "".join(left_out.listed(everything[:1]))
        raise errors.InputError(
            f"{errors.printable(name)} has no readable image; the first is {reason}."
        )
    stamps = np.array([inspection.stamp for inspection in seen], np.int64)
    images = ImageFiles(tuple(paths), size, channels, max_pixels, stamps=stamps)
    domain = _domain(name, found, class_names, images, keep)
    return domain._replace(left_out=tuple(everything))


def _domain(
    name: str,
    found: Found,
    class_names: Sequence[str],
    images: ImageFiles,
    keep: np.ndarray,
) -> Dataset:
    kept = take(images, keep)
    assert isinstance(kept, ImageFiles)
    return Dataset(
        name=name,
        image=kept,
        label=np.array(found.label, np.int32)[keep],
        id=np.array(found.id)[keep],
        split=None if found.split is None else np.array(found.split)[keep],
        class_names=tuple(class_names),
        files=kept.paths,
    )


def map_in_threads(function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """function of each item, in order; decoding releases the interpreter lock."""
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))
