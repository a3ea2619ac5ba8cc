"""The columns of a .parquet file of vectors as arrays, block by block.

Every function here raises ValueError for what the file must not hold; its message is a
clause, and damage may raise anything that pyarrow raises.
"""

from typing import Any

import numpy as np

from dact_jax import array_files
from dact_jax.data.vector_files.contents import LABEL, PATH
from dact_jax.types import UNLABELED

EMBEDDING = "embedding"  # the column with the vectors
_BLOCK = 2**23  # bytes of vectors read or written at once
_MOST_ROWS = 2**16  # of a block


def rows_of_a_block(row_bytes: int) -> int:
    """How many rows are read or written at once."""
    return min(max(_BLOCK // max(row_bytes, 1), 1), _MOST_ROWS)


def arrays(opened: Any, columns: list[str], most: int) -> dict[str, np.ndarray]:
    """The columns by name: float[N, F]; labels, str[N] or int64[N]; paths, str[N].

    Args:
      opened: a ParquetFile.
      columns: names, EMBEDDING first.
      most: bytes that each may take.
    """
    _check_sizes(opened.metadata, most)
    features = _empty(opened, most)
    texts: dict[str, list[np.ndarray]] = {name: [] for name in columns[1:]}
    count, width = features.shape
    done = 0
    rows = rows_of_a_block(features.itemsize * width)
    for batch in opened.iter_batches(rows, columns=columns, use_threads=False):
        block = _vectors(batch.column(EMBEDDING), width, done)
        if done + len(block) > count:
            raise ValueError(f"it holds more than the {count} rows that it names")
        features[done : done + len(block)] = block
        for name, parts in texts.items():
            parts.append(_column(batch.column(name), name, done))
        done += len(block)
    if done < count:
        raise ValueError(f"it names {count} rows, and holds {done}")
    joined = {name: _joined(parts, name, most) for name, parts in texts.items()}
    return {EMBEDDING: features, **joined}


def _check_sizes(metadata: Any, most: int) -> None:
    """Checks what the file says of its sizes.

    Not by column: pyarrow ends the process where a damaged file is asked for these.
    """
    groups = range(metadata.num_row_groups)
    sizes = [metadata.row_group(group).total_byte_size for group in groups]
    if min(metadata.num_rows, *sizes, 0) < 0:
        raise ValueError("it names a negative size")
    if not metadata.num_rows:
        raise ValueError("it has no row")
    if max(sum(sizes), metadata.num_rows) > most:
        raise ValueError(_too_large(max(sum(sizes), metadata.num_rows)))


def _empty(opened: Any, most: int) -> np.ndarray:
    """Room for the vectors, float[N, F]; the first row, read alone, says how long."""
    dtype = _vector_dtype(opened.schema_arrow.field(EMBEDDING).type)
    batches = opened.iter_batches(1, columns=[EMBEDDING], use_threads=False)
    first = next(batches, None)
    vector = first.column(EMBEDDING)[0].as_py() if first else None
    if vector is None:
        raise ValueError(f"row 0 has no {EMBEDDING}")
    shape = opened.metadata.num_rows, len(vector)
    if (size := shape[0] * shape[1] * dtype.itemsize) > most:
        raise ValueError(_too_large(size))
    return np.empty(shape, dtype)


def _too_large(size: int) -> str:
    return (
        f"it says {size} bytes, more than {array_files.RATIO} times the file and "
        f"{array_files.ALWAYS >> 20} MiB; save it as .npy"
    )


def _vector_dtype(kind: Any) -> np.dtype[Any]:
    import pyarrow

    lists = pyarrow.types
    is_list = (
        lists.is_list(kind)
        or lists.is_large_list(kind)
        or lists.is_fixed_size_list(kind)
    )
    if not is_list or not lists.is_floating(kind.value_type):
        raise ValueError(
            f"{EMBEDDING} must be a list of float numbers in each row, not {kind}"
        )
    return np.dtype(kind.value_type.to_pandas_dtype())


def _vectors(column: Any, width: int, first: int) -> np.ndarray:
    """float[n, width] of a block whose first row has this number."""
    import pyarrow.compute

    if column.null_count:
        row = first + column.is_null().to_pylist().index(True)
        raise ValueError(f"row {row} has no {EMBEDDING}")
    widths = pyarrow.compute.list_value_length(column).to_numpy()
    wrong = np.flatnonzero(widths != width)
    if len(wrong):
        raise ValueError(
            f"row {first + wrong[0]} of {EMBEDDING} has {widths[wrong[0]]} numbers, "
            f"and row 0 has {width}"
        )
    numbers = column.flatten()
    if numbers.null_count:
        row = first + numbers.is_null().to_pylist().index(True) // width
        raise ValueError(f"row {row} of {EMBEDDING} holds null")
    array: np.ndarray = numbers.to_numpy(zero_copy_only=False)
    return array.reshape(len(column), width)


def _column(column: Any, name: str, first: int) -> np.ndarray:
    """Text, object[n], or int64[n]; null is "" or -1 in labels, none in paths."""
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name == PATH and column.null_count:
        row = first + column.is_null().to_pylist().index(True)
        raise ValueError(f"row {row} has no {PATH}")
    is_integer = pyarrow.types.is_integer(column.type)
    if name == LABEL and is_integer:
        return np.array(column.fill_null(UNLABELED).to_pylist(), np.int64)
    is_text = pyarrow.types.is_string(column.type)
    is_text = is_text or pyarrow.types.is_large_string(column.type)
    if not (is_text or pyarrow.types.is_null(column.type)):
        form = "text or integers" if name == LABEL else "text"
        raise ValueError(f"{name} must be {form}, not {column.type}")
    return np.array([text or "" for text in column.to_pylist()], object)


def _joined(parts: list[np.ndarray], name: str, most: int) -> np.ndarray:
    """The blocks of a column as int64[N] or str[N]."""
    joined = np.concatenate(parts)
    if joined.dtype != object:
        return joined
    longest = max(map(len, joined.tolist()), default=0)
    if 4 * longest * len(joined) > most:
        raise ValueError(f"{name} holds a text of {longest} characters")
    return joined.astype(str)
