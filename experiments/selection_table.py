"""The page of the rows of `bench_selection`."""

import itertools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments import runs

Row = Mapping[str, Any]

ORDER = ("ours", "numpy", "jax", "torch", "skactiveml")
TITLES = {"numpy": "NumPy", "jax": "JAX scan", "skactiveml": "scikit-activeml"}
TITLES |= {"torch": "PyTorch"}
INTRO = """\
`ours` is `dact_jax.k_center`. The loops (NumPy, a jitted JAX scan, PyTorch) centre the
points, compute their lengths once and make one matrix-vector product over all of them
for each pick, in float32; scikit-activeml is its query strategy `CoreSet`. All begin
with row 0. Every contestant has processes of its own; seconds are the median of warm
runs, from an array on the host to picks there, and × is the ratio to ours in the same
row. `~`: extrapolated on a line from runs with 20 and 60 picks. mixture: 50 Gaussians;
noise: uniform; power: a Gaussian with the deviation 10 / k along dimension k; pacs:
EfficientNet-Lite0 features of photo, cartoon and sketch together; mnist: LeNet features
of the training images (`python -m experiments.mnist_features`)."""
LIMITS = """\
The floor is the time in which memory could be read once for each pick, at the bandwidth
measured beside: what a loop that passes over the points for every pick cannot beat,
unless they fit into a cache. The share of the peak is what our time would mean if all
pairs of points and picks were computed, against the peak of a float32 matrix product:
more than 100 % can only be had by computing fewer."""
FIRST = """\
Seconds of the first call of a process, compilation included and imports not, and peak
memory above what the process held when the points were there and all was imported, in
MB (`≥`: of the shorter runs)."""
PICKS = """\
Share of the picks that stand at the same place in the order as ours (`of 60`: of the
shorter run). Others round in float32, so near ties may fall otherwise; the cover radius
of those picks (the largest distance of any point to its nearest) agrees with that of
ours to 1e-4, unless a cell says `differs`."""


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def number(value: float) -> str:
    """Two or three digits that matter."""
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
    """Markdown: a row a cell, a column a contestant; seconds and ratio to ours."""
    return _table(rows, _seconds, _names(rows))


def limits(rows: Sequence[Row]) -> str:
    """Markdown: what the machine could do at most, and ours against it."""
    head = ["points", "N", "F", "picks", "GB/s", "floor, s", "floor / ours"]
    head += ["GFLOP/s", "share of peak"]
    body = []
    for row in rows:
        cells = [number(row["bytes_per_s"] / 1e9), number(row["floor_s"])]
        known = row["floor_to_ours"] is not None
        cells.append(times(row["floor_to_ours"]) if known else "-")
        cells.append(number(row["flop_per_s"] / 1e9))
        cells.append(f"{100 * row['peak_share']:.0f} %" if known else "-")
        body.append([*_where(row), *cells])
    return runs.table(head, body)


def _machine(row: Row) -> tuple[str, ...]:
    """What rows have in common that stand under one heading."""
    versions = ", ".join(f"{k} {v}" for k, v in row["versions"].items() if v)
    device = "" if row["platform"] == "cpu" else f"{row['device']}, "
    cores = f"{row['cores']} of {row['cpu_cores']} cores"
    flags = f"--cores={row['cores']} --repeats={row['repeats']}"
    flags += f" --rounds={row['rounds']}" * (row["rounds"] > 1)
    flags += " --platform=gpu" * (row["platform"] != "cpu")
    return f"{device}{row['cpu']}, {cores}", versions, flags


def section(machine: tuple[str, ...], rows: Sequence[Row]) -> list[str]:
    """The paragraphs of one machine's rows.

    Args:
      machine: its name, the versions and the flags.
      rows: measured there.
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
    """Writes the page beside the rows; it ends with the notes, if there are any.

    Args:
      results: such as selection.json.
      rows: of it.
    """
    text = ["# Greedy k-center: seconds of a selection", INTRO]
    ordered = sorted(rows, key=_machine)
    for machine, mine in itertools.groupby(ordered, _machine):
        order = ("data", "rows", "width", "budget")
        text += section(machine, sorted(mine, key=lambda r: [r[k] for k in order]))
    notes = results.with_name(f"{results.stem}_notes.md")
    if notes.exists():
        text.append(notes.read_text(encoding="utf-8").strip())
    page = results.with_suffix(".md")
    page.write_text("\n\n".join(text) + "\n", encoding="utf-8")
