"""`python -m dact_jax.embed --images=photos --output=x.npz`: images to vectors."""

import os

# XLA's own log, such as its alarm about slow compilation, is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before jax is imported

import functools
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

from dact_jax import cli, compilation_cache, devices, errors, paths, signals
from dact_jax.data import left_out
from dact_jax.data.huggingface import spec
from dact_jax.data.readers import decoding, files, sources
from dact_jax.data.vector_files import writing
from dact_jax.data.vector_files.contents import Vectors
from dact_jax.embedding import sweep
from dact_jax.models import backbones
from dact_jax.models.backbones import Backbone
from dact_jax.reports import counting, waiting
from dact_jax.run_types import NEVER, Stop
from dact_jax.types import Dataset

_LESS_MEMORY = "lower --batch or --max_pixels"
_SKIP = "--on_error=skip"


class Embedded(NamedTuple):
    features: np.ndarray  # float32[N, F]
    images: Dataset


def run(
    images: str,
    output: pathlib.Path,
    *,
    backbone: str = backbones.EFFICIENTNET,
    side: int = 0,
    normalize: str = "",
    batch: int = sweep.BATCH,
    root: str = "",
    on_error: files.OnError = "raise",
    max_pixels: int = decoding.MAX_PIXELS,
    cache: pathlib.Path | None = None,
    overwrite: bool = False,
    stop: Stop = NEVER,
) -> Embedded:
    """Embeds images, writes their vectors to a file and prints a summary line.

    All arguments, files and images are checked before the first image is embedded.

    Args:
      images: a folder, a .csv or .tsv manifest, or a .txt list.
      output: the file to write, .npz, .parquet or .npy (`data.vector_files`): vectors,
        paths and, where there are any, labels with the names of the classes.
      backbone, side, normalize: for `backbones.load`.
      batch: images that each device embeds at once.
      root: folder that paths in a manifest or list are relative to; "": the file's.
      on_error: "raise" for unreadable images, or "skip": leave them out and name them.
      max_pixels: largest width times height of an image.
      cache: folder of kept vectors; by default beside the output.
      overwrite: whether to replace an existing output.
      stop: says when to end early; what was embedded is kept.

    Raises:
      InputError: a file, flag or value is wrong.
    """
    _check_output(output, overwrite=overwrite)
    cache = cache or output.with_suffix(".cache")
    paths.check_folder(cache, "--cache")
    _check_images(images)
    devices.check()
    network = backbones.load(backbone, side=side, normalize=normalize)
    with waiting.during("reading the images"):
        read = functools.partial(sources.load, images, root=root, on_error="skip")
        found = read(size=network.side, channels=3, max_pixels=max_pixels)
    _check_left_out(found, _root(images, root), on_error)
    writing.check(output, [*found.class_names, *found.id.tolist()])
    started = time.perf_counter()
    features = _embed(found, network, cache, batch, stop)
    seconds = time.perf_counter() - started
    vectors = Vectors(features, found.id, found.label, found.class_names)
    written = ", ".join(map(str, writing.write(output, vectors)))
    print(
        f"Embedded {len(features)} images by {network.name}, {network.width} numbers "
        f"each, in {seconds:.1f} s. Written: {written}; {cache} keeps each vector for "
        "the next time.",
        flush=True,
    )
    for line in [*_omissions(found), *found.notes]:
        print(line, flush=True)
    return Embedded(features, found)


def _embed(
    found: Dataset, network: Backbone, cache: pathlib.Path, batch: int, stop: Stop
) -> np.ndarray:
    """Vectors float32[N, F], with progress on the terminal.

    Raises:
      StoppedError: someone asked for it; what was embedded is kept.
    """
    assert isinstance(found.image, files.ImageFiles)
    image = found.image
    with counting.progress("embedding images") as show, stop.saving():

        def progress(done: int, total: int) -> None:
            show(done, total)
            if stop.asked() and done < total:
                raise errors.StoppedError(
                    f"stopped after {done} of {total} images; the same command goes on."
                )

        return sweep.embed(image, network, cache=cache, batch=batch, progress=progress)


def _check_images(images: str) -> None:
    where = f"--images={errors.printable(images)}"
    form = "a folder, a .csv or .tsv manifest, a .txt list, or hf:NAME"
    if not sources.are_files(images):
        raise errors.InputError(f"{where} does not name image files: give {form}.")
    if not (os.path.exists(images) or images.startswith(spec.PREFIX)):
        raise errors.InputError(
            f"{where}: there is no such file or folder: give {form}."
        )


def _check_output(output: pathlib.Path, *, overwrite: bool) -> None:
    where = f"--output={errors.printable(output)}"
    for path in writing.outputs(output):
        shown = where if path == output else f"{where}: {errors.printable(path)}"
        if path.is_dir():
            raise errors.InputError(f"{shown} is a folder: name a file.")
        if path.exists() and not overwrite:
            raise errors.InputError(
                f"{shown} exists: name another, or add --overwrite."
            )
    if not output.parent.is_dir():
        raise errors.InputError(
            f"{where}: there is no folder {output.parent}; create it first."
        )
    paths.check_writable(output.parent, where)


def _root(images: str, root: str) -> pathlib.Path:
    """The folder that the paths of images are relative to."""
    path = pathlib.Path(images)
    if not path.is_dir():
        return pathlib.Path(root or path.parent)
    return (path.resolve() if path.name in ("", "..") else path).parent


def _check_left_out(
    found: Dataset, root: pathlib.Path, on_error: files.OnError
) -> None:
    """Raises InputError for unreadable images, unless they may be left out."""
    damaged = [file for file in found.left_out if file.damaged]
    if damaged and on_error == "raise":
        raise errors.InputError(left_out.refusal(root, damaged, way=_SKIP))


def _omissions(found: Dataset) -> list[str]:
    """What was not embedded: at most twenty names."""
    if not found.left_out:
        return []
    head = f"Left out: {left_out.count(found.left_out)}."
    return [head, *(f"  {line}" for line in left_out.listed(found.left_out))]


def _define_flags() -> flags.FlagValues:
    """New flags for each call, which keep no value of an earlier one."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    integer = functools.partial(flags.DEFINE_integer, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    choice = functools.partial(flags.DEFINE_enum, flag_values=values)
    text("images", "", "A folder of images, a .csv or .tsv manifest, or a .txt list.")
    text(
        "output",
        "",
        "File to write: .npz, .parquet, or .npy and text files beside.",
    )
    text(
        "backbone",
        backbones.EFFICIENTNET,
        f"{backbones.EFFICIENTNET}, or a file with weights: .pth, .pt, .safetensors.",
    )
    integer("side", 0, "Pixels of the network's input; 0: its own.", lower_bound=0)
    normalizations = ["", *backbones.NORMALIZATIONS]
    choice("normalize", "", normalizations, "How the network sees pixels; '': its own.")
    integer("batch", sweep.BATCH, "Images a device embeds at once.", lower_bound=1)
    text("root", "", "Folder that paths in a manifest or list are relative to.")
    handling = "Unreadable images: an error, or left out and named."
    choice("on_error", "raise", ["raise", "skip"], handling)
    most = decoding.MAX_PIXELS
    integer("max_pixels", most, "Largest width times height.", lower_bound=1)
    text("cache", "", "Folder of kept vectors; by default beside the output.")
    switch("overwrite", False, "Replace the output if it exists.")
    cli.define_compilation_cache(values)
    switch("help", False, "Show this.")
    return values


def main(argv: Sequence[str]) -> None:
    """Runs the command; a user's error ends it with one sentence and exit code 2."""
    cli.quiet_libraries()
    cli.print_anything()
    values = _define_flags()
    try:
        if not cli.parse(values, argv, str(__doc__)):
            return
        if not values.images or not values.output:
            raise errors.InputError(
                "give --images= and --output=, such as --images=photos --output=x.npz"
            )
        goes_on = "stopped; the same command goes on from what was embedded."
        with (
            signals.handled(lambda: goes_on) as stop,
            compilation_cache.kept(values.compilation_cache),
        ):
            run(
                _path(values.images, "images"),
                pathlib.Path(_path(values.output, "output")),
                backbone=_path(values.backbone, "backbone"),
                side=values.side,
                normalize=values.normalize,
                batch=values.batch,
                root=_path(values.root, "root"),
                on_error=values.on_error,
                max_pixels=values.max_pixels,
                cache=pathlib.Path(_path(values.cache, "cache"))
                if values.cache
                else None,
                overwrite=values.overwrite,
                stop=stop,
            )
    except errors.StoppedError:
        raise
    except Exception as error:
        memory = errors.is_out_of_memory(error)
        cli.exit_with(error, then=_LESS_MEMORY if memory else "")


def _path(text: str, flag: str) -> str:
    return paths.expanded(text, f"--{flag}")


if __name__ == "__main__":
    main(sys.argv)
