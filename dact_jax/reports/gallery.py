"""The pictures of a finished run: where its picks lie, and what its network sees."""

import functools
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import figure

from dact_jax import devices, storage, types
from dact_jax.data import files
from dact_jax.reports import captions, figures, projections
from dact_jax.run_types import Run
from dact_jax.training import inference
from dact_jax.types import SOURCE, TARGET, Domain, Examples, Experiment

_MOST = 1500  # samples of an embedding: t-SNE takes seconds, and numbers can be read
_MOST_PICKED = 1000  # and of those picked ones
_SEED = 0
_SIDES = {TARGET: "target", SOURCE: "source"}


def write(
    run: Run,
    experiment: Experiment,
    folder: pathlib.Path,
    *,
    redraw: bool = True,
) -> list[str]:
    """Draws the pictures of `captions` into the folder; each is there whole or not.

    Args:
      run: its data and network.
      experiment: finished.
      folder: of the run.
      redraw: also those that are there.

    Returns:
      The names of those drawn. Of an encoder without maps there are no feature maps,
      and where nothing was picked there are no classes of picks.

    Raises:
      DivergedError: an embedding is not finite.
    """
    drawn = []
    for name, draw in _drawers(run, experiment).items():
        if redraw or not (folder / name).exists():
            _save(draw(), folder / name)
            drawn.append(name)
    return drawn


def subset(picked: np.ndarray) -> np.ndarray:
    """Rows of a pool to draw: all, or some picked ones and some of the others.

    Args:
      picked: bool[N].

    Returns:
      int64[n] in rising order, n <= 1500, the same for the same pool.
    """
    rng = np.random.default_rng(_SEED)
    some = _draw(rng, np.flatnonzero(picked), _MOST_PICKED)
    rest = _draw(rng, np.flatnonzero(~picked), _MOST - len(some))
    return np.sort(np.concatenate([some, rest]))


def _drawers(
    run: Run, experiment: Experiment
) -> Mapping[str, Callable[[], figure.Figure]]:
    """File -> what draws it, of those that the run has something to show in."""
    bound = run, experiment
    found = {
        captions.EMBEDDING_TARGET: functools.partial(_embedding, *bound, TARGET),
        captions.EMBEDDING_SOURCE: functools.partial(_embedding, *bound, SOURCE),
    }
    if any(_picked(experiment, domain).any() for domain in _SIDES):
        found[captions.PICKED_CLASSES] = functools.partial(_classes, *bound)
    if _has_maps(run):
        found[captions.FEATURE_MAPS] = functools.partial(_feature_maps, *bound)
    return found


def _embedding(run: Run, experiment: Experiment, domain: int) -> figure.Figure:
    side, pool = _domain(run, domain), _picked(experiment, domain)
    rows = subset(pool)
    label = np.asarray(side.train.label)[rows]
    found = inference.sweep(
        run.forward,
        experiment.train.variables,
        Examples(files.take(side.train.image, rows), label),
        domain,
        batch_size=run.evaluation.batch,
        sharding=devices.batched(devices.make_mesh()),
    ).embedding
    planes = {"PCA": projections.pca(found), "t-SNE": projections.t_sne(found)}
    cloud = figures.Cloud(planes, label, pool[rows])
    some = (
        f"{len(rows)} of {len(pool)}" if len(rows) < len(pool) else f"all {len(pool)}"
    )
    title = f"{_SIDES[domain].capitalize()} pool ({side.name}), {some} samples"
    if not pool.any():
        title += "; all are in use" if domain == SOURCE else "; no label was bought"
    shown, count = int(pool[rows].sum()), int(pool.sum())
    picked = f"{shown} of the " * (shown < count) + f"{count} picked"
    return figures.embedding(cloud, run.task.class_names, title, picked)


def _classes(run: Run, experiment: Experiment) -> figure.Figure:
    def count(label: np.ndarray) -> np.ndarray:
        return np.bincount(label[label >= 0], minlength=len(run.task.class_names))

    panels = []
    for domain, name in _SIDES.items():
        side, picked = _domain(run, domain), _picked(experiment, domain)
        pool = np.asarray(side.train.label)
        known = experiment.label if domain == TARGET else pool
        if picked.any():
            title = f"{name.capitalize()} ({side.name})"
            panels.append(figures.Shares(title, count(known[picked]), count(pool)))
    return figures.class_shares(panels, run.task.class_names)


def _feature_maps(run: Run, experiment: Experiment) -> figure.Figure:
    rows = [
        *_seen(run, experiment, TARGET, 3),
        *_seen(run, experiment, SOURCE, 2),
    ]
    return figures.feature_maps(rows)


def _seen(
    run: Run, experiment: Experiment, domain: int, most: int
) -> Iterator[figures.Seen]:
    """Some picked images of a domain, or any where none was picked."""
    side, picked = _domain(run, domain), _picked(experiment, domain)
    offered = np.flatnonzero(picked if picked.any() else ~picked)
    rows = np.sort(_draw(np.random.default_rng(_SEED), offered, most))
    stored = np.asarray(side.train.image[rows])
    images = run.prepare(jnp.asarray(stored))
    assert run.model.maps is not None
    look = jax.jit(run.model.maps, static_argnums=2)
    maps = jax.tree.map(np.asarray, look(experiment.train.variables, images, domain))
    visible = _visible(run.prepare, stored, np.asarray(images))
    what = f"{_SIDES[domain]}, picked" if picked.any() else _SIDES[domain]
    for i, k in enumerate(np.asarray(side.train.label)[rows]):
        name = run.task.class_names[k] if k >= 0 else "class unknown"
        yield figures.Seen(what, name, visible[i], [stage[i] for stage in maps])


def _visible(
    prepare: types.Prepare, stored: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Network input as float32[B, h, w, C] in [0, 1], between what black and white are.

    So it need not be known how `prepare` normalises, only that it does so linearly.
    """
    black, white = (
        np.asarray(prepare(jnp.full_like(stored, value))) for value in (0, 255)
    )
    return np.clip((images - black) / (white - black), 0, 1)


def _has_maps(run: Run) -> bool:
    if run.model.maps is None:
        return False
    look = functools.partial(run.model.maps, domain=TARGET)
    image = run.task.target.train.image
    stored = jax.ShapeDtypeStruct((1, *image.shape[1:]), image.dtype)
    found = jax.eval_shape(
        lambda variables, stored: look(variables, run.prepare(stored)),
        run.train.variables,
        stored,
    )
    return bool(found)


def _domain(run: Run, domain: int) -> Domain:
    return run.task.source if domain == SOURCE else run.task.target


def _picked(experiment: Experiment, domain: int) -> np.ndarray:
    """bool[N]; of a pool that is in use as a whole nothing was picked."""
    pools = experiment.pools
    pool = np.asarray(pools.source if domain == SOURCE else pools.target)
    return pool & (not pool.all())


def _draw(rng: np.random.Generator, rows: np.ndarray, most: int) -> np.ndarray:
    return rng.choice(rows, min(most, len(rows)), replace=False)


def _save(drawn: figure.Figure, path: pathlib.Path) -> None:
    with storage.atomic(path) as draft, warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes: no news to a user.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        drawn.savefig(draft, format="png", dpi=110)
