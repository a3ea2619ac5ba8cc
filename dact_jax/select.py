"""`python -m dact_jax.select --features=x.npy --budget=100`: the rows to label next."""

import ast
import concurrent.futures
import contextlib
import os
import pathlib
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import numpy as np
from absl import flags

from dact_jax import errors, plugins
from dact_jax.data import selections
from dact_jax.data.selections import Pool
from dact_jax.geometry import k_center
from dact_jax.reports import terminal
from dact_jax.types import Evidence, Picked

_FAMILY, _DEFAULT = "acquisitions", "k_center"


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
    """Picks rows of a pool, writes them and says so. What is wrong is told first.

    Args:
      features: the pool, as `selections.read_pool` takes it.
      budget: how many rows to pick.
      method: an acquisition that needs no more than the pool and `logits`.
      options: of the method, such as "restarts=3".
      labelled: lists of rows that are labelled already, as `selections.read_labelled`
        takes them; none: what the pool itself says.
      logits: a .npy file [N, K], what a classifier says of each row.
      seed: of the methods that draw.
      output: the file that is written, .csv or .npy.
      overwrite: whether there may be such a file.

    Returns:
      The picks, as they are written.

    Raises:
      InputError: a file, flag or value is wrong.
    """
    check_method(method, logits=logits is not None)
    chosen = read_options(method, options)
    plugins.check(_FAMILY, method, chosen)
    inputs = [features, *labelled, *([logits] if logits else [])]
    selections.check_output(output, inputs, overwrite=overwrite)
    pool = selections.read_pool(features)
    num = len(pool.features)
    taken = pool.labelled
    if labelled:
        taken = np.any(
            [selections.read_labelled(path, num) for path in labelled], axis=0
        )
    scores = selections.read_logits(logits, num) if logits else None
    _check_budget(budget, taken, features)

    began = time.perf_counter()
    picked = select(pool, taken, budget, method, chosen, scores, seed)
    seconds = time.perf_counter() - began
    selections.write(output, picked, pool.path)
    named = ", ".join(map(str, labelled)) or f"label of {features}"
    known = f" ({taken.sum()} labelled already, by {named})" if taken.any() else ""
    reach = ""
    if method == _DEFAULT and np.isfinite(picked.score[-1]):
        reach = f"; cover radius at most {picked.score[-1]:.4g}"
    print(
        f"Picked {budget} of {num} rows{known} by {method} in {seconds:.1f} s{reach}. "
        f"Written: {output}"
    )
    return picked


def select(
    pool: Pool,
    taken: np.ndarray,
    budget: int,
    method: str,
    options: dict[str, Any],
    logits: np.ndarray | None,
    seed: int,
) -> Picked:
    """The picks of a method, with a bar on a terminal.

    Args:
      pool: N rows.
      taken: bool[N], not to be picked.
      budget: how many to pick.
      method: name of an acquisition.
      options: of its `make`.
      logits: [N, K] or None.
      seed: of the methods that draw.

    Raises:
      InputError: the method refuses what it is given, or a row is not finite.
    """
    acquire = plugins.load(_FAMILY, method, **options)
    outputs = {} if logits is None else {"classifier": logits}

    def pick(told: k_center.Told) -> Picked:
        if method == _DEFAULT and options.get("features") in (None, "embedding"):
            return k_center.select(pool.features, budget, labelled=taken, told=told)
        if not plugins.blind(method):
            selections.check_finite(pool.features, "--features")
        evidence = Evidence(pool.features, outputs, None)
        return acquire(evidence, taken, budget, jax.random.key(seed))

    with terminal.picks(budget, chosen=int(taken.sum())) as told:
        return _beside(lambda: pick(told))


def _beside(work: Callable[[], Picked]) -> Picked:
    """Works in another thread; this one hears Ctrl-C amid a long program of XLA."""
    found: concurrent.futures.Future[Picked] = concurrent.futures.Future()

    def finish() -> None:
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=finish, daemon=True).start()
    return found.result()


def methods() -> tuple[str, ...]:
    """The acquisitions that need no more than vectors and logits."""
    known = plugins.names(_FAMILY)
    return tuple(name for name in known if not plugins.needs(name))


def check_method(method: str, *, logits: bool) -> None:
    """Refuses a method that there is not, or that needs more than it is given.

    Args:
      method: name of an acquisition.
      logits: whether there are predictions.

    Raises:
      InputError: names the nearest one that is right, or what is missing.
    """
    if method not in plugins.names(_FAMILY):
        near = errors.suggestion(method, methods())
        raise errors.InputError(f"there is no --method={method}; {near}")
    if method not in methods():
        listed = ", ".join(map(repr, methods()))
        raise errors.InputError(
            f"--method={method} ranks by a head that a run trains (python -m "
            f"dact_jax.main has it); valid here: {listed}."
        )
    if not (logits or method == _DEFAULT or plugins.blind(method)):
        raise errors.InputError(
            f"--method={method} ranks by predictions: add --logits=, a .npy file [N, K]"
            " of what a classifier says of each row."
        )


def read_options(method: str, given: Sequence[str]) -> dict[str, Any]:
    """The options of a method as its `make` takes them.

    Args:
      method: name of an acquisition.
      given: such as ["restarts=3"].

    Raises:
      InputError: the method has no such option, or it is of another type.
    """
    known = plugins.options(_FAMILY, method)
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            near = errors.suggestion(name, tuple(known))
            raise errors.InputError(f"{method} has no --option={name}; {near}")
        found[name] = _typed(text, value, known[name])
    return found


def _typed(text: str, value: str, default: Any) -> Any:
    wanted = type(default)
    if wanted is str:
        return value
    with contextlib.suppress(ValueError, SyntaxError):
        parsed = ast.literal_eval(value)
        if type(parsed) is wanted or (wanted is float and type(parsed) is int):
            return parsed
    raise errors.InputError(
        f"--option={text} must be of type {wanted.__name__}, such as {default!r}."
    )


def _check_budget(budget: int, taken: np.ndarray, pool: pathlib.Path) -> None:
    left = taken.size - taken.sum()
    if budget > left:
        raise errors.InputError(
            f"--budget={budget} is more than the {left} rows of {pool} that are not "
            f"labelled already, of {taken.size}."
        )


def _flags() -> flags.FlagValues:
    """The flags, made anew: none keeps a value of a call before."""
    made = flags.FlagValues()

    def text(name: str, default: str, told: str) -> None:
        flags.DEFINE_string(name, default, told, flag_values=made)

    def several(name: str, told: str) -> None:
        flags.DEFINE_multi_string(name, [], told, flag_values=made)

    def switch(name: str, told: str) -> None:
        flags.DEFINE_bool(name, False, told, flag_values=made)

    text("features", "", "The pool: .npy [N, F], or .npz with features (path, label).")
    text("budget", "", "How many rows to pick.")
    text("method", _DEFAULT, f"One of {', '.join(methods())}.")
    several("option", "Of the method, such as restarts=3 of clue")
    several(
        "labelled",
        "Rows labelled already: .npy, a row number a line, or a picks.csv of before; "
        "without it, those that have a label in an .npz pool",
    )
    text("logits", "", "Predictions .npy [N, K], for methods that rank by them.")
    text("seed", "0", "Of methods that draw: random, clue, badge.")
    text("output", "picks.csv", "What to write, .csv or .npy.")
    switch("overwrite", "Replace the output where it exists.")
    switch("help", "Show this.")
    return made


def main(argv: Sequence[str]) -> None:
    """Does what the flags ask for; a user's mistake ends it with one sentence."""
    found = _flags()
    try:
        _, *rest = found(argv)
        if found.help:
            print(f"{__doc__}\n{found.get_help()}")
            return
        if rest:
            raise errors.InputError(f"{rest[0]!r} is no flag: write --name=value.")
        if not (found.features and found.budget):
            raise errors.InputError(
                "give --features= and --budget=, such as --features=x.npy --budget=100"
            )
        run(
            pathlib.Path(found.features),
            _whole("budget", found.budget, 1),
            method=found.method,
            options=found.option,
            labelled=[pathlib.Path(path) for path in found.labelled],
            logits=pathlib.Path(found.logits) if found.logits else None,
            seed=_whole("seed", found.seed, 0),
            output=pathlib.Path(found.output),
            overwrite=found.overwrite,
        )
    except (flags.Error, errors.InputError) as error:
        _refuse(error)
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(errors.InputError(f"{error.filename}: {error.strerror}."))
    except KeyboardInterrupt:
        print("\nStopped; nothing is written.", file=sys.stderr, flush=True)
        os._exit(130)  # an orderly exit would pull down what still computes, and crash


def _whole(flag: str, text: str, least: int) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < least:
        raise errors.InputError(
            f"--{flag}={text} must be a whole number, {least} or more."
        )
    return int(text)


def _refuse(error: Exception) -> NoReturn:
    print(f"dact_jax: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv)
