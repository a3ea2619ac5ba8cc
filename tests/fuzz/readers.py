"""What reads each form: the library's own functions, on one file of a folder."""

import functools
from unittest import mock

import jax
import numpy as np

from dact_jax import vectors
from dact_jax.configuration import files as config_files
from dact_jax.data.readers import lists, sources
from dact_jax.data.selection import labelled, pools
from dact_jax.models import pretrained
from dact_jax.queries import importing, query as queries
from dact_jax.reports.pictures import png
from dact_jax.rounds import claim, workdir
from dact_jax.types import Variables
from tests.fuzz import answer_seeds, seeds
from tests.reports import reporting

_SIZE, _CHANNELS = 8, 3


def _source(path, **options):
    dataset = sources.load(str(path), size=_SIZE, channels=_CHANNELS, **options)
    _use(dataset)


def _use(dataset):
    images = np.asarray(dataset.image[np.arange(len(dataset.image))])
    assert len(images) == len(dataset.label) == len(dataset.id)
    assert dataset.label.max(initial=-1) < len(dataset.class_names)


def _photos(path):
    """What the check lets through can be decoded, whatever on_error says."""
    _source(path.parents[1], on_error="skip")


def _pool(path):
    pool = pools.read(path)
    vectors.check(pool.features, str(path))


def _weights(path):
    part = {"conv1": {"kernel": (3, 3, 1, 2), "bias": (2,)}}
    shapes = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, np.float32),
        part,
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )
    variables = Variables({"encoder": shapes}, {}, {})
    pretrained.apply_weights(variables, pretrained.load_weights(path), "resnet18")


def _report(path):
    """The pictures are drawn, but not turned into pixels, which takes longest."""
    with mock.patch.object(png, "save"):
        reporting.write(path.parent, "title")


def _rows(path):
    workdir.read(path.parent)
    workdir.rewind(path.parent, workdir.extent(path.parent))


def _answers(path):
    """Every answer that is let through has an image and a class."""
    run, names = path.parents[2], answer_seeds.CLASSES
    known = answer_seeds.KNOWN
    given = importing.read(run, [], answer_seeds.QUERY.campaign, names, known)
    for one in given:
        assert one.id in {image.id for image in known}
        assert one.label == "" if one.skip else one.label in names
    assert len({one.id for one in given}) == len(given)


READERS = {
    "source": _source,
    "image": lambda path: _source(path.parents[1]),
    "photos": _photos,
    "names": _photos,
    "ids": lists.read_ids,
    "pool": _pool,
    "logits": lambda path: pools.read_logits(path, seeds.ROWS),
    "labelled": lambda path: labelled.read(str(path), None, seeds.ROWS, "x.npy"),
    "weights": _weights,
    "rows": _rows,
    "picks": lambda path: workdir.read_picks(path.parent),
    "report": _report,
    "record": lambda path: claim.read(path.parent),
    "claim": lambda path: claim.check(path.parent, {"seed": 1}),
    "answers": _answers,
    "query": lambda path: queries.read(path.parent),
    "config": functools.partial(config_files.load),
}
