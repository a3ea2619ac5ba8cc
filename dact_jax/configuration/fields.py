"""A field of a config, and the fields that belong to no section.

Sections are declared in `data_fields`, `model_fields` and `training_fields`. A new
field is one line there: its default, its kind and what it is.
"""

from typing import Any, NamedTuple

from dact_jax import keys, kinds


class Field(NamedTuple):
    """What is known of a field: `--help` and all checks read it."""

    default: Any
    kind: kinds.Kind
    about: str  # what it is, in one line


def _is_published(value: Any) -> bool:
    name, labels, percent = kinds.text(), kinds.whole(), kinds.real(0, 100)
    return isinstance(value, (tuple, list)) and all(
        isinstance(row, (tuple, list))
        and len(row) == 3
        and (name.fits(row[0]) and labels.fits(row[1]) and percent.fits(row[2]))
        for row in value
    )


_PUBLISHED = kinds.Kind(
    "a tuple of results, each (name, number of labels, accuracy in percent)",
    _is_published,
)
_DOMAIN = (
    "data: printed, uci, tfds:mnist, hf:org/name, or the path of a folder with one "
    "folder a class, a manifest.csv, a list.txt, or vectors as .npz, .parquet or .npy"
)

GENERAL = {
    "name": Field("run", kinds.text(), "default workdir: runs/<name>_seed<seed>"),
    "seed": Field(0, kinds.whole(0, keys.MAX_SEED), "all randomness of the run"),
    "reference": Field((), _PUBLISHED, "published results that the report shows"),
    "tensorboard": Field(
        False, kinds.flag(), "also write event files; needs the extra tensorboard"
    ),
    "figures": Field(
        True, kinds.flag(), "draw embeddings, feature maps and picks at the end"
    ),
    "method": Field("mme", kinds.text(), "how a network is trained"),
    "policy": Field("single", kinds.text(), "what is bought when"),
    "acquisition": Field("k_center", kinds.text(), "ranks the target pool"),
    "source_acquisition": Field(
        "predicted_loss", kinds.text(), "ranks the source, where a policy chooses of it"
    ),
    "oracle": Field(
        "auto",
        kinds.choice("auto", "dataset", "human"),
        "who labels what is bought: dataset reveals its labels, human asks you; auto: "
        "human where no image of the target's training pool has a label",
    ),
    "source": Field("", kinds.path(), f"short for data.source: labelled {_DOMAIN}"),
    "target": Field("", kinds.path(), "short for data.target: the domain to adapt to"),
}

QUERIES = {
    "image_root": Field(
        "",
        kinds.text(),
        "folder of the images as Label Studio sees it: prefix of /data/local-files/?d=",
    ),
}
