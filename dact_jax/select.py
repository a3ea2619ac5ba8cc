"""`python -m dact_jax.select --features=x.npy --budget=100`: rows to label next."""

import os

# XLA's own log, such as its alarm about slow compilation, is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before jax is imported

import ast
import contextlib
import functools
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from dact_jax import cli, errors, keys, paths, plugins, signals
from dact_jax.data import selections
from dact_jax.data.selections import Pool
from dact_jax.geometry import k_center
from dact_jax.geometry.farthest_first import ReportProgress
from dact_jax.reports import terminal
from dact_jax.types import Evidence, Picked

_FAMILY, _DEFAULT = "acquisitions", "k_center"
_LESS_MEMORY = "select from fewer rows, or from rows of float32"


def run(
    features: pathlib.Path,
    budget: int,
    *,
    method: str = _DEFAULT,
    options: Sequence[str] = (),
    labelled: Sequence[pathlib.Path] = (),
    logits: pathlib.Path | None = None,
    seed: int = 0,
    output: pathlib.Path = pathlib.Path("picks.csv"),
    overwrite: bool = False,
) -> Picked:
    """Picks rows of a pool, writes them to a file and prints a summary line.

    All arguments and files are checked before the selection begins.

    Args:
      features: file of the pool, for `selections.read_pool`.
      budget: number of rows to pick.
      method: one of `methods`.
      options: of the method, such as "restarts=3".
      labelled: files of rows that are labelled already, for
        `selections.read_labelled`; by default the labels in the pool's file count.
      logits: a .npy file [N, K], a classifier's logits of each row.
      seed: random seed, for random, clue and badge.
      output: the file to write, .csv or .npy.
      overwrite: whether to replace an existing output.

    Raises:
      InputError: a file, flag or value is wrong.
    """
    check_method(method, logits=logits is not None)
    method_options = read_options(method, options)
    plugins.check(_FAMILY, method, method_options)
    inputs = [features, *labelled, *([logits] if logits else [])]
    selections.check_output(output, inputs, overwrite=overwrite)
    pool = selections.read_pool(features)
    num = len(pool.features)
    is_labelled = pool.labelled
    if labelled:
        masks = [selections.read_labelled(path, num) for path in labelled]
        is_labelled = np.any(masks, axis=0)
    scores = selections.read_logits(logits, num) if logits else None
    selections.check_budget(budget, is_labelled, features)

    started = time.perf_counter()
    picked = select(pool, is_labelled, budget, method, method_options, scores, seed)
    seconds = time.perf_counter() - started
    selections.write(output, picked, pool.path)
    source = ", ".join(map(str, labelled)) or f"label of {features}"
    count = is_labelled.sum()
    excluded = f" ({count} labelled already, by {source})" if count else ""
    radius = ""
    if method == _DEFAULT and np.isfinite(picked.score[-1]):
        radius = f"; cover radius at most {picked.score[-1]:.4g}"
    print(
        f"Picked {budget} of {num} rows{excluded} by {method} in {seconds:.1f} s"
        f"{radius}. Written: {output}",
        flush=True,
    )
    return picked


def select(
    pool: Pool,
    labelled: np.ndarray,
    budget: int,
    method: str,
    options: dict[str, Any],
    logits: np.ndarray | None,
    seed: int,
) -> Picked:
    """The picks of a method; on a terminal, a progress bar is shown.

    Args:
      pool: N rows.
      labelled: bool[N], rows that must not be picked.
      budget: at most the number of the other rows.
      method: one of `methods`.
      options: keyword arguments of its `make`.
      logits: [N, K], or None.
      seed: random seed, for random, clue and badge.

    Raises:
      InputError: the method rejects its input, or a row is not finite.
    """
    acquire = plugins.load(_FAMILY, method, **options)
    outputs = {} if logits is None else {"classifier": logits}

    def pick(report_progress: ReportProgress) -> Picked:
        if method == _DEFAULT and options.get("features") in (None, "embedding"):
            return k_center.select(
                pool.features,
                budget,
                labelled=labelled,
                report_progress=report_progress,
            )
        if not plugins.blind(method):
            selections.check_finite(pool.features, "--features")
        evidence = Evidence(pool.features, outputs, None)
        return acquire(evidence, labelled, budget, keys.root(seed))

    bar = terminal.selection_progress(budget, chosen=int(labelled.sum()))
    with bar as report_progress:
        return pick(report_progress)


def methods() -> tuple[str, ...]:
    """The acquisitions that need only vectors and logits."""
    names = plugins.names(_FAMILY)
    return tuple(name for name in names if not plugins.needs(name))


def check_method(method: str, *, logits: bool) -> None:
    """Raises an InputError if the method does not exist or needs missing logits."""
    if method not in plugins.names(_FAMILY):
        suggestion = errors.suggestion(method, methods())
        raise errors.InputError(f"there is no --method={method}; {suggestion}")
    if method not in methods():
        listed = ", ".join(map(repr, methods()))
        raise errors.InputError(
            f"--method={method} needs a head that only a run trains (python -m "
            f"dact_jax.main); valid here: {listed}."
        )
    if not (logits or method == _DEFAULT or plugins.blind(method)):
        raise errors.InputError(
            f"--method={method} needs predictions: add --logits=, a .npy file [N, K] "
            "with a classifier's logits of each row."
        )


def read_options(method: str, assignments: Sequence[str]) -> dict[str, Any]:
    """Assignments such as "restarts=3", as keyword arguments of the method's `make`.

    Raises:
      InputError: the method has no such option, or the option has another type.
    """
    defaults = plugins.options(_FAMILY, method)
    options = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name not in defaults:
            suggestion = errors.suggestion(name, tuple(defaults))
            raise errors.InputError(f"{method} has no --option={name}; {suggestion}")
        options[name] = _typed(assignment, value, defaults[name])
    return options


def _typed(assignment: str, value: str, default: Any) -> Any:
    expected = type(default)
    if expected is str:
        return value
    with contextlib.suppress(ValueError, SyntaxError):
        parsed = ast.literal_eval(value)
        if type(parsed) is expected or (expected is float and type(parsed) is int):
            return parsed
    raise errors.InputError(
        f"--option={assignment} must be of type {expected.__name__}, such as "
        f"{default!r}."
    )


def _define_flags() -> flags.FlagValues:
    """New flags for each call, which keep no value of an earlier one."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    texts = functools.partial(flags.DEFINE_multi_string, flag_values=values)
    integer = functools.partial(flags.DEFINE_integer, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    text("features", "", "The pool: .npy [N, F], or .npz with features (path, label).")
    integer("budget", None, "Number of rows to pick.", lower_bound=1)
    text("method", _DEFAULT, f"One of {', '.join(methods())}.")
    texts("option", [], "Option of the method, such as restarts=3 for clue.")
    texts("labelled", [], "Labelled rows: .npy, one number per line, or a picks.csv.")
    text("logits", "", "Predictions .npy [N, K], for methods that need them.")
    most = keys.MAX_SEED
    integer("seed", 0, "Of methods that draw.", lower_bound=0, upper_bound=most)
    text("output", "picks.csv", "File to write, .csv or .npy.")
    switch("overwrite", False, "Replace the output if it exists.")
    switch("help", False, "Show this.")
    return values


def main(argv: Sequence[str]) -> None:
    """Runs the command; a user's error ends it with one sentence and exit code 2."""
    cli.print_anything()
    values = _define_flags()
    try:
        _, *arguments = values(argv)
        if values.help:
            print(f"{__doc__}\n{values.get_help()}")
            return
        if arguments:
            raise errors.InputError(
                f"{arguments[0]!r} is not a flag: write --name=value."
            )
        if not values.features or values.budget is None:
            raise errors.InputError(
                "give --features= and --budget=, such as --features=x.npy --budget=100"
            )
        output = _path(values.output, "output")
        with signals.handled(lambda: f"stopped; {output} is not written."):
            run(
                _path(values.features, "features"),
                values.budget,
                method=values.method,
                options=values.option,
                labelled=[_path(path, "labelled") for path in values.labelled],
                logits=_path(values.logits, "logits") if values.logits else None,
                seed=values.seed,
                output=output,
                overwrite=values.overwrite,
            )
    except flags.IllegalFlagValueError as error:
        cli.exit_with(errors.InputError(_illegal_value(error, values)))
    except Exception as error:
        memory = errors.is_out_of_memory(error)
        cli.exit_with(error, then=_LESS_MEMORY if memory else "")


def _path(text: str, flag: str) -> pathlib.Path:
    return pathlib.Path(paths.expanded(text, f"--{flag}"))


def _illegal_value(error: flags.IllegalFlagValueError, values: flags.FlagValues) -> str:
    """One sentence that says what is valid; absl's does not for a malformed integer."""
    assignment = str(error).removeprefix("flag ").partition(": ")[0]
    name = assignment.removeprefix("--").partition("=")[0]
    valid = values[name].parser.syntactic_help
    return f"{assignment} must be {valid}." if valid else f"{error}."


if __name__ == "__main__":
    main(sys.argv)
