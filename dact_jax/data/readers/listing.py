"""The files below a folder: every real folder once, and nothing that is no image."""

import os
import pathlib
from typing import NamedTuple

from dact_jax import errors
from dact_jax.data.readers import formats
from dact_jax.types import LeftOut

# What operating systems, cameras and network drives put beside photos. It is passed
# over without a word, as hidden files and folders are.
SYSTEM_FOLDERS = {
    "@eadir",
    "#recycle",
    "#snapshot",
    "__macosx",
    "$recycle.bin",
    "lost+found",
    "system volume information",
}
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}

Place = tuple[int, int]  # device and inode


class Listing(NamedTuple):
    """What lies below the folder of a domain."""

    images: list[str]  # sorted paths below the root, of files that may be images
    folders: list[str]  # sorted paths of all folders that were entered
    left_out: list[LeftOut]  # everything else but hidden and system files


def walk(root: pathlib.Path, domain: str) -> Listing:
    """Lists the files of a domain; links to folders are followed, each folder once.

    Args:
      root: folder with one subfolder per domain.
      domain: name of the domain's folder.

    Raises:
      InputError: the domain's folder may not be entered.
    """
    listing = Listing([], [], [])
    top = root / domain
    paths = pathlib.Path(os.path.realpath(top)), pathlib.Path(os.path.abspath(top))
    above = {_place(str(parent)) for path in paths for parent in path.parents}
    seen: dict[Place, str] = {}
    linked = _descend(root, [domain], seen, listing)
    if listing.left_out and listing.left_out[0].path == domain:
        reason = listing.left_out[0].reason
        raise errors.InputError(f"{errors.printable(str(root / domain))}: {reason}.")
    while linked:  # real folders first, so that they keep their own names
        link = linked.pop(0)
        if _place(str(root / link)) in above:
            reason = "it is a link to a folder that holds the domain itself"
            listing.left_out.append(LeftOut(link, reason))
        else:
            linked += _descend(root, [link], seen, listing)
    return Listing(
        sorted(listing.images), sorted(listing.folders), sorted(listing.left_out)
    )


def _descend(
    root: pathlib.Path, folders: list[str], seen: dict[Place, str], listing: Listing
) -> list[str]:
    """Lists folders and all real ones below them; returns the links to folders."""
    linked: list[str] = []
    while folders:
        folder = folders.pop()
        try:
            place = _place(str(root / folder))
            if place in seen:
                other = errors.printable(seen[place])
                reason = f"it is the same folder as {other}"
                listing.left_out.append(LeftOut(folder, reason))
                continue
            seen[place] = folder
            with os.scandir(root / folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
            listing.folders.append(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            listing.left_out.append(LeftOut(folder, reason, damaged=True))
            continue
        for entry in ordered:
            _sort_in(entry, f"{folder}/{entry.name}", folders, linked, listing)
    return sorted(linked)


def _sort_in(
    entry: os.DirEntry[str],
    id: str,
    folders: list[str],
    linked: list[str],
    listing: Listing,
) -> None:
    """Adds one entry of a folder to the list where it belongs."""
    if entry.name.startswith("."):
        return
    if _is_folder(entry):
        if entry.name.lower() not in SYSTEM_FOLDERS:
            (linked if entry.is_symlink() else folders).append(id)
        return
    if entry.name.lower() in SYSTEM_FILES:
        return
    fault = formats.name_fault(entry.name)
    if fault is None:
        fault = formats.content_fault(entry.path)
    if fault:
        listing.left_out.append(LeftOut(id, fault))
    else:
        listing.images.append(id)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, or to itself
        return False


def _place(path: str) -> Place:
    status = os.stat(path)
    return status.st_dev, status.st_ino
