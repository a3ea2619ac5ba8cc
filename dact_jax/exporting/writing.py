"""A model in its folder: written beside it, compared with ours, and then named."""

import contextlib
import importlib
import os
import pathlib
import shutil
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from dact_jax import errors, paths, storage
from dact_jax.classifier import Classifier
from dact_jax.exporting import comparison, record, written
from dact_jax.exporting.comparison import Difference
from dact_jax.exporting.samples import Samples

FORMATS = ("torch", "onnx", "stablehlo", "npz")
_LOADER, _INPUTS = "load_model.py", "inputs.py"
_FILES = (  # of all formats
    *(record.FILE, _LOADER, _INPUTS, "network.py", "model.safetensors"),
    *("model.onnx", "model.stablehlo", "variables.npz", "__pycache__"),
)


class Exported(NamedTuple):
    files: tuple[str, ...]
    difference: Difference
    sentence: str  # about it


def module(form: str) -> ModuleType:
    """What writes a format, imported only when it is asked for.

    It has `require()`, which raises InputError if a library is missing, `check(
    classifier)`, which raises it for a network that the form cannot hold, and `write(
    classifier, folder, stored, *, input_type)`, which gives a `Written`.
    """
    return importlib.import_module(f"dact_jax.exporting.{form}_format")


def check_output(output: pathlib.Path, *, overwrite: bool) -> None:
    """Checks that a model can be written to a folder, before any work.

    Raises:
      InputError: it is no folder, holds what must not be replaced, or cannot be written
        to.
    """
    where, parent = f"--output={errors.printable(output)}", output.absolute().parent
    if not parent.is_dir():
        raise errors.InputError(
            f"{where}: there is no folder {parent}; create it first."
        )
    paths.check_writable(parent, where)
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not output.is_dir():
        raise errors.InputError(f"{where} exists and is no folder: name a new one.")
    names = {path.name for path in output.iterdir()}
    if others := sorted(names - {*_FILES}):
        raise errors.InputError(
            f"{where} holds {errors.quoted(others[0])}, which is no file of an "
            "exported model: name a new folder."
        )
    if names and not overwrite:
        raise errors.InputError(f"{where} exists: name another, or add --overwrite.")


def write(
    classifier: Classifier,
    run: pathlib.Path,
    form: str,
    output: pathlib.Path,
    samples: Samples,
    *,
    input_type: str = "float32",
) -> Exported:
    """Writes the model of a classifier, if it computes what the classifier does.

    Args:
      run: folder of the run.
      form: one of FORMATS.
      output: folder of the model; what an earlier export left there is replaced.
      samples: real images.
      input_type: "float32" or "uint8", what an ONNX or StableHLO model takes.

    Raises:
      InputError: the form cannot hold the network, or the model differs too much; then
        nothing is written.
    """
    expected = comparison.ours(classifier, samples.stored)
    with _draft(output) as folder:
        done = module(form).write(
            classifier, folder, samples.stored, input_type=input_type
        )
        found = comparison.difference(expected, done.logits)
        sentence = comparison.check(found, done.by, samples)
        known = {**record.of(classifier, run, form), **done.record}
        known["compared"] = {
            "computed_by": done.by,
            "images_of": samples.kind,
            **found._asdict(),
        }
        storage.write_atomic(folder / record.FILE, record.text(known))
        if form != "npz":
            kind = "vectors" if known["input"]["kind"] == "vectors" else "images"
            for name, text in ((_LOADER, f"load_{form}"), (_INPUTS, f"inputs_{kind}")):
                storage.write_atomic(folder / name, written.snippet(text))
        files = tuple(sorted(path.name for path in folder.iterdir()))
    return Exported(files, found, sentence)


@contextlib.contextmanager
def _draft(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder that takes the place of `output` when the block ends well."""
    draft, old = _beside(output)
    try:
        with storage.naming(output):
            draft.mkdir()
            yield draft
            if os.path.lexists(output):
                os.rename(output, old)
            os.rename(draft, output)
    finally:
        clear(output)


def clear(output: pathlib.Path) -> None:
    """Removes what this process has beside a folder that it replaces.

    What was there before comes back if nothing has taken its place yet.
    """
    draft, old = _beside(output)
    if old.exists() and not os.path.lexists(output):
        os.rename(old, output)
    for left in (draft, old):
        shutil.rmtree(left, ignore_errors=True)


def _beside(output: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Where a model is written, and where the one before it waits to be removed."""
    output = output.absolute()
    draft, old = (f".{output.name}.{os.getpid()}.{end}" for end in ("tmp", "old"))
    return output.with_name(draft), output.with_name(old)
