"""ConfigDict -> the source and the target as their readers return them."""

import pathlib
from collections.abc import Callable, Sequence

from absl import logging

from dact_jax import errors
from dact_jax.configuration.defaults import Config
from dact_jax.data import left_out, splits
from dact_jax.data.cache import room
from dact_jax.data.cache.room import Cache
from dact_jax.data.classes import choice
from dact_jax.data.readers import embeddings, files, lists, sources
from dact_jax.models import backbones, encoders
from dact_jax.types import Dataset

_LISTED = 5  # classes that a message names


def domains(config: Config, *, unchecked: bool = False) -> tuple[Dataset, Dataset]:
    """Source and target.

    Args:
      unchecked: whether image files are listed, not opened.

    Raises:
      InputError: they cannot be read, or do not fit each other or the encoder.
    """
    split_lists(config)  # all three or none
    first, *others = places(config)
    source = _read(config, first, choose=choice.of_source, unchecked=unchecked)
    _check_source(source, config)
    classes = None if _list_files(config) else source.class_names
    target = _read(
        config,
        *others,
        choose=choice.of_target,
        classes=classes,
        unchecked=unchecked,
    )
    _check_same_kind(source, target)
    _check_named(source, target)
    _check_files(target, config)
    return source, target


def places(config: Config) -> list[str]:
    """The specs of the source and of the target."""
    return [config.data.source, *(_list_files(config) or [config.data.target])]


def _list_files(config: Config) -> list[str]:
    names = ("labelled_list", "val_list", "unlabeled_list")
    return [config.data[name] for name in names if config.data[name]]


def split_lists(config: Config) -> splits.Lists | None:
    """The ids in the list files that fix T_l, T_v and T_u; None if there are none."""
    paths = _list_files(config)
    if not paths:
        return None
    if len(paths) < 3:
        raise errors.InputError(
            "data.labelled_list, data.val_list and data.unlabeled_list go together: "
            f"give all three or none, not only {', '.join(map(repr, paths))}."
        )
    # As `lists.load` takes it.
    folder = config.data.root or pathlib.Path(paths[0]).parent
    return splits.Lists(*(lists.read_ids(path, root=folder) for path in paths))


def _check_source(source: Dataset, config: Config) -> None:
    """Raises InputError if the source does not fit the encoder or has no labels."""
    vectors, encoder = embeddings.are_vectors(source.image), config.model.encoder
    _check_files(source, config)
    if vectors and encoder not in encoders.ON_VECTORS:
        raise errors.InputError(
            f"model.encoder={encoder!r} is for images, but {source.name} holds "
            "embeddings: use configs/embeddings.py, or set model.encoder='mlp'."
        )
    if not (vectors or config.model.backbone) and encoder in encoders.ON_VECTORS:
        raise errors.InputError(
            f"model.encoder={encoder!r} is for embeddings, but {source.name} holds "
            f"images: set model.backbone={backbones.EFFICIENTNET!r} to embed them, "
            "give files of embeddings (.npz, .parquet, .npy), or set "
            "model.encoder='lenet' or a ResNet."
        )
    if not source.class_names:
        raise errors.InputError(
            f"source {source.name} has no labels: every source image must be labelled."
        )
    if len(source.class_names) == 1:
        raise errors.InputError(
            f"source {source.name} has only the class {source.class_names[0]!r}, so "
            "there is nothing to tell apart: give two classes or more, one folder each."
        )


def _check_files(data: Dataset, config: Config) -> None:
    """Raises InputError if a backbone is to embed what is not a file."""
    if not config.model.backbone or isinstance(data.image, files.ImageFiles):
        return
    vectors = embeddings.are_vectors(data.image)
    held, way = "arrays of pixels", "another config, such as configs/digits.py"
    if vectors:
        held, way = "embeddings", "configs/embeddings.py"
    raise errors.InputError(
        f"model.backbone={config.model.backbone!r} embeds image files, but {data.name} "
        f"holds {held}: give a folder, a manifest or a list, or use {way}."
    )


def _check_same_kind(source: Dataset, target: Dataset) -> None:
    """Raises InputError unless one network can read both domains."""
    kinds = [
        "embeddings" if embeddings.are_vectors(data.image) else "images"
        for data in (source, target)
    ]
    if kinds[0] != kinds[1]:
        raise errors.InputError(
            f"source {source.name} holds {kinds[0]}, but target {target.name} "
            f"{kinds[1]}: give two domains of the same kind."
        )
    sizes = [data.image.shape[-1] for data in (source, target)]
    if sizes[0] != sizes[1]:
        raise errors.InputError(
            f"source {source.name} has vectors of {sizes[0]} numbers, but target "
            f"{target.name} of {sizes[1]}: take both from the same model."
        )


def _check_named(source: Dataset, target: Dataset) -> None:
    """Raises InputError where names of one domain meet bare integers of the other.

    Integers count the classes in an order that nothing tells: 1, 2, 10 or 1, 10, 2.
    """
    if not source.class_names or not target.class_names:
        return
    sides = ("source", source, target), ("target", target, source)
    for side, bare, named in sides:
        if bare.unnamed and not named.unnamed:
            listed = ", ".join(map(repr, named.class_names[:_LISTED]))
            more = ", ..." * (len(named.class_names) > _LISTED)
            raise errors.InputError(
                f"{side} {errors.printable(bare.name)} has bare integers as labels, "
                f"but {errors.printable(named.name)} names of classes ({listed}{more}),"
                f" whose order may be another, such as 1, 10, 2: {bare.unnamed}."
            )


def _read(
    config: Config,
    *places: str,
    choose: Callable[[Dataset, Sequence[str]], Dataset],
    classes: tuple[str, ...] | None = None,
    unchecked: bool = False,
) -> Dataset:
    """A domain, with the chosen classes alone; what was left out is said.

    Args:
      choose: what the choice of classes makes of it.
      classes: those of the source, for a target.
    """
    data = config.data
    chosen = choice.parse(data.classes)
    domain = sources.load(
        *places,
        size=data.size,
        channels=data.channels,
        root=data.root,
        tfds_dir=data.tfds_dir,
        on_error="unchecked" if unchecked else data.on_error,
        max_pixels=data.max_pixels,
        cache=None if unchecked else _cache(config),
        scale=data.scale,
        classes=classes,
        others=bool(chosen),
    )
    if chosen:
        domain = choose(domain, chosen)
    if not unchecked:
        omissions = left_out.lines(domain.name, domain.left_out)
        for line in [*domain.notes, *omissions]:
            logging.warning("%s", line)
    return domain


def _cache(config: Config) -> Cache | None:
    """Where decoded images are kept; a run on vectors of a backbone needs none."""
    return None if config.model.backbone else room.cache_of(config.data.cache_dir)
