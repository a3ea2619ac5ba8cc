"""What is compared: the data, the methods, their seeds, and how to repeat it."""

import pathlib
import shlex
from collections.abc import Iterator, Sequence

from dact_jax import plugins
from dact_jax.reports.comparison import comparable, pairs
from dact_jax.reports.comparison.pairs import Pair
from dact_jax.reports.comparison.runs import Method
from dact_jax.reports.sections.content import Table

_RANDOM, _ALONE = "random selection", "the source alone"
_FAMILIES = {
    "methods": "method",
    "acquisitions": "acquisition",
    "policies": "policy",
}  # family of plug-ins -> field of the config


def domains(methods: Sequence[Method]) -> tuple[str, str]:
    """The names of source and target."""
    data = methods[0].runs[0].record.config.get("data", {})
    source, target = (
        pathlib.Path(str(data.get(side, side))).stem for side in ("source", "target")
    )
    return source, target


def data(methods: Sequence[Method], metric: str) -> str:
    """What the accuracies are measured on, in one sentence."""
    first = methods[0].runs[0]
    source, target = domains(methods)
    column, what = (
        ("labels_val", "validation images")
        if metric == "validation"
        else ("test_images", "test images")
    )
    rows = [run.rounds[-1] for method in methods for run in method.runs]
    counts = [int(row[column]) for row in rows if row.get(column) is not None]
    measured = f"the {what}"
    if counts:
        least, most = min(counts), max(counts)
        measured = f"{least if least == most else f'{least} to {most}'} {what}"
    return (
        f"From {source} to {target}, {len(first.record.classes)} classes; accuracy is "
        f"measured on {measured} of {target}. ± is the standard deviation over seeds."
    )


def seeds(methods: Sequence[Method]) -> Iterator[str]:
    """Which method lacks which seeds."""
    every = sorted({run.seed for method in methods for run in method.runs})
    lacking = False
    for method in methods:
        own = {run.seed for run in method.runs}
        lost = [str(seed) for seed in every if seed not in own]
        if lost:
            lacking = True
            plural = "s" * (len(lost) > 1)
            yield f"{method.name} has no run with the seed{plural} {', '.join(lost)}."
    if lacking:
        yield "A difference is over the seeds that both of a pair have."


def baselines(methods: Sequence[Method], found: Sequence[Pair]) -> Iterator[str]:
    """Whether the best method beats random selection and the source alone."""
    best = methods[0]
    for kind in (_RANDOM, _ALONE):
        others = [method for method in methods if _is(method, kind)]
        if best in others and len(methods) > 1:
            yield f"The best method is {kind} itself ({best.name}): no other beats it."
        elif others and best not in others:
            own = best.settings.get("method")
            same = [m for m in others if m.settings.get("method") == own]
            other = (same or others)[0]
            pair = pairs.find(found, best.name, other.name)
            result = (
                "not compared: they have no seed in common"
                if pair is None
                else pairs.verdict(pair)
            )
            yield f"Against {kind} ({other.name}), {best.name} is {result}."


def table(methods: Sequence[Method]) -> Table:
    """What each method is made of."""
    body = [
        (
            method.name,
            *(_part(method, field) for field in _FAMILIES.values()),
            ", ".join(str(run.seed) for run in method.runs),
        )
        for method in methods
    ]
    return Table(
        ("method", "training", "images chosen by", "policy of labels", "seeds"), body
    )


def plug_ins(methods: Sequence[Method]) -> Table | None:
    """What the parts of the methods are, in their own words."""
    body = [
        (name, field, plugins.about(family, name))
        for family, field in _FAMILIES.items()
        for name in dict.fromkeys(_part(method, field) for method in methods)
        if name in plugins.names(family)
    ]
    return Table(("name", "is", "what it does"), body) if body else None


def again(methods: Sequence[Method]) -> str:
    """Commands that compute each run anew, from the config in its folder."""
    lines = []
    folders = [run.folder for method in methods for run in method.runs]
    names = [folder.resolve().name for folder in folders]
    for number, (folder, name) in enumerate(zip(folders, names, strict=True)):
        own = name if names.count(name) == 1 else f"{number}_{name}"
        place = shlex.quote(f"again/{own}")
        config = shlex.quote(str(folder / "config.yaml"))
        lines.append(
            f"mkdir -p {place} && cp {config} {place} && "
            f"python -m dact_jax.main --workdir={place}"
        )
    return "\n".join(lines)


def _is(method: Method, kind: str) -> bool:
    if kind == _ALONE:
        return method.settings.get("method") == "source_only"
    return _part(method, "acquisition") == "random"


def _part(method: Method, field: str) -> str:
    """The name of a plug-in; "-" for the acquisition of a run that buys no label."""
    if field == "acquisition" and all(map(comparable.is_level, method.runs)):
        return "-"
    return str(method.settings.get(field, "-"))
