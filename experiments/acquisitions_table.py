"""Every acquisition, with a random and with a chosen start, beside random labels.

Makes: experiments/results/acquisitions.json, a row a run; acquisitions.md, the tables;
       acquisitions.png, the mean ranks.
Data:  in --data_dir pacs_features/{photo,cartoon,sketch}.npz, as choices_table; for the
       digits mnist/mnist.npz, usps/usps.npz and mnist_m/mnist_m_10k.npz, each with
       uint8 images x_train and x_test, and labels y_train and y_test.
Time:  told before it starts, from the times of runs on one core of an AMD EPYC; the
       whole table takes about 4 hours on 2 cores.

    python -m experiments.acquisitions_table --data_dir=data --processes=2

Labels are bought 1, 2, 3, 5 and 10 a class, on six pairs of PACS embeddings, on three
pairs of digits embedded by a LeNet that was trained on the source, and from printed to
handwritten digits end to end (3 seeds). The network of a task, an adaptation and a seed
is trained on the source once; all acquisitions start from it. A run whose row is in the
.json already is not repeated.
"""

import itertools
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from absl.flags import FlagValues

from dact_jax.types import Row
from experiments import (
    acquisitions_page,
    acquisitions_runs,
    choices_table,
    commands,
    published,
    runs,
)
from experiments.acquisitions_runs import Choice, Group, Task

PACS = ("photo", "cartoon", "sketch")
DIGITS = (("MNIST", "USPS"), ("USPS", "MNIST"), ("MNIST", "MNIST-M"))
END_TO_END = "printed → handwritten"
COMMAND = "python -m experiments.acquisitions_table --data_dir=data --processes=2"
_VECTORS = {
    **{k: v for k, v in choices_table.SHARED.items() if "." not in k or "train" in k},
    "data.stratified": False,
    "model.widths": (256,),
    "methods.mme.head": "two_layer",
    "pretrain.steps": 150,
}
_IMAGES = {
    **runs.resize(16),
    "train.steps": 100,
    "train.save_every": 100,
    "pretrain.steps": 300,
    "figures": False,
}
# Seconds of a run on one core, by adaptation: of vectors, and of images.
_SECONDS = {"mme": (5.0, 25.0), "fine-tuning": (3.0, 15.0)}


def tasks(folder: str, features: str, seeds: int, steps: int) -> dict[str, Task]:
    """The tasks by name.

    Args:
      folder: of the data.
      features: folder of the digits' embeddings, by `acquisitions_digits`.
      seeds: of each task; those end to end have 3 at most.
      steps: as in `runs.shorten`.
    """

    def vectors(source: str, target: str, num_classes: int) -> Task:
        fields = {"data.source": source, "data.target": target, **_VECTORS}
        fields = runs.shorten(fields, steps)
        return Task("configs/embeddings.py", num_classes, fields, seeds)

    made = {
        f"{source} → {target}": vectors(
            *(f"{folder}/pacs_features/{name}.npz" for name in (source, target)), 7
        )
        for source, target in itertools.permutations(PACS, 2)
    }
    for source, target in DIGITS:
        of_pair = f"{features}/{source}_{target}"
        made[f"{source} → {target}"] = vectors(
            f"{of_pair}_source.npz", f"{of_pair}_target.npz", 10
        )
    fields = runs.shorten(_IMAGES, steps)
    made[END_TO_END] = Task("configs/digits.py", 10, fields, min(seeds, 3))
    return made


@commands.command(
    __doc__,
    commands.text("data_dir", "data", "Folder of the data."),
    commands.text(
        "features",
        "runs/acquisitions_digits",
        "Folder of the digits' embeddings, which experiments.acquisitions_digits "
        "writes.",
    ),
    commands.integer("processes", 1, "Processes, each on one core."),
    commands.text("acquisitions", "", "Rows, separated by semicolons; empty: all."),
    commands.text("adaptations", "", "Separated by semicolons; empty: all."),
    runs.TASKS,
    runs.PAGE,
    *runs.flags("acquisitions", seeds=10),
)
def main(flags: FlagValues) -> None:
    """Runs what is missing and writes the rows, the page and the picture."""
    known = tasks(flags.data_dir, flags.features, flags.seeds, flags.steps)
    names = commands.selected(flags.tasks, tuple(known), "tasks")
    chosen = commands.selected(
        flags.acquisitions, tuple(acquisitions_runs.ACQUISITIONS), "acquisitions"
    )
    adapted = commands.selected(
        flags.adaptations, tuple(acquisitions_runs.ADAPTATIONS), "adaptations"
    )
    results = pathlib.Path(flags.results)
    path = results.with_name(f"{results.name}.json")
    rows = {_key(row): row for row in published.rows(path, flags)}
    wanted = [
        (Group(name, adaptation, seed), choice)
        for seed in range(flags.seeds)
        for name, adaptation in itertools.product(names, adapted)
        if seed < known[name].seeds
        for choice in acquisitions_runs.choices(chosen)
    ]
    if flags.page:
        published.check_writable(results, flags)
    absent = [] if flags.page else published.plan(results, flags, wanted, rows)
    jobs = [
        (known[group.task], group, tuple(choice for _, choice in found))
        for group, found in itertools.groupby(absent, key=lambda run: run[0])
    ]
    _check_files(jobs)
    if jobs:
        print(_duration(jobs, flags.processes), flush=True)
    changed = published.settings(flags)
    for group, of_group in _results(jobs, flags.processes):
        for row in of_group:
            rows[_key(row)] = row | ({"settings": changed} if changed else {})
        runs.write(path, in_order(rows.values(), known))
        print(f"{group.task}, {group.adaptation}, seed {group.seed}", flush=True)
    if jobs or flags.page:
        acquisitions_page.write(results, COMMAND, in_order(rows.values(), known))


Job = tuple[Task, Group, tuple[Choice, ...]]


def _key(row: Row) -> tuple[Group, Choice]:
    group = Group(row["task"], row["adaptation"], row["seed"])
    return group, Choice(row["acquisition"], row["start"])


def in_order(rows: Iterable[Row], tasks: Iterable[str]) -> list[Row]:
    """Rows by seed, task, adaptation and choice, whichever process was first."""
    orders: tuple[Iterable[object], ...] = (
        tasks,
        acquisitions_runs.ADAPTATIONS,
        acquisitions_runs.choices(tuple(acquisitions_runs.ACQUISITIONS)),
    )
    places = [{name: place for place, name in enumerate(order)} for order in orders]

    def place(row: Row) -> tuple[int, ...]:
        group, choice = _key(row)
        names = group.task, group.adaptation, choice
        pairs = zip(places, names, strict=True)  # unknown names come last
        return group.seed, *(of.get(name, len(of)) for of, name in pairs)

    return sorted(rows, key=place)


def _check_files(jobs: Sequence[Job]) -> None:
    for task, _, _ in jobs:
        files = (task.fields.get(f"data.{side}", "") for side in ("source", "target"))
        published.check_files(*files)


def _duration(jobs: Sequence[Job], processes: int) -> str:
    seconds = sum(
        _SECONDS[group.adaptation]["digits" in task.config] * len(found)
        for task, group, found in jobs
    )
    number = sum(len(found) for _, _, found in jobs)
    return (
        f"{number} runs, about {seconds / processes / 3600:.1f} hours in {processes} "
        "process(es)."
    )


def _results(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Group, list[Row]]]:
    """The rows of each group, in the order in which they are done."""
    if processes == 1:
        yield from map(_work, jobs)
        return
    cores = multiprocessing.get_context("spawn").Queue()
    for core in sorted(_cores())[:processes]:
        cores.put(core)
    for _ in range(processes - len(_cores())):  # more than there are
        cores.put(None)
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _begin, (cores,)) as pool:
        yield from pool.imap_unordered(_work, jobs)


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _begin(cores: "multiprocessing.Queue[int | None]") -> None:
    """Keeps a process to a core of its own, or times would be of several."""
    core = cores.get()
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def _work(job: Job) -> tuple[Group, list[Row]]:
    task, group, wanted = job
    columns: Mapping[str, object] = group._asdict()
    return group, [
        {**columns, **choice._asdict(), **row}
        for choice, row in acquisitions_runs.run_group(task, group, wanted)
    ]


if __name__ == "__main__":
    main(sys.argv)
