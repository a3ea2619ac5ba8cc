"""The folder of a query, written whole or not at all."""

import os
import pathlib
import shutil
from collections.abc import Callable, Mapping

from dact_jax import errors, storage
from dact_jax.queries import query as queries
from dact_jax.queries.query import Query
from dact_jax.queries.writers import cvat, label_studio, label_table, sheet

Form = Callable[[Query, str], str]  # a query, the prefix of its images -> a text

# Name of a file -> what makes it.
FORMS: Mapping[str, Form] = {
    queries.FILE: lambda query, image_root: queries.text(query),
    "labels.csv": label_table.text,
    "label_studio.json": label_studio.tasks,
    "label_studio.xml": label_studio.interface,
    "cvat.xml": cvat.text,
    "index.html": sheet.text,
}


def write(folder: pathlib.Path, query: Query, *, image_root: str = "") -> None:
    """Writes a query in all forms; a process killed meanwhile leaves no folder.

    Args:
      folder: `query.place`; it must not exist, or be empty.
      image_root: of the images in Label Studio, see `label_studio.address`.

    Raises:
      InputError: the folder holds something, which might be answers.
      OSError: it cannot be written; the message names it.
    """
    with storage.naming(folder):
        _check_empty(folder)
        draft = folder.with_name(f".{folder.name}.tmp")  # no name of a query
        if draft.exists():  # of a killed process
            shutil.rmtree(draft)
        try:
            draft.mkdir(parents=True)
            for name, form in FORMS.items():
                _write(draft / name, form(query, image_root))
            storage.flush_names(draft)
            if folder.is_dir():  # empty
                folder.rmdir()
            os.replace(draft, folder)
            storage.flush_names(folder.parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _check_empty(folder: pathlib.Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise errors.InputError(
            f"{folder} holds files, but a query is to be written there: move the "
            "folder away, and the same command goes on."
        )


def _write(path: pathlib.Path, text: str) -> None:
    with path.open("xb") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
