"""Paths as users write them."""

import os

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
