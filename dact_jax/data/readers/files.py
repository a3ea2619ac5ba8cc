"""Image files as one array, checked when they are listed.

Their pixels are kept where there is room for them, else decoded when indexed.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from dact_jax import errors
from dact_jax.data import joined, left_out, threads
from dact_jax.data.cache import making
from dact_jax.data.cache.form import Form
from dact_jax.data.cache.kept import Kept
from dact_jax.data.cache.room import Cache
from dact_jax.data.readers import decoding, links, opening, pixels
from dact_jax.data.readers.links import Found
from dact_jax.types import Dataset, Images, LeftOut

# "unchecked": no file is opened, so that the names and labels are known at once.
OnError = Literal["raise", "skip", "unchecked"]
_AT_ONCE = 64  # images that a thread reads


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Files as uint8[N, size, size, channels], read when rows are indexed.

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
    # Pixels of some or all of the files; it needs stamps. None: all are decoded.
    kept: Kept | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.kept is not None and (
            self.kept.form != self.form or self.stamps is None
        ):
            raise ValueError("the kept images are of another form, or have no stamps")

    @property
    def form(self) -> Form:
        return Form(self.size, self.channels, self.filter, self.max_pixels)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.paths), self.size, self.size, self.channels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        rows = joined.rows_of(index, len(self.paths))
        if rows.ndim == 0:
            return self[rows[None]][0]
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        missing = np.arange(len(rows))
        if self.kept is not None:
            missing = self._read(self.kept, rows, images)

        def decode(i: int) -> None:
            images[i] = self._decode(int(rows[i]))

        if len(missing) == 1:
            decode(int(missing[0]))
        elif len(missing):
            threads.map_in_order(decode, missing)
        return images

    def stamp(self, row: int) -> opening.Stamp | None:
        """What the file of a row was when it was listed."""
        if self.stamps is None:
            return None
        return opening.Stamp(*self.stamps[row].tolist())

    def _read(self, kept: Kept, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Fills in kept images of rows; returns the places of the others, int[m]."""
        done = np.zeros(len(rows), bool)

        def read(begin: int) -> None:
            some = slice(begin, begin + _AT_ONCE)
            done[some] = kept.read(rows[some], images[some])
            for row in rows[some][done[some]].tolist():
                stamp = self.stamp(row)
                assert stamp is not None
                opening.check_unwritten(self.paths[row], stamp)

        if len(rows) <= _AT_ONCE:
            read(0)
        else:
            threads.map_in_order(read, range(0, len(rows), _AT_ONCE))
        return np.flatnonzero(~done)

    def _decode(self, row: int) -> np.ndarray:
        return decoding.decode(
            self.paths[row],
            self.size,
            self.channels,
            filter=self.filter,
            max_pixels=self.max_pixels,
            stamp=self.stamp(row),
        )


def reformed(images: ImageFiles, form: Form) -> ImageFiles:
    """The same files in another form; their pixels are not kept."""
    return dataclasses.replace(images, **form._asdict(), kept=None)


def take(images: Images, rows: np.ndarray) -> Images:
    """The images in the given rows, int[n] or bool[N]; files stay unread."""
    if not isinstance(images, ImageFiles):
        return images[rows]
    chosen = joined.rows_of(rows, len(images))
    return dataclasses.replace(
        images,
        paths=tuple(images.paths[row] for row in chosen.tolist()),
        stamps=None if images.stamps is None else images.stamps[chosen],
        kept=None if images.kept is None else images.kept.take(chosen),
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
    cache: Cache | None = None,
) -> Dataset:
    """Makes a domain of image files, after decoding every file that is not kept.

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
      cache: where pixels are kept; None: every use decodes.

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
    form = Form(size, channels, max_pixels=max_pixels)
    seen, kept = making.check(paths, form, cache, name)
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
    images = ImageFiles(
        tuple(paths), size, channels, max_pixels, stamps=stamps, kept=kept
    )
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
