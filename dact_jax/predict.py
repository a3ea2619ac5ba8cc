"""`python -m dact_jax.predict --workdir=DIR --images=photos --output=x.csv`: labels."""

import os

# XLA's own log, such as its alarm about slow compilation, is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before jax is imported

import functools
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from dact_jax import cli, compilation_cache, errors, paths, signals
from dact_jax.data.readers import decoding
from dact_jax.prediction import job
from dact_jax.prediction.job import Job
from dact_jax.rounds.trained import networks

_LESS_MEMORY = "lower --batch or --max_pixels"


def _define_flags() -> flags.FlagValues:
    """New flags for each call, which keep no value of an earlier one."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    integer = functools.partial(flags.DEFINE_integer, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    text("workdir", "", "Folder of the run; it may be waiting for labels.")
    text("images", "", "A folder, a .csv or .tsv manifest, a .txt list, or vectors.")
    text("output", "", "File to write: .csv, .jsonl or .parquet.")
    flags.DEFINE_enum(
        "network",
        None,
        [*networks.NETWORKS],
        "Which network; by default the one that the run goes on with (eval.keep).",
        flag_values=values,
    )
    switch("probabilities", False, "Write those of all classes.")
    text("embeddings", "", "File to write too, .npz: features, path, classes, ...")
    switch("calibrate", False, "Fit a temperature on the run's validation labels.")
    flags.DEFINE_float(
        "abstain",
        0.0,
        "Leave the label empty below this confidence.",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )
    text("sort_into", "", "New folder with links to the images, by predicted class.")
    text("root", "", "Folder that paths in a manifest or list are relative to.")
    text("backbone", "", "Where the weights of the run's backbone are now.")
    text("cache", "", "Folder of kept vectors; by default beside the output.")
    integer("batch", 0, "Images of a forward pass; 0: as the run.", lower_bound=0)
    most = decoding.MAX_PIXELS
    integer("max_pixels", most, "Largest width times height.", lower_bound=1)
    switch("overwrite", False, "Replace outputs that exist.")
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
        if not (values.workdir and values.images and values.output):
            raise errors.InputError(
                "give --workdir=, --images= and --output=, such as --workdir=runs/a "
                "--images=photos --output=predictions.csv"
            )

        def path(flag: str) -> str:
            return paths.expanded(str(values[flag].value), f"--{flag}")

        def place(flag: str) -> pathlib.Path | None:
            return pathlib.Path(path(flag)) if values[flag].value else None

        goes_on = "stopped; no file is half written."
        with (
            signals.handled(lambda: goes_on) as stop,
            compilation_cache.kept(values.compilation_cache),
        ):
            job.run(
                Job(
                    workdir=pathlib.Path(path("workdir")),
                    images=path("images"),
                    output=pathlib.Path(path("output")),
                    network=values.network or "",
                    probabilities=values.probabilities,
                    embeddings=place("embeddings"),
                    calibrate=values.calibrate,
                    abstain=values.abstain,
                    sort_into=place("sort_into"),
                    root=path("root"),
                    backbone=path("backbone"),
                    cache=place("cache"),
                    batch=values.batch,
                    max_pixels=values.max_pixels,
                    overwrite=values.overwrite,
                ),
                say=functools.partial(print, flush=True),
                stop=stop,
            )
    except errors.StoppedError:
        raise
    except Exception as error:
        memory = errors.is_out_of_memory(error)
        cli.exit_with(error, then=_LESS_MEMORY if memory else "")


if __name__ == "__main__":
    main(sys.argv)
