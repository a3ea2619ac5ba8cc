"""Images as text inside a page: thumbnails, and many small ones on one sheet."""

import base64
import io
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from dact_jax import errors
from dact_jax.data import threads
from dact_jax.data.readers import decoding, embeddings, files
from dact_jax.types import Images

SIDE = 112  # longest side of a thumbnail, in pixels
TILE = 64  # of an image on a sheet: whole blocks of JPEG, so that none runs over
_QUALITY = 80
_SHEET_QUALITIES = (78, 60, 40, 25)  # the first that fits
_COLUMNS = 40
_LOSSLESS = 64  # images of at most so many pixels on a side are kept as they are


class Source(NamedTuple):
    """Where the images of a pool are, if anywhere."""

    paths: Sequence[str] | None  # N files
    images: Images | None  # N images of pixels


class Picture(NamedTuple):
    """An image inside a page."""

    address: str  # "data:..."; "" if it cannot be shown
    width: int
    height: int
    fault: str = ""  # why it cannot be shown


class Sheet(NamedTuple):
    """Images of one size beside and below one another."""

    address: str  # "data:..."
    columns: int
    side: int  # of a tile in pixels


def source(images: Images, paths: Sequence[str] | None) -> Source | None:
    """What can be shown of a pool; None for vectors without files."""
    if paths is not None:
        return Source(paths, None)
    if embeddings.are_vectors(images):
        return None
    if isinstance(images, files.ImageFiles):
        return Source(images.paths, None)
    return Source(None, images)


def thumbnails(
    pool: Source, rows: Sequence[int], *, most_bytes: int
) -> list[Picture | None]:
    """Thumbnails of rows, in order; None from the one on that would be too much.

    Args:
      most_bytes: of all addresses together.
    """
    made = threads.map_in_order(lambda row: _thumbnail(pool, row), rows)
    shown: list[Picture | None] = []
    used = 0
    for picture in made:
        used += len(picture.address)
        shown.append(picture if used <= most_bytes else None)
    return shown


def sheet(pools: Sequence[tuple[Source, Sequence[int]]], *, most_bytes: int) -> Sheet:
    """The images of rows of pools, one pool after the other, as tiles of one image.

    One that cannot be read is an empty tile.

    Args:
      most_bytes: of the address; JPEG loses detail until it fits.
    """
    tiles = [
        tile
        for pool, rows in pools
        for tile in threads.map_in_order(_tile_of(pool), rows)
    ]
    largest = max((max(tile.size) for tile in tiles if tile), default=1)
    lossless, side = largest < TILE, min(largest, TILE)
    columns = min(_COLUMNS, max(len(tiles), 1))
    height = max(math.ceil(len(tiles) / columns), 1)
    canvas = Image.new("RGB", (columns * side, height * side), "white")
    for place, tile in enumerate(tiles):
        if tile:
            left = place % columns * side + (side - tile.width) // 2
            top = place // columns * side + (side - tile.height) // 2
            canvas.paste(tile, (left, top))
    if lossless:
        address = _address(canvas, "PNG")
        if len(address) <= most_bytes:
            return Sheet(address, columns, side)
    for quality in _SHEET_QUALITIES:
        address = _address(canvas, "JPEG", quality=quality)
        if len(address) <= most_bytes:
            break
    return Sheet(address, columns, side)


def heat(shares: np.ndarray) -> str:
    """A matrix of shares as an image of one pixel each: the larger, the less clear.

    Args:
      shares: float[K, K] in [0, 1].

    Returns:
      "data:...", an image that shows the page's background where a share is 0.
    """
    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = (37, 99, 235)
    pixels[..., 3] = np.round(255 * np.sqrt(shares))  # small shares are visible
    return _address(Image.fromarray(pixels), "PNG")


def _thumbnail(pool: Source, row: int) -> Picture:
    try:
        image = _image(pool, row, SIDE)
    except errors.InputError as error:
        return Picture("", 0, 0, str(error))
    address = (
        _address(image, "PNG")
        if pool.paths is None and max(image.size) <= _LOSSLESS
        else _address(image, "JPEG", quality=_QUALITY)
    )
    return Picture(address, *image.size)


def _tile_of(pool: Source) -> Callable[[int], Image.Image | None]:
    def tile(row: int) -> Image.Image | None:
        try:
            return _image(pool, row, TILE)
        except errors.InputError:
            return None

    return tile


def _image(pool: Source, row: int, side: int) -> Image.Image:
    if pool.paths is not None:
        return decoding.thumbnail(pool.paths[row], side)
    assert pool.images is not None
    pixels = np.asarray(pool.images[np.array([row])])[0]  # uint8[H, W, C]
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    image = Image.fromarray(pixels).convert("RGB")
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return image


def _address(image: Image.Image, form: str, **options: int) -> str:
    out = io.BytesIO()
    image.save(out, form, optimize=True, **options)
    content = base64.b64encode(out.getvalue()).decode("ascii")
    return f"data:image/{form.lower()};base64,{content}"
