"""A run of a second, started as a user starts it, and what must come out equal."""

import contextlib
import functools
import io
import pathlib
import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import flags

from dact_jax import errors, main, plugins
from dact_jax.configuration import defaults
from dact_jax.rounds import answers, lock, workdir
from tests import toy
from tests.crash import person

_SIZES = {
    "model.widths": "(8,)",
    "train.steps": 4,
    "train.chunk": 2,
    "train.save_every": 2,
    "train.batch_source": 8,
    "train.batch_target": 8,
    "train.batch_unlabeled": 8,
    "train.eval_batch": 32,
    "pretrain.steps": 2,
    "pretrain.batch": 8,
    "loss_predictor.steps": 2,
    "loss_predictor.batch": 8,
    "policies.dual.source_rounds": 1,
    "eval.every": 2,
    "figures": False,
    "tensorboard": True,
    **{f"policies.{policy}.initial": 3 for policy in ("single", "dual")},
    **{f"policies.{policy}.per_round": 3 for policy in ("single", "dual")},
    **{f"policies.{policy}.purchases": 1 for policy in ("single", "dual")},
}
HUMAN = "human"  # in place of a preset: s_act whose labels a person gives
_SMALLER = {
    "train.steps": 2,
    "train.chunk": 1,
    "train.save_every": 1,
    "pretrain.steps": 0,
    "tensorboard": False,
}


class Ended(NamedTuple):
    """How a command ended in this process."""

    code: int  # exit code
    out: str
    err: str


def command(place: pathlib.Path, folder: pathlib.Path, preset: str) -> list[str]:
    """The arguments of a small run: it pretrains, buys labels once, and reports.

    Args:
      place: where the vectors are; they are made if they are missing.
      folder: of the run.
      preset: such as "s_act" or "d_act", or HUMAN.
    """
    toy.vector_config(place)  # it makes the files
    sizes, given = _SIZES, [f"--config.target={place / 'target.npz'}"]
    if preset == HUMAN:
        preset, sizes, given = "s_act", _SIZES | _SMALLER, person.flags(place)
    return [
        "main",
        f"--config=embeddings:preset={preset}",
        f"--config.source={place / 'source.npz'}",
        *given,
        *(f"--config.{name}={value}" for name, value in sizes.items()),
        f"--workdir={folder}",
    ]


def run(arguments: list[str]) -> Ended:
    """Runs the command here, and again whenever a person has answered its questions.

    An exception that the command does not catch passes.
    """
    folder = pathlib.Path(arguments[-1].partition("=")[2])
    out = err = ""
    while True:
        ended = _run_once(arguments)
        out, err = out + ended.out, err + ended.err
        if ended.code or not person.is_asked(ended.out):
            return Ended(ended.code, out, err)
        try:
            person.answer(folder)
        except OSError as error:  # as the page tells it
            return Ended(2, out, f"{err}dact_jax: {errors.sentence(error)}\n")


def _run_once(arguments: list[str]) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.main(arguments)
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            _forget_flags()
    return Ended(code, out.getvalue(), err.getvalue())


def _forget_flags() -> None:
    """The flags of a config's fields, which absl would define twice."""
    flags.FLAGS.unparse_flags()
    for name in list(flags.FLAGS):
        if name.startswith("config."):
            delattr(flags.FLAGS, name)


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Commands share the list of fields and options, whose files do not change here."""
    names, declared = plugins.names, defaults.declared
    plugins.names = functools.cache(names)
    defaults.declared = functools.cache(declared)
    try:
        yield
    finally:
        plugins.names, defaults.declared = names, declared


def differences(folder: pathlib.Path, expected: pathlib.Path) -> list[str]:
    """What two finished runs do not share, bit for bit, but for seconds.

    Compared are all rows of metrics, all picks, every array of the last checkpoint, the
    words of the report, and the names of the files, of the run and of its pre-training;
    and where a person was asked, all questions and labels.
    """
    found = []
    if (expected / answers.FILE).exists():
        found += person.differences(folder, expected)
    for stage in ("", "pretrained"):
        a, b = folder / stage, expected / stage
        if not (a.exists() or b.exists()):
            continue
        if _rows(a) != _rows(b):
            found.append(f"{a / workdir.METRICS} differs")
        if (a / workdir.PICKS).read_bytes() != (b / workdir.PICKS).read_bytes():
            found.append(f"{a / workdir.PICKS} differs")
        arrays = _arrays(a), _arrays(b)
        if arrays[0].keys() != arrays[1].keys():
            found.append(f"{a} has a checkpoint of another form")
        found += [
            f"{a}: {name} of the last checkpoint differs"
            for name in arrays[0].keys() & arrays[1].keys()
            if not _same(arrays[0][name], arrays[1][name])
        ]
        reports = [_outline(place) for place in (a, b)]
        if reports[0] != reports[1]:
            found.append(f"{a / 'report.md'} differs")
        names = [{path.name for path in place.iterdir()} for place in (a, b)]
        # A lock whose file could not be removed was given back all the same.
        extra = names[0] - names[1] - {lock.FILE}
        found += [f"{a / name} is left over" for name in extra]
        found += [f"{a / name} is missing" for name in names[1] - names[0]]
    return found


def progress(folder: pathlib.Path) -> list[object]:
    """What of a run is complete: checkpoints, questions and answers."""
    return [*_checkpoints(folder), *person.progress(folder)]


def _checkpoints(folder: pathlib.Path) -> list[str]:
    """The complete checkpoints of a run and of its pre-training."""
    places = folder.glob("checkpoints/*"), folder.glob("pretrained/checkpoints/*")
    return sorted(
        str(path.relative_to(folder))
        for place in places
        for path in place
        if path.name.isdigit()
    )


def _rows(folder: pathlib.Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if not name.startswith("seconds")}
        for row in workdir.read(folder)
    ]


def _arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Every array of the newest checkpoint by name, without times and file sizes."""
    kept = folder / "checkpoints"
    newest = max((p for p in kept.iterdir() if p.name.isdigit()), key=_number)
    (tree_file,) = newest.rglob("_METADATA")  # orbax's, beside the arrays
    with (
        warnings.catch_warnings(),
        ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer,
    ):
        warnings.filterwarnings("ignore", "Sharding info not provided")
        tree = checkpointer.restore(tree_file.parent.absolute())
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {jax.tree_util.keystr(name): np.asarray(leaf) for name, leaf in leaves}
    return {
        name: array
        for name, array in arrays.items()
        if "seconds" not in name and "written" not in name
    }


def _outline(folder: pathlib.Path) -> str:
    """The words of report.md; its numbers are those of metrics.jsonl, and seconds."""
    path = folder / "report.md"
    text = path.read_text().replace(str(folder), "") if path.exists() else ""
    return re.sub(r"\d+(\.\d+)?", "#", text)


def _number(path: pathlib.Path) -> int:
    return int(path.name)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
