"""labels.csv of a query: a table with an empty cell for each label."""

import csv
import io

from dact_jax import cells
from dact_jax.queries import names, query as queries
from dact_jax.queries.query import Item, Query

# `file_name` first: beside its images the table is a metadata.csv of Hugging Face.
COLUMNS = (
    *("file_name", "label", "id", "order"),
    *("suggested", "confidence", "score", "skip"),
)
_BOM = "\ufeff"


def text(query: Query, image_root: str) -> str:
    """The table, in query order; `label` and `skip` are empty.

    With a byte-order mark where it holds more than ASCII, since Excel takes a table
    without one for the country's 8-bit text, and would save a mixture of both.
    """
    del image_root
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for order, item in enumerate(query.items):
        table.writerow(cells.neutralize_row(_row(query, order, item)))
    content = out.getvalue()
    return content if content.isascii() else _BOM + content


def _row(query: Query, order: int, item: Item) -> tuple[str | float, ...]:
    return (
        _path(item.file_name),
        "",
        queries.dact_id(query.campaign, item.id),
        order,
        names.writable(item.suggested),
        _number(item.confidence),
        _number(item.score),
        "",
    )


def _path(name: str) -> str:
    """The name as a path that no spreadsheet runs and every reader of tables finds."""
    name = names.writable(name)
    return f"./{name}" if cells.neutralize(name)[:1] != name[:1] else name


def _number(value: float | None) -> float | str:
    """Six digits; a text would get an apostrophe before its minus sign."""
    return "" if value is None else float(f"{value:.6g}")
