"""Digits rendered with matplotlib's fonts: a labelled source without downloads."""

import functools
import math
import operator
import pathlib
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib import ft2font
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from dact_jax import errors
from dact_jax.data.readers import pixels
from dact_jax.types import Dataset

GLYPHS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
)
FILL = 20 / 28  # share of the image's side that a digit fills, as in MNIST
OVERSAMPLING = 2  # digits are drawn this many times larger, then averaged


def load(
    *, size: int = 28, channels: int = 1, per_class: int = 400, seed: int = 0
) -> Dataset:
    """Printed digits, white on black, of random font, pose, stroke and gray level.

    Image i of a class does not depend on `per_class`.

    Args:
      size: height and width of the images, in pixels.
      channels: 1, or 3 equal ones.
      per_class: number of images of each digit.

    Returns:
      10 * per_class images in class order, with ids such as "DejaVuSans-Bold/7/0012".

    Raises:
      InputError: per_class, size or channels is out of range.
    """
    pixels.check_size(size, channels)
    if per_class < 1:
        raise errors.InputError(f"per_class must be at least 1, not {per_class}.")
    fonts = [(path.stem, ImageFont.truetype(str(path), 64)) for path in digit_fonts()]
    images, ids = [], []
    for digit in range(10):
        glyphs = [_glyphs(font, str(digit)) for _, font in fonts]
        for i in range(per_class):
            name, _ = fonts[i % len(fonts)]
            rng = np.random.default_rng([seed, digit, i])
            images.append(_draw(glyphs[i % len(fonts)], size, rng))
            ids.append(f"{name}/{digit}/{i:04d}")
    return Dataset(
        name="printed",
        image=pixels.fit(np.stack(images)[..., None], size=size, channels=channels),
        label=np.repeat(np.arange(10, dtype=np.int32), per_class),
        id=np.array(ids),
        split=None,
        class_names=tuple("0123456789"),
    )


@functools.cache
def digit_fonts() -> tuple[pathlib.Path, ...]:
    """Paths of the fonts whose glyphs for 0-9 are digits, not symbols or old style."""
    folder = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    return tuple(path for path in sorted(folder.glob("*.ttf")) if _has_digits(path))


def _has_digits(path: pathlib.Path) -> bool:
    font = ft2font.FT2Font(str(path))
    glyphs = [font.get_char_index(ord(digit)) for digit in "0123456789"]  # 0: none
    return all(map(operator.eq, map(font.get_glyph_name, glyphs), GLYPHS))


def _draw(
    glyphs: Callable[[int], Image.Image], size: int, rng: np.random.Generator
) -> np.ndarray:
    """One digit as uint8[size, size], of one of the glyphs of strokes 0, 1 and 2."""
    glyph = glyphs(int(rng.integers(0, 3)))
    canvas = OVERSAMPLING * size
    side = canvas * FILL * rng.uniform(0.8, 1.1)
    angle, shear = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)
    stretch = rng.uniform(0.8, 1.2)  # width relative to height
    # Pillow's affine transform maps a pixel of the result to a pixel of the glyph.
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array(
        [[1 / stretch, shear], [0, 1]]
    )
    matrix = linear * max(glyph.size) / side
    center = canvas / 2 + canvas * rng.uniform(-0.05, 0.05, 2)
    offset = np.array(glyph.size) / 2 - matrix @ center
    coefficients = np.column_stack([matrix, offset]).ravel().tolist()
    drawn = glyph.transform(
        (canvas, canvas),
        Image.Transform.AFFINE,
        coefficients,
        Image.Resampling.BILINEAR,
    )
    drawn = drawn.filter(ImageFilter.GaussianBlur(OVERSAMPLING * rng.uniform(0, 0.7)))
    gray = np.asarray(drawn.reduce(OVERSAMPLING), np.float32) * rng.uniform(0.7, 1.0)
    return np.round(gray).astype(np.uint8)


def _glyphs(font: ImageFont.FreeTypeFont, text: str) -> Callable[[int], Image.Image]:
    """The character by the width of its stroke; each glyph is drawn once."""
    return functools.cache(lambda stroke: _glyph(font, text, stroke=stroke))


def _glyph(font: ImageFont.FreeTypeFont, text: str, *, stroke: int) -> Image.Image:
    """The character in white on black, cropped to its bounding box."""
    left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
    image = Image.new("L", (math.ceil(right - left), math.ceil(bottom - top)))
    ImageDraw.Draw(image).text((-left, -top), text, 255, font, stroke_width=stroke)
    return image
