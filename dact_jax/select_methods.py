"""The methods of `select`: which there are, their options, and their picks."""

import ast
import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dact_jax import errors, keys, plugins, vectors
from dact_jax.data.selection.pools import Pool
from dact_jax.geometry import k_center
from dact_jax.geometry.coverage import herding
from dact_jax.geometry.farthest_first import ReportProgress
from dact_jax.reports import terminal
from dact_jax.types import Evidence, Picked

DEFAULT = "k_center"
_FAMILY = "acquisitions"


def select(
    pool: Pool,
    labelled: np.ndarray,
    budget: int,
    method: str,
    options: dict[str, Any],
    logits: np.ndarray | None,
    seed: int,
    bought: np.ndarray | None = None,
) -> Picked:
    """The picks of a method; on a terminal, a progress bar is shown.

    Args:
      pool: N rows.
      labelled: bool[N], rows that must not be picked.
      budget: at most the number of the other rows.
      method: one of `methods`.
      options: keyword arguments of its `make`.
      logits: [N, K], or None.
      seed: random seed, for methods that draw.
      bought: int32[N], classes of labelled rows, for methods that read them.

    Raises:
      InputError: the method rejects its input, or a row is not finite.
    """
    acquire = plugins.load(_FAMILY, method, **options)
    outputs = {} if logits is None else {"classifier": logits}

    def pick(report_progress: ReportProgress) -> Picked:
        if method == DEFAULT and options.get("features") in (None, "embedding"):
            return k_center.select(
                pool.features,
                budget,
                labelled=labelled,
                report_progress=report_progress,
            )
        if method == "herding" and not options.get("normalize"):
            return herding.select(
                pool.features,
                budget,
                labelled=labelled,
                scale=options.get("sigma") or None,
                report_progress=report_progress,
                max_rows=options.get("max_rows", herding.MAX_ROWS),
            )
        vectors.check(pool.features, "--features")
        if not plugins.blind(method):
            vectors.check_kept(pool.features, "--features")
        reads = plugins.reads(method, options)
        evidence = Evidence(
            pool.features,
            outputs,
            None,
            pool.features if "input" in reads else None,
            bought,
        )
        return acquire(evidence, labelled, budget, keys.root(seed))

    bar = terminal.selection_progress(budget, chosen=int(labelled.sum()))
    with bar as report_progress:
        return pick(report_progress)


def methods() -> tuple[str, ...]:
    """The acquisitions that need only vectors and logits."""
    names = plugins.names(_FAMILY)
    return tuple(name for name in names if not plugins.needs(name))


def check_method(method: str, *, logits: bool) -> None:
    """Raises an InputError if there is no such method, or predictions do not fit it."""
    if method not in plugins.names(_FAMILY):
        suggestion = errors.suggestion(method, methods())
        raise errors.InputError(f"there is no --method={method}; {suggestion}")
    if method not in methods():
        listed = ", ".join(map(repr, methods()))
        raise errors.InputError(
            f"--method={method} needs outputs that only a run computes (python -m "
            f"dact_jax.main); valid here: {listed}."
        )
    uses = plugins.needs_logits(method)
    if uses and not logits:
        raise errors.InputError(
            f"--method={method} needs predictions: add --logits=, a .npy file [N, K] "
            "with a classifier's logits of each row (or --probabilities=)."
        )
    if logits and not uses:
        raise errors.InputError(
            f"--method={method} uses no predictions: leave out --logits= and "
            "--probabilities=, or choose a method that uses them."
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
