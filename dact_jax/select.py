"""`python -m dact_jax.select --features=x.npy --budget=100`: rows to label next."""

import os

# XLA's own log, such as its alarm about slow compilation, is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before jax is imported

import functools
import pathlib
import sys
import time
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from dact_jax import (
    cli,
    compilation_cache,
    errors,
    keys,
    paths,
    plugins,
    select_methods,
    signals,
)
from dact_jax.data.selection import class_numbers, labelled as listed, picks, pools
from dact_jax.models.weight_files import torch_files
from dact_jax.types import Picked

_TORCH = (".pt", ".pth", ".th")
_LISTED = 12  # tensors that a message names
_LESS_MEMORY = "select from fewer rows, or from rows of float32"


def run(
    features: pathlib.Path,
    budget: int,
    *,
    method: str = select_methods.DEFAULT,
    options: Sequence[str] = (),
    labelled: Sequence[str] = (),
    logits: pathlib.Path | None = None,
    probabilities: pathlib.Path | None = None,
    seed: int = 0,
    output: pathlib.Path = pathlib.Path("picks.csv"),
    overwrite: bool = False,
) -> Picked:
    """Picks rows of a pool, writes them to a file and prints a summary line.

    All arguments and files are checked before the selection begins.

    Args:
      features: file of the pool, for `pools.read`, or of PyTorch.
      budget: number of rows to pick.
      method: one of `select_methods.methods`.
      options: of the method, such as "restarts=3".
      labelled: rows that are labelled already, each for `data.labelled.read`; by
        default the labels in the pool's file count.
      logits: a .npy file [N, K], a classifier's logits of each row.
      probabilities: the same of probabilities, in place of logits.
      seed: random seed, for random, clue and badge.
      output: the file to write, .csv or .npy.
      overwrite: whether to replace an existing output.

    Raises:
      InputError: a file, flag or value is wrong.
    """
    given = [file for file in (logits, probabilities) if file]
    if len(given) == 2:
        raise errors.InputError("give --logits= or --probabilities=, not both.")
    select_methods.check_method(method, logits=bool(given))
    method_options = select_methods.read_options(method, options)
    plugins.check("acquisitions", method, method_options)
    inputs = [features, *map(pathlib.Path, labelled), *given]
    picks.check_output(output, inputs, overwrite=overwrite)
    pool = _read_pool(features)
    num = len(pool.features)
    is_labelled = pool.labelled
    if labelled:
        read = functools.partial(listed.read, names=pool.path, num=num)
        is_labelled = np.any([read(x, pool=str(features)) for x in labelled], axis=0)
    bought = None
    if "bought" in plugins.reads(method, method_options):
        bought = _bought(pool, is_labelled, labelled, method, features)
    scores = _read_predictions(logits, probabilities, num)
    picks.check_budget(budget, is_labelled, features)

    started = time.perf_counter()
    picked = select_methods.select(
        pool, is_labelled, budget, method, method_options, scores, seed, bought
    )
    seconds = time.perf_counter() - started
    picks.write(output, picked, pool.path)
    source = ", ".join(map(str, labelled)) or f"label of {features}"
    count = is_labelled.sum()
    excluded = f" ({count} labelled already, by {source})" if count or labelled else ""
    radius = ""
    if method == select_methods.DEFAULT and np.isfinite(picked.score[-1]):
        radius = f"; cover radius at most {picked.score[-1]:.4g}"
    print(
        f"Picked {budget} of {num} rows{excluded} by {method} in {seconds:.1f} s"
        f"{radius}. Written: {output}",
        flush=True,
    )
    for note in _notes(pool, picked, is_labelled, features):
        print(note, flush=True)
    return picked


def _bought(
    pool: pools.Pool,
    is_labelled: np.ndarray,
    labelled: Sequence[str],
    method: str,
    features: pathlib.Path,
) -> np.ndarray:
    """int32[N], the classes of labelled rows, by the pool's file and by --labelled."""
    num = len(pool.features)
    label = np.full(num, "") if pool.label is None else pool.label
    for given in labelled:
        found = listed.read_labels(given, pool.path, num, str(features))
        label = np.where(found != "", found, label)
    return class_numbers.of_labelled(
        label, is_labelled, pool.class_names, method=method, features=features
    )


def _read_predictions(
    logits: pathlib.Path | None, probabilities: pathlib.Path | None, num: int
) -> np.ndarray | None:
    """Logits [num, K], if a file is given."""
    if probabilities:
        return pools.read_probabilities(probabilities, num)
    return pools.read_logits(logits, num) if logits else None


def _read_pool(path: pathlib.Path) -> pools.Pool:
    if path.suffix.lower() not in _TORCH:
        return pools.read(path)
    if not path.is_file():
        raise errors.InputError(f"there is no file {path} (--features).")
    try:
        tensors = torch_files.load(path)
    except errors.InputError as error:
        raise errors.InputError(
            f"{str(error).rstrip('.')}; or convert it once in Python: import numpy, "
            f"torch; numpy.save({str(path.with_suffix('.npy'))!r}, "
            f"torch.load({str(path)!r}, weights_only=True).numpy())"
        ) from None
    found = [name for name, tensor in tensors.items() if tensor.ndim == 2]
    name = "features" if "features" in found else found[0] if found else ""
    if not name or (len(found) > 1 and name != "features"):
        raise errors.InputError(
            f"--features={path} must have one tensor [N, F], or one called features; "
            f"it has {sorted(tensors)[:_LISTED]}."
        )
    return pools.of_matrix(tensors[name], f"{name} of {path}")


def _notes(
    pool: pools.Pool, picked: Picked, labelled: np.ndarray, features: pathlib.Path
) -> Iterator[str]:
    """What a user should know of the picks besides the summary."""
    copies = picks.count_copies(pool.features, picked.row, labelled)
    if copies:
        budget = len(picked.row)
        yield (
            f"Of the {budget} picks, {copies} are exact copies of a labelled row or of "
            f"an earlier pick: {budget - copies} different rows are worth a label."
        )
    if pool.unread:
        yield f"Arrays of {features} that are not read: {', '.join(pool.unread)}."


def _define_flags() -> flags.FlagValues:
    """New flags for each call, which keep no value of an earlier one."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    texts = functools.partial(flags.DEFINE_multi_string, flag_values=values)
    integer = functools.partial(flags.DEFINE_integer, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    default = select_methods.DEFAULT
    text(
        "features",
        "",
        "The pool: .npy [N, F]; .npz with features (path, label); .csv, .txt or .pt.",
    )
    integer("budget", None, "Number of rows to pick.", lower_bound=1)
    text("method", default, f"One of {', '.join(select_methods.methods())}.")
    texts("option", [], "Option of the method, such as restarts=3 for clue.")
    texts(
        "labelled",
        [],
        "Labelled rows: 17,4; .npy; one number or path a line; picks.csv, labels.csv.",
    )
    text("logits", "", "Predictions .npy [N, K], for methods that need them.")
    text("probabilities", "", "The same as probabilities, in place of --logits.")
    most = keys.MAX_SEED
    integer("seed", 0, "Of methods that draw.", lower_bound=0, upper_bound=most)
    text("output", "picks.csv", "File to write, .csv or .npy.")
    switch("overwrite", False, "Replace the output if it exists.")
    cli.define_compilation_cache(values)
    switch("help", False, "Show this.")
    return values


def main(argv: Sequence[str]) -> None:
    """Runs the command; a user's error ends it with one sentence and exit code 2."""
    cli.print_anything()
    values = _define_flags()
    try:
        if not cli.parse(values, argv, str(__doc__)):
            return
        if not values.features or values.budget is None:
            raise errors.InputError(
                "give --features= and --budget=, such as --features=x.npy --budget=100"
            )
        output = _path(values.output, "output")
        with (
            signals.handled(lambda: f"stopped; {output} is not written."),
            compilation_cache.kept(values.compilation_cache),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", RuntimeWarning)  # what is wrong is refused
            run(
                _path(values.features, "features"),
                values.budget,
                method=values.method,
                options=values.option,
                labelled=[str(_path(path, "labelled")) for path in values.labelled],
                logits=_path(values.logits, "logits") if values.logits else None,
                probabilities=_path(values.probabilities, "probabilities")
                if values.probabilities
                else None,
                seed=values.seed,
                output=output,
                overwrite=values.overwrite,
            )
    except Exception as error:
        memory = errors.is_out_of_memory(error)
        cli.exit_with(error, then=_LESS_MEMORY if memory else "")


def _path(text: str, flag: str) -> pathlib.Path:
    return pathlib.Path(paths.expanded(text, f"--{flag}"))


if __name__ == "__main__":
    main(sys.argv)
