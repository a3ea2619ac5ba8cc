"""`python -m dact_jax.export --workdir=DIR --output=DIR`: a run's network elsewhere."""

import os

# XLA's own log, such as its alarm about slow compilation, is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before jax is imported

import functools
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from dact_jax import (
    classifier as classifiers,
    cli,
    compilation_cache,
    devices,
    errors,
    paths,
    signals,
)
from dact_jax.configuration import build_inference
from dact_jax.exporting import samples, writing
from dact_jax.exporting.writing import Exported
from dact_jax.prediction import summary
from dact_jax.reports import waiting
from dact_jax.rounds.trained import networks

_CHECKED = 64  # images on which the model is compared with ours


def run(
    workdir: pathlib.Path,
    form: str,
    output: pathlib.Path,
    *,
    network: str = "",
    backbone: str = "",
    images: str = "",
    checked: int = _CHECKED,
    input_type: str = "float32",
    overwrite: bool = False,
) -> Exported:
    """Writes the trained network of a run in another form, and prints what it is.

    Args:
      workdir: the folder of a run, whose data need not be there any more.
      form: one of `writing.FORMATS`.
      output: the folder to write; it must be new, or hold an exported model.
      network, backbone: for `classifier.load`.
      images: images or vectors to compare on; "": the run's target.
      checked: how many of them.
      input_type: what an ONNX or StableHLO model takes, "float32" or "uint8".
      overwrite: whether to replace an exported model.

    Raises:
      InputError: a folder, file or flag is wrong, the form cannot hold the network, or
        the model differs from ours.
    """
    writing.check_output(output, overwrite=overwrite)
    writing.module(form).require()
    devices.check()
    loaded = classifiers.load(workdir, backbone=backbone, network=network)
    if input_type == "uint8" and loaded.network.on_vectors and not loaded.backbone:
        raise errors.InputError(
            "--input_type=uint8 is for images, but this run is on vectors: leave it "
            "out."
        )
    writing.module(form).check(loaded)
    for line in _about(loaded):
        print(line, flush=True)
    loaded = _center(loaded)
    with waiting.during("writing the model and comparing it"):
        found = samples.take(loaded, checked, images)
        done = writing.write(
            loaded, workdir, form, output, found, input_type=input_type
        )
    print(done.sentence)
    print(f"Written: {output}: {', '.join(done.files)}.", flush=True)
    return done


def _about(loaded: classifiers.Classifier) -> list[str]:
    """Which network it is, and what it does otherwise than the run's evaluations."""
    config, count = loaded.config, len(loaded.class_names)
    parts = config.model.encoder
    if loaded.backbone is not None:
        parts = f"{loaded.backbone.name} and {parts}"
    lines = [f"Exporting {loaded.origin}: {parts}, {count} classes."]
    lines.append(summary.norm(loaded))
    if config.eval.crops > 1:
        lines.append(
            "The model sees the center of an image; the run's accuracies average "
            f"{config.eval.crops} crops (eval.crops)."
        )
    return lines


def _center(loaded: classifiers.Classifier) -> classifiers.Classifier:
    """The classifier that sees the center of an image alone."""
    config = loaded.config.copy_and_resolve_references()
    config.eval.crops = 1
    network = build_inference.make_inference(
        config, len(loaded.class_names), loaded.image_shape
    )
    return loaded._replace(config=config, network=network)


def _define_flags() -> flags.FlagValues:
    """New flags for each call, which keep no value of an earlier one."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    choice = functools.partial(flags.DEFINE_enum, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    text("workdir", "", "Folder of a run.")
    choice("format", "torch", list(writing.FORMATS), "Form of the model.")
    text("output", "", "Folder to write; it must be new.")
    which = "Which network; by default the one that the run goes on with (eval.keep)."
    choice("network", None, [*networks.NETWORKS], which)
    text("backbone", "", "File of the backbone's weights, if it has moved.")
    text("images", "", "Images or vectors to compare on; '': the run's target.")
    flags.DEFINE_integer(
        "checked", _CHECKED, "Images to compare on.", lower_bound=1, flag_values=values
    )
    types = ["float32", "uint8"]
    choice("input_type", "float32", types, "What an ONNX or StableHLO model takes.")
    switch("overwrite", False, "Replace the exported model in --output.")
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
        if not values.workdir or not values.output:
            raise errors.InputError(
                "give --workdir= and --output=, such as --workdir=runs/mine "
                "--format=onnx --output=model"
            )
        output = pathlib.Path(_path(values.output, "output"))

        def last_words() -> str:
            writing.clear(output)
            return "stopped; no model is written."

        with (
            signals.handled(last_words),
            compilation_cache.kept(values.compilation_cache),
        ):
            run(
                pathlib.Path(_path(values.workdir, "workdir")),
                values.format,
                output,
                network=values.network or "",
                backbone=_path(values.backbone, "backbone"),
                images=_path(values.images, "images"),
                checked=values.checked,
                input_type=values.input_type,
                overwrite=values.overwrite,
            )
    except errors.StoppedError:
        raise
    except Exception as error:
        cli.exit_with(error)


def _path(text: str, flag: str) -> str:
    return paths.expanded(text, f"--{flag}") if text else ""


if __name__ == "__main__":
    main(sys.argv)
