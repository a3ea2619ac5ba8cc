"""`--dry_run`: everything is read and tried, and a person is told what would happen."""

import os
import pathlib
import time

import ml_collections

from dact_jax import (
    compilation_cache as programs,
    devices,
    dry_run_plan,
    paths,
    preparation,
    runner,
)
from dact_jax.configuration import build, defaults
from dact_jax.configuration.domains import sampling
from dact_jax.configuration.domains.sampling import Sample
from dact_jax.data import left_out
from dact_jax.reports import waiting
from dact_jax.rounds import claim, lock, workdir
from dact_jax.rounds.trial import measuring
from dact_jax.run_types import Run


def run(
    config: ml_collections.ConfigDict,
    where: str | os.PathLike[str],
    *,
    compilation_cache: str | os.PathLike[str] = "",
) -> list[str]:
    """Tries a run, and leaves none behind.

    Unreadable images are told, also where the run would refuse to start with them.

    Args:
      where: the folder of the run.
      compilation_cache: as in `dact_jax.run`.

    Returns:
      Lines for a person.

    Raises:
      InputError: a field, file or value is wrong, or another process is in the folder.
      DivergedError: a loss became NaN in the first iterations.
    """
    runner.check_config(config)
    config = defaults.expanded(config)
    folder = pathlib.Path(paths.expanded(where, "workdir"))
    devices.check()
    runner.check_folders(config, folder)
    config = preparation.decided(config, folder)
    claim.check(folder, defaults.identity(config), defaults=defaults.initial())
    with programs.kept(compilation_cache), lock.hold(folder):
        return _tried(config, folder)


def _tried(config: ml_collections.ConfigDict, folder: pathlib.Path) -> list[str]:
    samples: list[Sample] = []
    embed = sampling.make_embed(folder / workdir.EMBEDDINGS, samples.append)
    lenient = config.copy_and_resolve_references()
    lenient.data.on_error = "skip"
    began = time.perf_counter()
    with waiting.during("reading the data"):
        made, _ = build.build(lenient, embed=embed)
    ready = time.perf_counter() - began
    with waiting.during("timing a few iterations"):
        measured = measuring.measure(made)
    backbone = pathlib.PurePath(config.model.backbone).name
    lines = [
        f"Dry run of {config.name}, seed {config.seed}, in {config.train.precision}."
    ]
    lines += [*dry_run_plan.sentences(made), *dry_run_plan.counts(made)]
    lines += _unreadable(config, made)
    lines += dry_run_plan.embedding(samples, backbone)
    lines += dry_run_plan.purchases(config, made)
    lines += dry_run_plan.times(config, made, measured, ready)
    return [*lines, _left(folder, bool(samples))]


def _unreadable(config: ml_collections.ConfigDict, made: Run) -> list[str]:
    """What is damaged, and whether the run would start all the same."""
    sides = (made.task.source, made.task.target)
    damaged = [file for side in sides for file in side.left_out if file.damaged]
    if not damaged:
        return ["All images can be read."]
    head = f"{left_out.count(damaged)} cannot be read"
    if config.data.on_error == "raise":
        head += (
            ", so the run would not start; --config.data.on_error=skip leaves them out"
        )
    return [f"{head}:", *(f"  {line}" for line in left_out.listed(damaged))]


def _left(folder: pathlib.Path, embedded: bool) -> str:
    """What is in the folder now."""
    if (folder / workdir.CONFIG).exists():
        return f"{folder} holds this run already; it is unchanged."
    if embedded:
        return (
            f"No run was started; {folder / workdir.EMBEDDINGS} keeps the vectors of "
            "the images that were embedded."
        )
    return f"No run was started, and nothing was written into {folder}."
