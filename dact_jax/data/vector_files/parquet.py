"""Vectors in a .parquet file: columns embedding, path and label (extra `parquet`).

A file is read in blocks of rows, and never more is taken into memory than array_files
takes of an .npz file of its size.
"""

import importlib.util
import json
import os
import pathlib

import numpy as np

from dact_jax import array_files, errors, storage
from dact_jax.data.vector_files import parquet_columns
from dact_jax.data.vector_files.contents import (
    CLASSES,
    FEATURES,
    LABEL,
    OTHER_NAMES,
    PATH,
    Contents,
    Vectors,
    check_names,
)
from dact_jax.data.vector_files.parquet_columns import EMBEDDING
from dact_jax.types import UNLABELED

_COLUMNS = (EMBEDDING, PATH, LABEL)
_OTHER_NAMES = {
    EMBEDDING: ("embeddings", "features", "vector", "vectors"),
    **OTHER_NAMES,
}
_KEY, _HUGGING_FACE = b"dact_jax", b"huggingface"  # of the schema's metadata
_BUFFER = 2**20  # bytes read of a column at once


def require(path: object) -> None:
    """Raises InputError where pyarrow is missing."""
    if importlib.util.find_spec("pyarrow") is None:
        raise errors.InputError(
            f"{errors.printable(path)}: .parquet files need pyarrow, which "
            "pip install 'dact_jax[parquet]' brings; or use an .npz file."
        )


def read(path: str | pathlib.Path) -> Contents:
    """The columns of the file as arrays.

    `embedding` has a list of F numbers (float) in each row; `path` is text; `label`
    text or integers, null where there is none. The order of the classes is what
    `write` or Hugging Face's `datasets` noted in the file, if one did.

    Raises:
      InputError: there is no such file, pyarrow is missing, the file is damaged or
        claims too much, or a column is missing or has another type.
    """
    with array_files.opened(path, str(path)) as file:
        require(path)
        from pyarrow import parquet

        size = os.fstat(file.fileno()).st_size
        with array_files.told(f"{path} is not a readable .parquet file"):
            opened = parquet.ParquetFile(
                file,
                buffer_size=_BUFFER,
                pre_buffer=False,  # which would hold the whole file
                page_checksum_verification=True,
            )
            names = opened.schema_arrow.names
            metadata = dict(opened.schema_arrow.metadata or {})
        found = [name for name in _COLUMNS if name in names]
        check_names(path, "column", names, found, _OTHER_NAMES)
        if EMBEDDING not in names:
            raise errors.InputError(
                f"{path} lacks the column {EMBEDDING}, with a list of numbers in each "
                f"row; it has {sorted(names)[:12]}."
            )
        where = {name: f"column {name} of {path}" for name in _COLUMNS}
        with array_files.told(f"{path} cannot be read"):
            most = array_files.RATIO * size + array_files.ALWAYS
            arrays = parquet_columns.arrays(opened, found, most)
        if classes := _classes(metadata):
            arrays[CLASSES] = np.array(classes)
    return Contents(
        {FEATURES: arrays.pop(EMBEDDING), **arrays},
        {FEATURES: where[EMBEDDING], CLASSES: f"the classes of {path}", **where},
        f"write names to the column label of {path} in place of numbers",
        tuple(name for name in names if name not in _COLUMNS),
    )


def write(path: pathlib.Path, vectors: Vectors) -> None:
    """Writes columns path, label (text, null without one) and embedding (float32[F]).

    Raises:
      InputError: pyarrow is missing.
    """
    require(path)
    import pyarrow
    from pyarrow import parquet

    count, width = vectors.features.shape
    fields = {
        PATH: pyarrow.string(),
        LABEL: pyarrow.string(),
        EMBEDDING: pyarrow.list_(pyarrow.float32(), width),
    }
    classes = vectors.class_names if (vectors.label != UNLABELED).any() else ()
    note = json.dumps({"classes": list(classes)}).encode()
    schema = pyarrow.schema(fields, metadata={_KEY: note})
    names = np.array([*vectors.class_names, None], object)  # None: of UNLABELED, -1
    assert UNLABELED == -1
    rows = parquet_columns.rows_of_a_block(4 * width)
    options = {"use_dictionary": [LABEL], "write_page_checksum": True}
    with (
        storage.atomic(path) as draft,
        draft.open("wb") as file,
        parquet.ParquetWriter(file, schema, **options) as writer,
    ):
        for start in range(0, count, rows):
            block = slice(start, start + rows)
            numbers = pyarrow.array(vectors.features[block].ravel())
            columns = [
                pyarrow.array(vectors.path[block].tolist(), pyarrow.string()),
                pyarrow.array(names[vectors.label[block]].tolist(), pyarrow.string()),
                pyarrow.FixedSizeListArray.from_arrays(numbers, width),
            ]
            writer.write_batch(pyarrow.record_batch(columns, schema=schema))


def unwritable(text: str) -> str:
    """Why text of a .parquet file cannot be a name, a clause; "" if it can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8, and text of a .parquet file is"
    return ""


def _classes(metadata: dict[bytes, bytes]) -> list[str] | None:
    """The names of the classes that the file notes, in their order."""
    try:
        if _KEY in metadata:
            names = json.loads(metadata[_KEY])["classes"]
        else:
            note = json.loads(metadata[_HUGGING_FACE])
            names = note["info"]["features"][LABEL]["names"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None  # no note, or one of another program
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if is_list and names else None
