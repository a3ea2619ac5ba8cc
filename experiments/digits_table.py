"""The presets of configs/digits.py over several seeds: printed -> handwritten digits.

Makes: experiments/results/digits.json, a row a run, and digits.md, their table.
Data:  none; printed digits are drawn, and scikit-learn has the handwritten ones.
Time:  14 min of training on 2 CPU cores.

    python -m experiments.digits_table --seeds=5

A run that is in the folder --runs already is not repeated. Each seed draws its own test
third, validation images and first labels, the same for all presets.
"""

import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl.flags import FlagValues
from ml_collections import ConfigDict

import dact_jax
from dact_jax.types import Row
from experiments import commands, fingerprints, published, runs

CONFIG = "configs/digits.py"
MODULE = "experiments.digits_table"
PRESETS = ("source_only", "s_rt", "s_act")
FIELDS = {"data.source": "printed", "data.target": "uci"}


def run(
    preset: str, seed: int, root: pathlib.Path, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of one run: accuracies in [0, 1] by number of target labels.

    Args:
      root: folder of all runs.
      fields: values by dotted field of the config.
    """
    rounds = runs.finish(
        f"{CONFIG}:preset={preset}",
        root / f"{preset}_seed{seed}",
        {**fields, "seed": seed},
    )
    return {
        "preset": preset,
        "seed": seed,
        "labels": [row["labels_target"] for row in rounds],
        "test_accuracy": [row["test_accuracy"] for row in rounds],
        "val_accuracy": [row["val_accuracy"] for row in rounds],
        "labels_val": rounds[-1]["labels_val"],
        "source_samples": rounds[-1]["source_samples"],
        "seconds": sum(row["seconds"] for row in rounds),
        "code": fingerprints.of_run(configured(preset, fields), CONFIG, MODULE),
    }


def configured(preset: str, fields: Mapping[str, Any]) -> ConfigDict:
    """The config of a run, but for its seed."""
    return dact_jax.config(f"{CONFIG}:preset={preset}", **fields)


def table(rows: Sequence[Row], presets: Sequence[str]) -> str:
    """A Markdown table of test accuracies: a row a preset, a column a label count."""
    counts = sorted({count for row in rows for count in row["labels"]})
    head = ["preset", "runs", *(f"{count} labels" for count in counts), "seconds"]
    body = []
    for preset in presets:
        of_preset = [row for row in rows if row["preset"] == preset]
        cells = [runs.cell(_accuracies(of_preset, count)) for count in counts]
        seconds = statistics.median(row["seconds"] for row in of_preset)
        body.append([f"`{preset}`", str(len(of_preset)), *cells, f"{seconds:.0f}"])
    return runs.table(head, body)


def paired(rows: Sequence[Row], preset: str, rival: str) -> str:
    """A sentence on the difference of two presets by seed, with all labels."""
    last = {(row["preset"], row["seed"]): row["test_accuracy"][-1] for row in rows}
    seeds = sorted({seed for name, seed in last if name == preset})
    seeds = [seed for seed in seeds if (rival, seed) in last]
    gaps = [100 * (last[preset, seed] - last[rival, seed]) for seed in seeds]
    each = ", ".join(f"{gap:+.2f}" for gap in gaps)
    return (
        f"{preset} minus {rival} with all labels, points by seed: {each}; "
        f"mean {statistics.mean(gaps):+.2f} +- {runs.deviation(gaps):.2f}."
    )


def _accuracies(rows: Sequence[Row], count: int) -> list[float]:
    return [
        accuracy
        for row in rows
        for labels, accuracy in zip(row["labels"], row["test_accuracy"], strict=True)
        if labels == count
    ]


@commands.command(
    __doc__,
    commands.words("presets", PRESETS, "Rows of the table, in order."),
    commands.text("source", FIELDS["data.source"], "Domain, as in data.source."),
    commands.text("target", FIELDS["data.target"], "Domain, as in data.target."),
    commands.text("runs", "runs/digits_table", "Folder of the runs."),
    runs.SIDE,
    *runs.flags("digits", seeds=5),
)
def main(flags: FlagValues) -> None:
    """Finishes the runs and writes their rows and the page."""
    domains = {"data.source": flags.source, "data.target": flags.target}
    fields = runs.shorten({**domains, **runs.resize(flags.side)}, flags.steps)
    results = pathlib.Path(flags.results)
    path = results.with_name(f"{results.name}.json")
    rows = {(row["preset"], row["seed"]): row for row in published.rows(path, flags)}
    wanted = [(p, seed) for seed in range(flags.seeds) for p in flags.presets]
    absent = published.plan(results, flags, wanted, rows)
    if not absent:
        return
    published.check_files(*domains.values())
    changed = published.settings(flags)
    for preset, seed in absent:
        row = run(preset, seed, pathlib.Path(flags.runs), fields)
        rows[preset, seed] = row | ({"settings": changed} if changed else {})
        runs.write(path, rows.values())
    seeds = 1 + max(seed for _, seed in rows)  # the file may have more than were asked
    parts = [_about(domains, seeds), table(list(rows.values()), flags.presets)]
    if {"s_act", "s_rt"} <= set(flags.presets):
        parts.append(paired(list(rows.values()), "s_act", "s_rt"))
    runs.write_page(results, parts)
    print(parts[1])


def _about(domains: Mapping[str, str], seeds: int) -> str:
    origin = (
        f"Made by `python -m experiments.digits_table --seeds={seeds}`; "
        "seconds are the median of the training time on 2 CPU cores."
    )
    shown = "Test accuracy in %, mean ± standard deviation over the seeds"
    if domains != FIELDS:
        return f"# {' -> '.join(domains.values())}\n\n{shown}. {origin}"
    return (
        "# Printed -> handwritten digits (UCI)\n\n"
        f"{shown}, on the held-out third of the target (599 images); besides the "
        "labels named, 30 target images (3 a class) are labelled for validation and "
        f"not used to choose anything. {origin}"
    )


if __name__ == "__main__":
    main(sys.argv)
