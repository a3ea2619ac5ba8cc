"""The page of the rows of `bench_selection`."""

import itertools
import pathlib
from collections.abc import Callable, Sequence

from dact_jax import errors
from dact_jax.types import Row
from experiments import runs

ORDER = ("ours", "numpy", "jax", "torch", "skactiveml")
TITLES = {"numpy": "NumPy", "jax": "JAX scan", "skactiveml": "scikit-activeml"}
TITLES |= {"torch": "PyTorch"}
INTRO = """\
`ours` is `dact_jax.k_center`. The loops (NumPy, a jitted JAX scan, PyTorch) center the
points, compute their lengths once, and compute one matrix-vector product over all
points for each pick, in float32; scikit-activeml is its query strategy `CoreSet`. All
start with row 0. Each contestant runs in processes of its own. Seconds are the median
of warm calls, which take an array on the host and return picks on the host; × is the
ratio to ours in the same row. `~`: extrapolated linearly from calls with 20 and 60
picks. mixture: 50 Gaussians; noise: uniform; power: a Gaussian with the deviation
10 / k along dimension k; pacs: EfficientNet-Lite0 features of photo, cartoon and sketch
together; mnist: LeNet features of the training images
(`python -m experiments.mnist_features`)."""
LIMITS = """\
The floor is the time of reading all points once for each pick, at the measured memory
bandwidth (GB/s). A loop that reads all points for each pick cannot be faster, unless
they fit into a cache. The share of the peak is the rate at which ours would compute if
it compared all pairs of points and picks, relative to a float32 matrix product
(GFLOP/s): above 100 % it must compare fewer pairs."""
FIRST = """\
Seconds of the first call in a process, with compilation and without imports, and peak
memory in MB above what the process held before it, with the points and all imports
(`≥`: of the shorter calls)."""
PICKS = """\
Share of the picks that are at the same position as in ours (`of 60`: of the shorter
call). The loops round in float32, so they may decide near ties differently; the cover
radius of their picks (the largest distance of a point to its nearest pick) agrees with
that of ours to 1e-4, unless a cell says `differs`."""


def number(value: float) -> str:
    """A positive number with two or three significant digits."""
    if value >= 10:
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def times(ratio: float) -> str:
    """A ratio, such as 39×."""
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.1f}×"


def _seconds(entry: Row) -> str:
    mark = "~" if entry["estimated"] else ""
    text = f"{mark}{number(entry['seconds'])}"
    if entry["ratio"] is not None:
        text += f" ({mark}{times(entry['ratio'])})"
    return text if entry["agrees"] else f"{text} differs"


def _first(entry: Row) -> str:
    least = "≥" if entry["estimated"] else ""
    above = entry["memory_mb"] - entry["memory_before_mb"]
    first = "" if entry["first_s"] is None else f"{number(entry['first_s'])} s, "
    return f"{first}{least}{above:.0f} MB"


def _picks(entry: Row) -> str:
    text = f"{100 * entry['equal'] / entry['picks']:.4g} %"
    if entry["estimated"]:
        text = f"{text} of {entry['picks']}"
    return text if entry["agrees"] else f"{text} differs"


def _names(rows: Sequence[Row]) -> list[str]:
    return [name for name in ORDER if any(name in row["contestants"] for row in rows)]


def _where(row: Row) -> list[str]:
    return [row["data"], *(f"{row[key]:,}" for key in ("rows", "width", "budget"))]


def _table(rows: Sequence[Row], cell: Callable[[Row], str], names: list[str]) -> str:
    def text(row: Row, name: str) -> str:
        entry = row["contestants"].get(name)
        if entry is None:
            return "-"
        return "failed" if "failed" in entry else cell(entry)

    head = ["points", "N", "F", "picks", *(TITLES.get(name, name) for name in names)]
    body = [[*_where(row), *(text(row, name) for name in names)] for row in rows]
    return runs.table(head, body)


def seconds(rows: Sequence[Row]) -> str:
    """A Markdown table: a row for each size, a column a contestant; seconds, ratio."""
    return _table(rows, _seconds, _names(rows))


def limits(rows: Sequence[Row]) -> str:
    """A Markdown table: the limits of the machine, and ours relative to them."""
    head = ["points", "N", "F", "picks", "GB/s", "floor, s", "floor / ours"]
    head += ["GFLOP/s", "share of peak"]
    body = []
    for row in rows:
        cells = [number(row["bytes_per_s"] / 1e9), number(row["floor_s"])]
        measured = row["floor_to_ours"] is not None
        cells.append(times(row["floor_to_ours"]) if measured else "-")
        cells.append(number(row["flop_per_s"] / 1e9))
        cells.append(f"{100 * row['peak_share']:.0f} %" if measured else "-")
        body.append([*_where(row), *cells])
    return runs.table(head, body)


def _machine(row: Row) -> tuple[str, ...]:
    """What the rows below one heading have in common: machine, versions, flags."""
    versions = ", ".join(f"{k} {v}" for k, v in row["versions"].items() if v)
    device = "" if row["platform"] == "cpu" else f"{row['device']}, "
    cores = f"{row['cores']} of {row['cpu_cores']} cores"
    flags = f"--cores={row['cores']} --repeats={row['repeats']}"
    flags += f" --rounds={row['rounds']}" * (row["rounds"] > 1)
    flags += " --platform=gpu" * (row["platform"] != "cpu")
    return f"{device}{row['cpu']}, {cores}", versions, flags


def section(machine: tuple[str, ...], rows: Sequence[Row]) -> list[str]:
    """The paragraphs on the rows of one machine.

    Args:
      machine: of `_machine`.
    """
    name, versions, flags = machine
    others = [other for other in _names(rows) if other != "ours"]
    command = "python -m experiments.bench_selection --data=POINTS --rows=N --width=F"
    return [
        f"## {name}",
        f"Made by `{command} --budget=PICKS {flags}` (pacs with "
        "`--features=data/pacs_features`, mnist with `--features=mnist_features.npy`); "
        f"{versions}.",
        seconds(rows),
        LIMITS,
        limits(rows),
        FIRST,
        _table(rows, _first, _names(rows)),
        PICKS,
        _table(rows, _picks, others),
    ]


def write(results: pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes the page beside the file of the rows, such as selection.json.

    Raises:
      InputError: there are no rows.
    """
    if not rows:
        raise errors.InputError(f"{results} has no row: measure some first.")
    parts = ["# Greedy k-center: seconds of a selection", INTRO]
    order = ("data", "rows", "width", "budget")
    for machine, group in itertools.groupby(sorted(rows, key=_machine), _machine):
        parts += section(machine, sorted(group, key=lambda r: [r[k] for k in order]))
    runs.write_page(results.with_suffix(""), parts)
