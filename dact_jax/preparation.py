"""A run made of its config and its data, while a person sees how far that is."""

import contextlib
import functools
import pathlib
from collections.abc import Iterator

import ml_collections
import numpy as np

from dact_jax import errors
from dact_jax.configuration import build, build_stages, defaults
from dact_jax.data.readers.files import ImageFiles
from dact_jax.embedding import sweep
from dact_jax.embedding.sweep import Progress
from dact_jax.models.backbones import Backbone
from dact_jax.processes import group
from dact_jax.reports import counting, waiting
from dact_jax.rounds import claim, workdir
from dact_jax.run_types import NEVER, Run, Stop

_PRECISION = "train.precision"


def make_run(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    *,
    progress: bool,
    stop: Stop = NEVER,
) -> tuple[Run, dict[str, str]]:
    """`build.build`, with the vectors of images kept in the run's folder.

    Args:
      progress: whether to show what is done.
      stop: says when to end early; the images that were embedded are kept.

    Raises:
      InputError: a field, file or value is wrong.
      StoppedError: `stop` asked for it.
    """
    with _report(stop, shows=progress) as report:
        embed = functools.partial(_embed, folder / workdir.EMBEDDINGS)
        return build.build(config, embed=embed, progress=report)


def _embed(
    cache: pathlib.Path, files: ImageFiles, backbone: Backbone, *, progress: Progress
) -> np.ndarray:
    """The vectors of images; process 0 alone computes and keeps those of a run."""
    vectors = group.from_first(
        lambda: sweep.embed(files, backbone, cache=cache, progress=progress)
    )
    return np.asarray(vectors)


def decided(
    config: ml_collections.ConfigDict, folder: pathlib.Path
) -> ml_collections.ConfigDict:
    """The config with what `train.precision=auto` stands for.

    A run goes on as it began, also on other devices; one without a record of it began
    in float32. Process 0 decides, for all.

    Args:
      folder: of the run; it may be new.

    Raises:
      InputError: its config.yaml is damaged.
    """
    if config.train.precision != "auto":
        return config
    copy = config.copy_and_resolve_references()
    copy.train.precision = group.from_first(lambda: _precision(config, folder))
    return copy


def _precision(config: ml_collections.ConfigDict, folder: pathlib.Path) -> str:
    if not (folder / workdir.CONFIG).exists():
        return build_stages.precision(config)
    recorded = claim.flat(claim.read(folder).config)
    return str(recorded.get(_PRECISION, defaults.initial()[_PRECISION]))


@contextlib.contextmanager
def _report(stop: Stop, *, shows: bool) -> Iterator[Progress]:
    """Shows that data are read, and how far images are embedded once that begins."""
    with contextlib.ExitStack() as stack:
        if shows:
            stack.enter_context(waiting.during("reading the data"))
        showing: list[Progress] = []

        def report(done: int, total: int) -> None:
            if not showing:
                stack.close()
                stack.enter_context(stop.saving())
                counted = counting.progress("embedding the images")
                showing.append(stack.enter_context(counted) if shows else _ignore)
            showing[0](done, total)
            if done == total:
                stack.close()
            elif stop.asked():
                raise errors.StoppedError(
                    f"stopped after {done} of {total} images were embedded; the same "
                    "command goes on from there."
                )

        yield report


def _ignore(done: int, total: int) -> None:
    del done, total
