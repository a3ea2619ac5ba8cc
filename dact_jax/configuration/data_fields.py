"""The fields `data.*`: what is read, how it is split, and what a network gets of it."""

from typing import Any

from dact_jax import kinds
from dact_jax.configuration.fields import Field

_SIDE = kinds.whole(1, 4096)
_NUMBERS = kinds.each(kinds.real(-kinds.LARGEST))


def _is_area(value: Any) -> bool:
    if not kinds.each(kinds.real(0, 1), counts=(2,)).fits(value):
        return False
    low, high = value
    return low == high == 0 or 0 < low <= high


_AREA = kinds.Kind(
    "(0.0, 0.0) for crops that are not resized, or a range of shares of the image such "
    "as (0.08, 1.0)",
    _is_area,
)

DATA = {
    "root": Field("", kinds.path(), "folder that paths in manifests are relative to"),
    "tfds_dir": Field("", kinds.path(), "folder of TFDS data; empty: that of TFDS"),
    "size": Field(
        28, _SIDE, "side in pixels: images are stored as uint8[N, size, size, channels]"
    ),
    "channels": Field(1, kinds.choice(1, 3), "1 (gray) or 3 (color)"),
    "scale": Field(
        "unit",
        kinds.choice("unit", "raw"),
        "embeddings: unit (mean square 1) or raw (as they are)",
    ),
    "on_error": Field(
        "raise",
        kinds.choice("raise", "skip"),
        "at an unreadable image: raise, or skip and name it",
    ),
    "max_pixels": Field(
        89_478_485,
        kinds.whole(1, 178_956_970),
        "largest width times height of an image file",
    ),
    "cache_dir": Field(
        "",
        kinds.path(),
        "folder of decoded images, for later runs too; empty: in your caches, up to "
        "32 GiB; none: they are decoded whenever they are used",
    ),
    "device_bytes": Field(
        2**30, kinds.whole(0, 2**50), "pools up to this size are kept in device memory"
    ),
    # What the network gets: in training a random crop, in evaluation the center.
    "crop": Field(28, _SIDE, "side of a crop in pixels: what the network gets"),
    "crop_area": Field(
        (0.0, 0.0),
        _AREA,
        "range of the share of the image that a training crop covers before it is "
        "resized to crop; (0, 0): not resized",
    ),
    "flip": Field(False, kinds.flag(), "mirror half of the training images"),
    "mean": Field(
        (0.5,), _NUMBERS, "subtracted from pixels in [0, 1], for each channel"
    ),
    "std": Field(
        (0.5,), kinds.each(kinds.positive()), "then divides them, for each channel"
    ),
    # How the target is split, unless the data name test or validation images.
    "test_fraction": Field(
        1 / 3,
        kinds.real(below=1),
        "share of the labelled target images that test; 0: none, so that accuracy is "
        "known for validation images only",
    ),
    "stratified": Field(
        False,
        kinds.flag(),
        "every class gives its share of the test images, and keeps some to train on; "
        "False: they are drawn without regard to class, as in the papers",
    ),
    "val_per_class": Field(
        3, kinds.whole(), "labelled target images a class for validation (T_v)"
    ),
    "shots_per_class": Field(
        0, kinds.whole(), "target images a class whose labels are given at the start"
    ),
    "transductive": Field(
        False, kinds.flag(), "adapt to the images that test (starred variants)"
    ),
    "transductive_set": Field(
        "all",
        kinds.choice("all", "test"),
        "all: unlabelled target images test, none are held out; test: to those held "
        "out",
    ),
    # MME's list files, which fix T_l, T_v and T_u (= test): give all three, or none.
    "labelled_list": Field("", kinds.path(), "MME's list file of T_l"),
    "val_list": Field("", kinds.path(), "MME's list file of T_v"),
    "unlabeled_list": Field("", kinds.path(), "MME's list file of T_u, which tests"),
    "classes": Field(
        "",
        kinds.text(),
        "classes to use, such as mug,cup; empty: all, which both domains must have",
    ),
    "source": Field("", kinds.path(), "the labelled domain"),
    "target": Field("", kinds.path(), "the domain to adapt to"),
}
