"""Greedy coverage by similarity: kernel herding, its weighted form, facility location.

Each pick is the row a that adds the most to the coverage of all rows,

    argmax_a sum_i w_i max(0, k(x_i, x_a) - c_i),

where c_i is the largest k(x_i, x_l) over the rows l labelled or picked so far, or 0.
With a Gaussian kernel this is MaxHerding (Bae et al., "Generalized Coverage for More
Robust Low-Budget Active Learning", ECCV 2024), with weights of uncertainty UHerding
(Bae et al., "Uncertainty Herding", ICLR 2025), with a top-hat kernel ProbCover (Yehuda
et al., NeurIPS 2022), with cosine similarity facility location. Usable on its own:
arrays in, row numbers out.

**Lazily.** The gain of a row only decreases when others are picked (the objective is
submodular), so a gain of earlier is an upper bound. Bounds are brought up to date in
blocks, the largest first, by products in float32, rounded up by their largest error.
On a CPU alone:

* The gains of all rows are computed once, before and after the first pick, which is
  guessed from a sample; one product serves both rows of a pair. Where the guess was
  wrong, the second pick computes the gains of all rows again.
* After a pick, the rows that it covers better than before are compared with each other,
  and what each loses is subtracted from its bound.

*Exact*: a pick has a gain that was computed in float64, and no other row's bound is
larger. Gains that agree to 2^-36 (1.5e-11) of the sum of the weights tie, and of rows
that tie the lowest wins; squared distances within 2^-40 of the top hat's radius count
as within. Exact copies of a row have its gain: the lowest is picked, and the weight of
all counts. When no row gains anything any more, the lowest free rows follow.

*Numerics*: products err by about 2 F 2^-24 (|x_i|^2 + |x_a|^2) / scale^2 in the
exponent. Where that is more than 1/64 for most rows, or the scale is not between 2^-50
and 2^50, products are float64. Digits of the features are kept as in
`geometry.k_center`.

*Memory*, in bytes beside the pool: about 120 N, 8 M for each of the M labelled rows
that are compared at once (512), and 2^24 for each thread; on several devices blocks of
4096 rows each. Never N x N. The pool is read from where it lies; with copies of rows in
it, blocks of distinct rows are copied.

*Time*: N^2 / 2 products of F numbers for the first two picks. Above `max_rows` that is
too long: then the search is made, exactly, among as many rows drawn in proportion to
their weights, at equal distances along the cumulative weight (so without a seed, but
depending on the order of the rows), each with the same weight.
"""

import numbers
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from dact_jax import devices, errors, labelled_rows, vectors
from dact_jax.geometry import points
from dact_jax.geometry.coverage import bandwidth, greedy, kernels, targets
from dact_jax.geometry.farthest_first import ReportProgress
from dact_jax.geometry.on_host import workers
from dact_jax.geometry.points import Points
from dact_jax.types import Array, Picked

MAX_ROWS = 2**17  # by default, up to which the search is exact
ON_HOST = 2**30  # operations of all gains (N^2 F), up to which no device is asked


def herd(
    features: Array,
    budget: int,
    *,
    weights: Array | None = None,
    labelled: Sequence[int] | Array | None = None,
    kernel: kernels.Name = "gaussian",
    scale: float | None = None,
    mesh: Mesh | None = None,
    resident: bool | None = None,
    report_progress: ReportProgress | None = None,
    max_rows: int = MAX_ROWS,
) -> np.ndarray:
    """int32[budget], rows to which many others are similar, in pick order.

    Equals greedy maximization of the coverage in float64, with the lowest row of those
    that tie; the module says how.

    Args:
      features: [N, F] real numbers, one row per point: a NumPy array, a memory map
        (which is read block by block, never copied), a jax array, or what NumPy makes
        an array of, such as a tensor of PyTorch on the CPU.
      budget: number of picks, at most N less the labelled rows.
      weights: float[N], how much each row counts, not negative; all the same by
        default.
      labelled: int[L], rows that are chosen already, or bool[N]; none by default.
      kernel: the similarity: "gaussian", exp(-d^2 / scale^2) of the Euclidean distance
        d; "top_hat", 1 where d <= scale, else 0; or "cosine", max(cos, 0).
      scale: positive; by default the median distance of pairs among 1024 equally spaced
        rows (all rows where there are fewer; of pairs that differ, where the median is
        0). "cosine" has none.
      mesh: the devices that share the work, in one axis "data"; all by default. Every
        process of a `jax.distributed` job must call this with the same arguments.
      resident: whether the features are copied to the devices, split by rows; by
        default on accelerators, where they fit.
      report_progress: called with (picks so far, budget) from time to time.
      max_rows: most rows among which the search is made; if there are more, they are
        drawn.

    Raises:
      InputError: features are not finite [N, F], weights do not fit them, a label is
        not one of their rows, fewer than `budget` rows are left, or an option is wrong.
    """
    return select(
        features,
        budget,
        weights=weights,
        labelled=labelled,
        kernel=kernel,
        scale=scale,
        mesh=mesh,
        resident=resident,
        report_progress=report_progress,
        max_rows=max_rows,
    ).row


def select(
    features: Array,
    budget: int,
    *,
    weights: Array | None = None,
    labelled: Sequence[int] | Array | None = None,
    kernel: kernels.Name = "gaussian",
    scale: float | None = None,
    mesh: Mesh | None = None,
    resident: bool | None = None,
    report_progress: ReportProgress | None = None,
    max_rows: int = MAX_ROWS,
) -> Picked:
    """The picks of `herd`, whose arguments it takes, with their gains.

    Returns:
      Picked: row int32[budget] in pick order; score float32[budget], the gain of each
      when it was picked, in units of the weights.

    Raises:
      InputError: as `herd`.
    """
    features = vectors.matrix(features)
    num = len(features)
    taken = labelled_rows.mask([] if labelled is None else labelled, num, "labelled")
    budget = labelled_rows.budget(budget, int(num - taken.sum()))
    weight = _weights(weights, num)
    errors.check_choice("kernel", kernel, kernels.NAMES)
    _check_scale(scale, kernel)
    if not isinstance(max_rows, numbers.Integral) or max_rows < 1:
        raise errors.InputError(f"max_rows={max_rows!r} must be a whole number from 1.")
    if budget == 0:
        return Picked(np.zeros(0, np.int32), np.zeros(0, np.float32))
    report = report_progress or (lambda done, budget: None)
    rows = None
    if num - taken.sum() > max(max_rows, budget):
        rows, weight = _drawn(weight, taken, max(max_rows, budget))
        features, taken = np.asarray(features[rows]), taken[rows]
    if kernel == "cosine" and vectors.precise_form(features).origin is not None:
        features = np.asarray(features).astype(np.float64)  # angles are seen from 0
    host = _host() if len(taken) * features.size <= ON_HOST else None
    if host is not None:  # its threads are quicker than compiling
        features, resident, mesh = np.asarray(features), False, host
    with jax.enable_x64(True), workers.one_thread_a_product():
        pool = points.make(features, mesh=mesh, resident=resident, precise=True)
        row, gain = _search(pool, taken, weight, budget, kernel, scale, report)
    if host is not None:
        row, gain = devices.from_process_0((row, gain))
    row = row if rows is None else rows[row]
    return Picked(row.astype(np.int32), gain.astype(np.float32))


def _host() -> Mesh | None:
    """A CPU of this process alone; None where JAX_PLATFORMS leaves it out."""
    try:
        return Mesh(np.array(jax.local_devices(backend="cpu")[:1]), ("data",))
    except RuntimeError:
        return None


def _search(
    pool: Points,
    taken: np.ndarray,
    weight: np.ndarray,
    budget: int,
    kernel: kernels.Name,
    scale: float | None,
    report_progress: ReportProgress,
) -> tuple[np.ndarray, np.ndarray]:
    """(int64[budget] rows in pick order, float64[budget] their gains)."""
    rows, sample = points.sample(pool, bandwidth.SAMPLE)
    vectors.check_valid(rows, vectors.valid(sample))
    if scale is None:
        scale = 1.0 if kernel == "cosine" else bandwidth.median_distance(sample)
    state = targets.make(pool, kernels.make(kernel, scale, sample), weight)
    covered = np.unique(state.number[taken])
    candidates = np.ones(state.num, bool)
    candidates[covered] = False
    number, gain = greedy.maximize(state, candidates, covered, budget, report_progress)
    row = state.row[number]
    left = ~taken
    left[row] = False
    more = np.flatnonzero(left)[: budget - len(row)]  # rows that gain nothing
    gain = gain * (weight.max() or 1)
    return np.append(row, more), np.append(gain, np.zeros(len(more)))


def _drawn(
    weight: np.ndarray, taken: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to search in place of all, and their weights: `count` free ones, and others.

    A free row is drawn as often as `count` equal steps along the cumulative weight meet
    it. Rows that are met several times leave room for the lowest that are not met.
    """
    free = np.flatnonzero(~taken)
    total = np.cumsum(weight[free])
    steps = (np.arange(count) + 0.5) * (total[-1] / count)
    at = np.minimum(np.searchsorted(total, steps, side="right"), len(free) - 1)
    met = np.bincount(at, minlength=len(free)) * (total[-1] / count)
    kept = met > 0
    kept[np.flatnonzero(~kept)[: count - np.count_nonzero(kept)]] = True
    rows = np.union1d(free[kept], np.flatnonzero(taken))
    every = np.zeros(len(weight))
    every[free] = met
    return rows, every[rows]


def _weights(weights: Array | None, num: int) -> np.ndarray:
    """float64[num]."""
    if weights is None:
        return np.ones(num)
    expected = f"weights must be {num} finite numbers, none negative"
    values = vectors.as_array(weights, "weights")
    if values.shape != (num,) or values.dtype.kind not in "fiub":
        raise errors.InputError(f"{expected}, not {values.dtype}{list(values.shape)}.")
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        raise errors.InputError(
            f"{expected}; that of row {wrong[0]} is {values[wrong[0]]}."
        )
    most = float(np.finfo(np.float32).max)  # gains are told as float32
    if values.max(initial=0) > most / num:
        raise errors.InputError(
            f"weights must be at most {most / num:.3g}, so that float32 holds their "
            f"sum; that of row {values.argmax()} is {values.max()}."
        )
    return values


def _check_scale(scale: float | None, kernel: str) -> None:
    if scale is None:
        return
    if kernel == "cosine":
        raise errors.InputError("scale must be None for kernel='cosine'.")
    real = isinstance(scale, numbers.Real) and not isinstance(scale, bool)
    least, most = kernels.LEAST_SCALE, kernels.LARGEST_SCALE
    if not (real and least <= float(scale) <= most):
        raise errors.InputError(
            f"scale={scale!r} must be a positive number from {least:g} to {most:g}, or "
            "None."
        )
