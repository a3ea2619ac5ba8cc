"""The embedding map: source and target images as dots, with what is known of each."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dact_jax.reports import sweeps
from dact_jax.reports.page import pictures
from dact_jax.reports.page.pictures import Sheet
from dact_jax.reports.pictures import projections
from dact_jax.reports.record import Record
from dact_jax.reports.sweeps import Part, Sweeps
from dact_jax.run_types import Experiment, Run
from dact_jax.types import SOURCE, TARGET

_MOST = {TARGET: 900, SOURCE: 500}  # dots; t-SNE of more takes long
_MOST_BYTES = 1_800_000  # of all small images
_SEED = 0
WIDTH, HEIGHT = 640, 460  # of the drawing
_MARGIN = 12


class Dot(NamedTuple):
    """One image, where the first projection puts it."""

    x: float
    y: float
    domain: int
    picked: bool


class Scatter(NamedTuple):
    """n dots: those of the source first, those of picked images last."""

    data: dict[str, Any]  # what the script needs, as JSON
    dots: Sequence[Dot]
    sheet: Sheet | None  # their images; None where there are none
    shown: tuple[int, int]  # dots of source and target
    total: tuple[int, int]  # images in their pools
    favors_picked: bool  # whether more of the picked images are shown than of others
    has_unbought: bool  # whether classes are known that the run did not buy


def gather(record: Record, run: Run, experiment: Experiment, swept: Sweeps) -> Scatter:
    """Projects a part of both pools together."""
    picked = {d: sweeps.picked(experiment, d) for d in (SOURCE, TARGET)}
    parts = {d: _few(swept.part(d), picked[d], _MOST[d]) for d in (SOURCE, TARGET)}
    embedding = np.concatenate([parts[d].embedding for d in (SOURCE, TARGET)])
    planes = {"t-SNE": projections.t_sne(embedding), "PCA": projections.pca(embedding)}
    places = {name: _places(points) for name, points in planes.items()}
    rounds = {pick.id: pick.round for pick in record.picks if pick.side == "target"}
    pools = experiment.pools
    trained_on = {SOURCE: np.asarray(pools.source), TARGET: np.asarray(pools.target)}
    dots = [
        dot
        for domain in (SOURCE, TARGET)
        for dot in _dots(
            run,
            parts[domain],
            picked[domain],
            trained_on[domain],
            domain,
            rounds,
        )
    ]
    sheet = _sheet(run, parts, dots)
    # Later dots are drawn above earlier ones.
    order = sorted(range(len(dots)), key=lambda i: dots[i]["s"])
    dots = [dots[i] for i in order]
    places = {name: [points[i] for i in order] for name, points in places.items()}
    shown, total = (
        (len(of[SOURCE]), len(of[TARGET]))
        for of in ({d: parts[d].rows for d in parts}, picked)
    )
    return Scatter(
        data={
            "classes": run.task.class_names,
            "places": places,
            "dots": dots,
            "left": sum(total) - sum(shown),
        },
        dots=[
            Dot(x, y, dot["d"], dot["s"])
            for (x, y), dot in zip(next(iter(places.values())), dots, strict=True)
        ],
        sheet=sheet,
        shown=shown,
        total=total,
        favors_picked=any(
            p.any() and len(parts[d].rows) < len(p) for d, p in picked.items()
        ),
        has_unbought=any(
            dot["d"] == TARGET and dot["k"] >= 0 and not dot["u"] for dot in dots
        ),
    )


def _few(part: Part, picked: np.ndarray, most: int) -> Part:
    """At most so many rows; those that were picked first."""
    if len(part.rows) <= most:
        return part
    rng = np.random.default_rng(_SEED)
    chosen = picked[part.rows]
    first = sweeps.draw(rng, np.flatnonzero(chosen), 2 * most // 3)
    rest = sweeps.draw(rng, np.flatnonzero(~chosen), most - len(first))
    kept = np.sort(np.concatenate([first, rest]))
    return Part(*(values[kept] for values in part))


def _places(points: np.ndarray) -> list[tuple[float, float]]:
    """Points in the units of the drawing, as large as fits."""
    low, high = points.min(0), points.max(0)
    inside = np.array([WIDTH - 2 * _MARGIN, HEIGHT - 2 * _MARGIN])
    share = (points - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    placed = np.round(_MARGIN + inside * share, 1)
    return [(float(x), float(y)) for x, y in placed.tolist()]


def _dots(
    run: Run,
    part: Part,
    picked: np.ndarray,
    trained_on: np.ndarray,
    domain: int,
    rounds: dict[str, int],
) -> list[dict[str, Any]]:
    """What is shown of each image: short names, since there are many."""
    ids = sweeps.domain_of(run, domain).id
    predicted = part.logits.argmax(-1).tolist()
    shifted = np.exp(part.logits - part.logits.max(-1, keepdims=True))
    confidence = (shifted.max(-1) / shifted.sum(-1)).round(3).tolist()
    found = []
    for i, row in enumerate(part.rows.tolist()):
        name = str(ids[row])
        found.append(
            {
                "n": name,
                "d": domain,
                "k": int(part.label[i]),  # class, negative: unknown
                "p": predicted[i],
                "c": confidence[i],
                "r": rounds.get(name, -1) if domain == TARGET else -1,
                "s": bool(picked[row]),
                "u": bool(trained_on[row]),
            }
        )
    return found


def _sheet(
    run: Run, parts: dict[int, Part], dots: list[dict[str, Any]]
) -> Sheet | None:
    """The images of the domains that have any; tells each dot its tile."""
    pools, tiles, start = [], 0, 0
    for domain in (SOURCE, TARGET):
        side, rows = sweeps.domain_of(run, domain), parts[domain].rows.tolist()
        images = pictures.source(side.train.image, side.files)
        for place, dot in enumerate(dots[start : start + len(rows)]):
            dot["t"] = -1 if images is None else tiles + place
        start += len(rows)
        if images is not None:
            pools.append((images, rows))
            tiles += len(rows)
    return pictures.sheet(pools, most_bytes=_MOST_BYTES) if pools else None
