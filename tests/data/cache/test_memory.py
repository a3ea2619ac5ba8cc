"""A pool on the disk takes memory for ids, labels and orders, and none for pixels."""

import tracemalloc

import pytest

from dact_jax.data.cache.form import Form
from experiments import input_memory

MOST = 200  # bytes of a record, such as its id, place, label, and turn in an epoch
FORM = Form(24, 1)


def _peak(folder, count):
    pool = input_memory.task(input_memory.records(folder / "records", count, FORM))
    tracemalloc.start()
    try:
        input_memory.use(pool, batches=10, batch_size=1024)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_pixels(tmp_path):
    assert FORM.row_bytes > 2 * MOST
    few, many = 5_000, 45_000
    _peak(tmp_path, few)  # compiles
    grown = _peak(tmp_path, many) - _peak(tmp_path, few)
    assert grown < MOST * (many - few)


def test_a_damaged_record_is_told(tmp_path):
    records = input_memory.records(tmp_path / "records", 10, FORM)
    with (tmp_path / "records").open("rb+") as file:
        file.seek(3 * FORM.row_bytes)
        file.write(b"\1")
    records[[1, 2]]
    with pytest.raises(ValueError, match="damaged"):
        records[[1, 3]]
