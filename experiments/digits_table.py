"""The digits presets over several seeds, as a table: printed -> handwritten digits.

    python -m experiments.digits_table --seeds=5

Every run is the command that anybody would type; a run that is there already is not
repeated. Writes experiments/results/digits.json (a row a run) and digits.md. Each seed
draws its own test third, T_v and first labels; a preset sees the same as the others.
"""

import pathlib
import statistics
import subprocess
import sys
from collections.abc import Sequence

from absl import app, flags

from dact_jax.rounds import workdir
from experiments import runs

_SEEDS = flags.DEFINE_integer("seeds", 5, "Runs of each preset, seeds 0, 1, ...")
_PRESETS = flags.DEFINE_list(
    "presets", ["source_only", "s_rt", "s_act"], "Rows of the table, in order."
)
_RUNS = flags.DEFINE_string("runs", "runs/digits_table", "Folder of the runs.")

CONFIG = "configs/digits.py"
RESULTS = pathlib.Path(__file__).parent / "results"


def run(preset: str, seed: int) -> dict:
    """One run's row: accuracy in [0, 1] by number of target labels."""
    folder = pathlib.Path(_RUNS.value, f"{preset}_seed{seed}")
    command = [sys.executable, "-m", "dact_jax.main"]
    command += [f"--config={CONFIG}:preset={preset}", f"--config.seed={seed}"]
    subprocess.run([*command, f"--workdir={folder}"], check=True)
    rounds = [row for row in workdir.read(folder) if row["event"] == "round"]
    return {
        "preset": preset,
        "seed": seed,
        "labels": [row["labels_target"] for row in rounds],
        "test_accuracy": [row["test_accuracy"] for row in rounds],
        "val_accuracy": [row["val_accuracy"] for row in rounds],
        "labels_val": rounds[-1]["labels_val"],
        "source_samples": rounds[-1]["source_samples"],
        "seconds": sum(row["seconds"] for row in rounds),
    }


def table(rows: Sequence[dict], presets: Sequence[str]) -> str:
    """Markdown: mean +- standard deviation of the test accuracy, a row a preset."""
    counts = sorted({count for row in rows for count in row["labels"]})
    head = ["preset", "runs", *(f"{count} labels" for count in counts), "seconds"]
    body = []
    for preset in presets:
        mine = [row for row in rows if row["preset"] == preset]
        cells = [runs.cell(_accuracies(mine, count)) for count in counts]
        seconds = statistics.median(row["seconds"] for row in mine)
        body.append([f"`{preset}`", str(len(mine)), *cells, f"{seconds:.0f}"])
    return runs.table(head, body)


def paired(rows: Sequence[dict], one: str, other: str) -> str:
    """A sentence on the difference of two presets, seed by seed, at the last labels."""
    last = {(row["preset"], row["seed"]): row["test_accuracy"][-1] for row in rows}
    seeds = sorted({seed for _, seed in last})
    gaps = [100 * (last[one, seed] - last[other, seed]) for seed in seeds]
    each = ", ".join(f"{gap:+.2f}" for gap in gaps)
    return (
        f"{one} minus {other} with all labels, points by seed: {each}; "
        f"mean {statistics.mean(gaps):+.2f} +- {runs.deviation(gaps):.2f}."
    )


def _accuracies(rows: Sequence[dict], count: int) -> list[float]:
    return [
        accuracy
        for row in rows
        for labels, accuracy in zip(row["labels"], row["test_accuracy"], strict=True)
        if labels == count
    ]


def main(argv: Sequence[str]) -> None:
    """Runs what is missing and writes the table."""
    del argv
    rows = [
        run(preset, seed) for seed in range(_SEEDS.value) for preset in _PRESETS.value
    ]
    runs.write(RESULTS / "digits.json", rows)
    text = [
        "# Printed -> handwritten digits (UCI)",
        "Test accuracy in %, mean ± standard deviation over the seeds, on the held-out "
        "third of the target (599 images); besides the labels named, 30 target images "
        "(3 a class) are labelled for validation and not used to choose anything. "
        f"Made by `python -m experiments.digits_table --seeds={_SEEDS.value}`; "
        "seconds are the median of the training time on 2 CPU cores.",
        table(rows, _PRESETS.value),
    ]
    if {"s_act", "s_rt"} <= set(_PRESETS.value):
        text.append(paired(rows, "s_act", "s_rt"))
    (RESULTS / "digits.md").write_text("\n\n".join(text) + "\n")
    print(text[2])


if __name__ == "__main__":
    app.run(main)
