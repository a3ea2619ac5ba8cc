"""The pictures of a finished run: what was picked, and what the network made of it."""

import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import figure

from dact_jax import types
from dact_jax.data.readers import embeddings
from dact_jax.reports import confusion, sweeps
from dact_jax.reports.pictures import (
    captions,
    confusion_matrix,
    contact_sheet,
    feature_maps,
    figures,
    picked_images,
    png,
    projections,
)
from dact_jax.reports.sweeps import Sweeps
from dact_jax.rounds import evaluation, workdir
from dact_jax.run_types import Experiment, Run
from dact_jax.types import SOURCE, TARGET

_MAX_IMAGES = {TARGET: 3, SOURCE: 2}  # of the feature maps
_MAX_ROUNDS = 8  # of the contact sheet
_SEED = 0
_SIDES = {TARGET: "target", SOURCE: "source"}


def write(
    run: Run,
    experiment: Experiment,
    folder: pathlib.Path,
    *,
    swept: Sweeps | None = None,
    redraw: bool = True,
) -> list[str]:
    """Draws the pictures of `captions` into the folder, each file atomically.

    There are no feature maps if the encoder has none, no classes of picks if nothing
    was picked, no sheet of picks where they are vectors, and no confusion matrix, nor
    confusion.csv beside it, without a test image that has a label.

    Args:
      run: data and network of the experiment.
      experiment: state after the last round.
      swept: of that state; None: what is needed is computed here.
      redraw: if False, existing files are kept.

    Returns:
      Names of the files drawn.

    Raises:
      DivergedError: an embedding is not finite.
    """
    drawn = []
    swept = swept or sweeps.lazily(run, experiment)
    for name, draw in _drawers(run, experiment, folder, swept).items():
        if redraw or not (folder / name).exists():
            png.save(draw(), folder / name, dpi=110)
            drawn.append(name)
    return drawn


def _drawers(
    run: Run, experiment: Experiment, folder: pathlib.Path, swept: Sweeps
) -> Mapping[str, Callable[[], figure.Figure]]:
    """File name -> function that draws it, for the pictures that this run has."""
    state = run, experiment
    drawers: dict[str, Callable[[], figure.Figure]] = {}
    if evaluation.tested(run, experiment.pools).any():
        drawers[captions.CONFUSION] = functools.partial(_confusion, run, folder, swept)
    picks = [p for p in workdir.read_picks(folder) if p.side == _SIDES[TARGET]]
    if picks and not embeddings.are_vectors(run.task.target.train.image):
        sheet = functools.partial(_contact_sheet, *state, picks)
        drawers[captions.PICKED_IMAGES] = sheet
    drawers |= {
        captions.EMBEDDING_TARGET: functools.partial(_embedding, *state, TARGET, swept),
        captions.EMBEDDING_SOURCE: functools.partial(_embedding, *state, SOURCE, swept),
    }
    if not len(run.task.target.train.label):
        del drawers[captions.EMBEDDING_TARGET]
    if any(sweeps.picked(experiment, domain).any() for domain in _SIDES):
        drawers[captions.PICKED_CLASSES] = functools.partial(_classes, *state)
    if _has_maps(run):
        drawers[captions.FEATURE_MAPS] = functools.partial(_feature_maps, *state)
    return drawers


def _embedding(
    run: Run, experiment: Experiment, domain: int, swept: Sweeps
) -> figure.Figure:
    side, picked = sweeps.domain_of(run, domain), sweeps.picked(experiment, domain)
    rows, label, embedding, _ = swept.part(domain)
    planes = {"PCA": projections.pca(embedding), "t-SNE": projections.t_sne(embedding)}
    cloud = figures.Cloud(planes, label, picked[rows])
    part = f"{len(rows)} of" if len(rows) < len(picked) else "all"
    title = f"{_SIDES[domain].capitalize()} pool ({side.name})"
    title += f", {part} {len(picked)} samples"
    if not picked.any():
        title += "; all are in use" if domain == SOURCE else "; no label was bought"
    visible, total = int(picked[rows].sum()), int(picked.sum())
    heading = (
        f"{visible} of the {total} picked" if visible < total else f"{total} picked"
    )
    return figures.embedding(cloud, run.task.class_names, title, heading)


def _confusion(run: Run, folder: pathlib.Path, swept: Sweeps) -> figure.Figure:
    """Writes confusion.csv, and draws it."""
    tested = swept.test()
    predicted = tested.logits.argmax(-1)
    counted = confusion.count(predicted, tested.label, run.task.class_names)
    confusion.write(folder, counted)
    return confusion_matrix.draw(counted.images, counted.class_names)


def _contact_sheet(
    run: Run, experiment: Experiment, picks: Sequence[workdir.Pick]
) -> figure.Figure:
    """The first target images that were picked for each round."""
    pool, names = run.task.target, run.task.class_names
    row = {name: number for number, name in enumerate(pool.id.tolist())}
    by_round = [
        (title, list(group))
        for title, group in itertools.groupby(
            picks, lambda pick: f"Round {pick.round}, {pick.acquisition}"
        )
    ]
    groups = []
    places = np.linspace(0, len(by_round) - 1, min(len(by_round), _MAX_ROUNDS))
    for title, of_round in (by_round[round(place)] for place in places):
        rows = np.array([row[pick.id] for pick in of_round])
        bought = experiment.label
        groups.append(picked_images.group(title, pool, rows, bought, names))
    return contact_sheet.draw(groups)


def _classes(run: Run, experiment: Experiment) -> figure.Figure:
    def count(label: np.ndarray) -> np.ndarray:
        return np.bincount(label[label >= 0], minlength=len(run.task.class_names))

    panels = []
    for domain, name in _SIDES.items():
        side, picked = sweeps.domain_of(run, domain), sweeps.picked(experiment, domain)
        pool = np.asarray(side.train.label)
        # Of the target picks, only labels that were bought may be counted.
        label = experiment.label if domain == TARGET else pool
        if picked.any():
            title = f"{name.capitalize()} ({side.name})"
            counts = count(label[picked]), count(pool)
            if domain == TARGET and run.person is not None:
                counts = counts[0], np.zeros_like(counts[0])  # nobody knows the pool's
            panels.append(figures.ClassCounts(title, *counts))
    return figures.class_shares(panels, run.task.class_names)


def _feature_maps(run: Run, experiment: Experiment) -> figure.Figure:
    rows = [row for domain in _SIDES for row in _image_maps(run, experiment, domain)]
    return feature_maps.draw(rows)


def _image_maps(
    run: Run, experiment: Experiment, domain: int
) -> Iterator[feature_maps.ImageMaps]:
    """Maps of a few picked images of a domain, or of any images if none was picked."""
    side, picked = sweeps.domain_of(run, domain), sweeps.picked(experiment, domain)
    candidates = np.flatnonzero(picked if picked.any() else ~picked)
    if not candidates.size:
        return
    rng = np.random.default_rng(_SEED)
    rows = np.sort(sweeps.draw(rng, candidates, _MAX_IMAGES[domain]))
    stored = np.asarray(side.train.image[rows])
    images = run.prepare(jnp.asarray(stored))
    assert run.model.maps is not None
    compute_maps = jax.jit(run.model.maps, static_argnums=2)
    maps = compute_maps(experiment.train.variables, images, domain)
    maps = jax.tree.map(np.asarray, maps)
    visible = _visible(run.prepare, stored, np.asarray(images))
    title = _SIDES[domain] + ", picked" * bool(picked.any())
    for i, k in enumerate(sweeps.known(run, experiment, domain)[rows]):
        class_name = run.task.class_names[k] if k >= 0 else "class unknown"
        stages = [stage[i] for stage in maps]
        yield feature_maps.ImageMaps(title, class_name, visible[i], stages)


def _visible(
    prepare: types.Prepare, stored: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Network inputs scaled so that black is 0 and white is 1: float32[B, h, w, C].

    Holds for any `prepare` that normalizes linearly, whatever its mean and scale.
    """
    black, white = (
        np.asarray(prepare(jnp.full_like(stored, value))) for value in (0, 255)
    )
    return np.clip((images - black) / (white - black), 0, 1)


def _has_maps(run: Run) -> bool:
    if run.model.maps is None:
        return False
    compute_maps = functools.partial(run.model.maps, domain=TARGET)
    image = run.task.target.train.image
    stored = jax.ShapeDtypeStruct((1, *image.shape[1:]), image.dtype)
    maps = jax.eval_shape(
        lambda variables, stored: compute_maps(variables, run.prepare(stored)),
        run.train.variables,
        stored,
    )
    return bool(maps)
