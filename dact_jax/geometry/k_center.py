"""Greedy k-center, the core-set selection of Sener & Savarese (ICLR 2018).

Equation 2 of S_AcT: repeatedly pick the point farthest from every point chosen or
labelled so far (the farthest-first traversal of Gonzalez, 1985). Usable on its own:
arrays in, row numbers out.

**Without a pass over the pool for every pick.** Each row keeps an upper bound on its
distance to the nearest center; only rows whose bound is large enough to matter are
recomputed. The loop compares the rows with the largest bounds with the new centers of
their cell (`cells`), which are probably near; compares those whose bound is still large
with all centers, in blocks and by matrix products (`nearest`); takes as candidates
those whose bounds exceed all others, a few hundred at most; and picks greedily among
them (`candidates`) while the farthest candidate is at least as far as the largest bound
of all other rows.

*Exact*: the distance to any center is an upper bound of the distance to the nearest,
and a new center only makes distances shorter, so a bound remains one when centers are
added. A candidate at least as far as every bound outside is therefore at least as far
as every point outside; among candidates, distances are float64 differences. Where
distances tie, the lowest row wins, and so it does in a tie with a point outside. (Where
little has to be read in all, `plain_scan` passes over all points for every pick.)

*It ends*: let r be the lowest row with the largest bound. If r was not compared with
all centers, it is among the rows that are compared next, unless comparing it with the
centers of its cell made its bound small; in any case at least one such row is compared
with all. If r was compared with all, it is a candidate: either its bound is its
distance, and it is picked, or the bound is replaced by the distance, which is less. So
between two picks every row is compared and replaced at most once. (Where ties are not
transitive, a state that no longer changes forces a pick.)

*Numerics*: products in float32 err by about 2 F 2^-24 (|x|^2 + |c|^2). Their bounds are
rounded up by as much, so picks are right all the same; but where that is more than a
fiftieth of the squared covering radius (tight clusters far from each other), bounds
would exclude too few rows. Then the loop continues with products in float64, and
finally with differences.

*Digits*: points are float32 where that holds every value of the features' dtype, else
float64; of 64-bit integers, which float64 cannot hold, differences from the middle row.
So no digit is lost that tells rows apart. (Products begin in float32 all the same.)

*Memory*, in bytes beside the pool: 96 N + 20 F R + 49 152 F G, with R the least power
of two >= L + budget + 256 (at least 1024), and G the least one >= N / 2^18 (from 1 to
8): the bounds of the rows, the centers, and one block; and 2^23 for each thread of the
host. Never N x N, never L x N. The pool itself is copied only where it becomes resident
on the devices, or where the plain scan reads it: 24 N F, and N F <= 2^20. Where points
are float64, the terms with F are twice as large.

*Where*: a pool on the host is compared by NumPy, in threads, if a CPU is the only
device (`on_host`), and nothing is compiled; else by the devices.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from dact_jax import devices, labelled_rows, vectors
from dact_jax.geometry import farthest_first, plain_scan, points, tuning
from dact_jax.geometry.farthest_first import ReportProgress
from dact_jax.geometry.on_host import workers
from dact_jax.geometry.tuning import Tuning
from dact_jax.types import Array, Picked


def k_center(
    features: Array,
    budget: int,
    *,
    labelled: Sequence[int] | Array | None = None,
    mesh: Mesh | None = None,
    resident: bool | None = None,
    report_progress: ReportProgress | None = None,
    return_distances: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """int32[budget], rows that cover the features, in pick order.

    Equals greedy k-center in float64, with the lowest row of those that tie (to 1e-12
    of the squared distance), in a fraction of its time; the module says how. Without
    any label the first pick is row 0, as in google/active-learning.

    Args:
      features: [N, F] real numbers, one row per point: a NumPy array, a memory map
        (which is read block by block, never copied), a jax array, or what NumPy makes
        an array of, such as a tensor of PyTorch on the CPU.
      budget: number of picks, at most N less the labelled rows.
      labelled: int[L], rows that are chosen already, or bool[N]; none by default.
      mesh: the devices that share the work, in one axis "data"; all by default. Every
        process of a `jax.distributed` job must call this with the same arguments.
      resident: whether the features are copied to the devices, split by rows; by
        default on accelerators, where they fit.
      report_progress: called with (picks so far, budget) from time to time.
      return_distances: whether to return float32[budget], too: the Euclidean distance
        of each pick to the nearest row that was labelled or picked before it (inf where
        there was none).

    Raises:
      InputError: features are not finite [N, F], a label is not one of their rows, or
        fewer than `budget` rows are left.
    """
    picked = select(
        features,
        budget,
        labelled=labelled,
        mesh=mesh,
        resident=resident,
        report_progress=report_progress,
    )
    return (picked.row, picked.score) if return_distances else picked.row


def select(
    features: Array,
    budget: int,
    *,
    labelled: Sequence[int] | Array | None = None,
    mesh: Mesh | None = None,
    resident: bool | None = None,
    report_progress: ReportProgress | None = None,
    tuning: Tuning = tuning.DEFAULT,
) -> Picked:
    """The picks of `k_center`, whose arguments it takes, with their distances.

    Args:
      tuning: speed and memory; the picks do not depend on it.

    Returns:
      Picked: row int32[budget] in pick order; score float32[budget], the Euclidean
      distance of each pick to the nearest center when it was picked (inf where there
      was none).

    Raises:
      InputError: as `k_center`.
    """
    features = vectors.matrix(features)
    num, width = features.shape
    given = [] if labelled is None else labelled
    chosen = np.flatnonzero(labelled_rows.mask(given, num, "labelled"))
    budget = labelled_rows.budget(budget, num - len(chosen))
    first = np.zeros(1 if budget and not len(chosen) else 0, np.int32)
    if budget == 0:
        return Picked(first, np.zeros(0, np.float32))

    def report(done: int, _: int) -> None:
        if report_progress is not None:
            report_progress(done + len(first), budget)

    centers, left = np.append(chosen, first), budget - len(first)
    size = num * width
    if size <= tuning.scan_numbers and size * (len(centers) + left) <= (
        tuning.scan_reads
    ):
        row, distance = _scan(features, centers, left)
        report(left, left)
    else:
        with jax.enable_x64(True):
            pool = points.make(features, mesh=mesh, resident=resident, precise=True)
            with workers.one_thread_a_product():
                row, distance = farthest_first.traverse(
                    pool, centers, left, report, tuning
                )
    distance = np.append(np.full(len(first), np.inf), distance)
    return Picked(np.append(first, row), distance.astype(np.float32))


def _scan(
    features: Array, centers: np.ndarray, budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows int32[budget] and their distances, by a plain scan in process 0."""
    host = np.asarray(features)
    form = vectors.precise_form(host)._replace(dtype=vectors.FLOAT64.dtype)
    all_points = vectors.cast(host, form)
    vectors.check_valid(np.arange(len(host)), vectors.valid(all_points))
    with workers.one_thread_a_product():
        row, squared = plain_scan.scan(all_points, centers, budget)
    return devices.from_process_0((row, np.sqrt(squared)))
