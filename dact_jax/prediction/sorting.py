"""Images in a folder for each predicted class, as links, for a person to look at."""

import collections
import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from dact_jax import errors, paths, storage
from dact_jax.types import UNLABELED

UNSURE = "_unsure"  # the folder of images without a label
# Not allowed in names of files somewhere; "%" begins what stands for such a character.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*%\x00-\x1f\x7f]|^[ .]|[ .]$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST = 200  # bytes of the name of a folder
_MOST = 255  # of any name


class Sorted(NamedTuple):
    links: int
    copies: int  # where no link can be made
    unsure: int  # of both, those in _unsure
    renamed: dict[str, str]  # class -> folder, where they differ


def check(folder: pathlib.Path) -> None:
    """Checks that images can be sorted into a folder, which must be new or empty.

    Raises:
      InputError: they cannot.
    """
    where = f"--sort_into={errors.printable(folder)}"
    paths.check_folder(folder, "--sort_into")
    if os.path.lexists(folder) and any(folder.iterdir()):
        raise errors.InputError(
            f"{where} is not empty: name a new folder, so that nothing is mixed up."
        )


def sort(
    folder: pathlib.Path,
    class_names: Sequence[str],
    images: Iterable[tuple[str, int]],
    progress: Callable[[], None] = lambda: None,
) -> Sorted:
    """Links images into a folder for each class that occurs; replaces no file.

    Of several images of one name, the later ones get a number.

    Args:
      images: absolute path and class of each; UNLABELED: it goes to _unsure.
      progress: is called after each image.
    """
    names = folder_names(class_names)
    links = copies = unsure = 0
    used: set[int] = set()
    times: collections.Counter[pathlib.Path] = collections.Counter()
    for path, label in images:
        unsure += label == UNLABELED
        used |= {label} - {UNLABELED}
        place = folder / (UNSURE if label == UNLABELED else names[label])
        place.mkdir(parents=True, exist_ok=True)
        if _put(pathlib.Path(path), place, times):
            links += 1
        else:
            copies += 1
        progress()
    pairs = ((class_names[k], names[k]) for k in sorted(used))
    return Sorted(links, copies, unsure, {k: v for k, v in pairs if k != v})


def folder_names(class_names: Sequence[str]) -> list[str]:
    """A name for the folder of each class that every system takes, all different.

    A character that is not allowed is written as %XX, as in addresses of the web.
    """
    names: list[str] = []
    taken = {UNSURE.casefold()}
    for class_name in class_names:
        name = _shortened(_FORBIDDEN.sub(_escaped, class_name))
        if not name or _RESERVED.fullmatch(name):
            name = f"%{name}"
        plain, number = name, 1
        while name.casefold() in taken:  # some systems do not tell "a" from "A"
            number += 1
            name = f"{plain}%{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(found[0]))


def _shortened(name: str) -> str:
    """The name, or its beginning and a digest of it all."""
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) <= _LONGEST:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return f"{raw[: _LONGEST - 17].decode('utf-8', 'ignore')}%{digest}"


def _put(
    path: pathlib.Path, place: pathlib.Path, times: collections.Counter[pathlib.Path]
) -> bool:
    """Links a file into a folder under a name that is free, or copies it there.

    Args:
      times: how often a name was wanted before.

    Returns:
      Whether it is a link.
    """
    while True:
        times[place / path.name] += 1
        target = place / _numbered(path, times[place / path.name])
        if os.path.lexists(target):
            continue
        try:
            target.symlink_to(path)
            return True
        except FileExistsError:  # another program made it just now
            continue
        except (OSError, NotImplementedError):  # no links here; the caller counts
            _copy(path, target)
            return False


def _copy(path: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file to a name that is free; a copy that fails leaves nothing.

    Raises:
      OSError: it cannot be read or written; with the path of the copy.
    """
    with storage.naming(target), path.open("rb") as source, target.open("xb") as copy:
        try:
            shutil.copyfileobj(source, copy)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _numbered(path: pathlib.Path, number: int) -> str:
    if number == 1:
        return path.name
    mark = f" ({number}){path.suffix}"
    raw = path.stem.encode("utf-8", "surrogateescape")[: _MOST - len(mark.encode())]
    return f"{raw.decode('utf-8', 'ignore')}{mark}"
