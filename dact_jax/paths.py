"""Paths as users write them, and whether something can be written there."""

import os
import pathlib
from collections.abc import Sequence

from dact_jax import errors


def expanded(path: str | os.PathLike[str], field: str) -> str:
    """The path with a home folder in place of "~" or "~name" at its beginning.

    Args:
      field: what the path is of, for the error message, such as "data.source".

    Raises:
      InputError: it begins with "~" and there is no such user.
    """
    text = os.fspath(path)
    whole = os.path.expanduser(text)
    if text.startswith("~") and whole == text:
        user = text.split(os.sep)[0]
        raise errors.InputError(
            f"{field}={text}: there is no user {user[1:]!r} whose home folder {user} "
            f"could be; write ./{text} for a file or folder of that name."
        )
    return whole


def check_output(
    path: pathlib.Path, flag: str, endings: Sequence[str], *, overwrite: bool
) -> None:
    """Checks that a command can write a file, before it works for it.

    Args:
      flag: that names the file, such as "--output".
      endings: in lower case, such as (".csv", ".npz").
      overwrite: whether a file that is there may be replaced.

    Raises:
      InputError: it cannot.
    """
    where = f"{flag}={errors.printable(path)}"
    if path.suffix.lower() not in endings:
        *most, last = endings
        listed = f"{', '.join(most)} or {last}" if most else last
        raise errors.InputError(f"{where} must end in {listed}.")
    if path.is_dir():
        raise errors.InputError(f"{where} is a folder: name a file.")
    if os.path.lexists(path) and not overwrite:
        raise errors.InputError(f"{where} exists: name another, or add --overwrite.")
    if not path.parent.is_dir():
        raise errors.InputError(
            f"{where}: there is no folder {path.parent}; create it first."
        )
    check_writable(path.parent, where)


def check_folder(folder: pathlib.Path, flag: str) -> None:
    """Checks that a folder is there, or can be made, and that it can be written to.

    Raises:
      InputError: it cannot.
    """
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    where = f"{flag}={errors.printable(folder)}"
    if not place.is_dir():
        raise errors.InputError(f"{where}: {errors.printable(place)} is not a folder.")
    check_writable(place, where)


def check_writable(folder: pathlib.Path, where: str) -> None:
    """Raises InputError if nothing may be written into a folder.

    Args:
      where: what the message begins with.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise errors.InputError(f"{where}: the folder {folder} is not writable.")
