"""Which image an answer is for: by its id, its path, or the end of its path."""

import collections
import re
import unicodedata
import urllib.parse
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.queries import names, query as queries

_DACT_ID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{12}")
_LOCAL = re.compile(r"[^?]*\?(?:[^#]*&)?d=([^&#]*)")  # Label Studio's local files
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^/?#]*(/[^?#]*)(?:[?#].*)?")
_UPLOAD = re.compile(r"(?:.*/)?[0-9a-f]{8}-([^/]+)")
_SHOWN = 5  # candidates that a message names


class Known(NamedTuple):
    """An image of the target."""

    id: str  # as its dataset names it
    file_name: str  # its path below the folder of the target
    path: str  # the file; "" without one


class Name(NamedTuple):
    """One of the names of an image."""

    raw: str
    plain: str  # in one form, see `_plain`
    id: str


class Index(NamedTuple):
    """What is looked up to find an image."""

    campaign: str
    id: Mapping[str, str]  # ids of the dataset and of files -> id of the dataset
    last: Mapping[str, Sequence[Name]]  # last part of a plain name -> names
    upload: Mapping[str, Sequence[Name]]  # that part as Label Studio saves uploads


def index(
    campaign: str, known: Iterable[Known], named: Collection[str] | None = None
) -> Index:
    """Prepares the search among the images of a target.

    Args:
      named: ids of the images that are looked up by name too, which takes more time;
        None: all.
    """
    id: dict[str, str] = {}
    last: dict[str, list[Name]] = collections.defaultdict(list)
    upload: dict[str, list[Name]] = collections.defaultdict(list)
    for image in known:
        id[image.id] = id[queries.dact_id(campaign, image.id)] = image.id
        is_named = named is None or image.id in named
        for raw in filter(None, {*image}) if is_named else ():
            name = Name(raw, _plain(raw), image.id)
            last[_last(name.plain)].append(name)
            if raw == image.file_name:
                upload[_uploaded(_last(name.plain))].append(name)
    return Index(campaign, id, dict(last), dict(upload))


def find(known: Index, asked: Collection[str], where: str, id: str, name: str) -> str:
    """The id of the image that an answer names.

    Args:
      asked: ids of the images that the answer may be about; others are possible.
      where: the place of the answer, for messages.
      id: see `Written.id`.
      name: see `Written.name`; where there is an id, it must not be that of another
        image.

    Raises:
      InputError: there is no such image, there are several, or the answer belongs to
        another campaign.
    """
    if id:
        found_by_id = _by_id(known, where, id)
        _check_name(known, where, found_by_id, name)
        return found_by_id
    if not name.strip():
        raise errors.InputError(f"{where}: there is neither an id nor a file name.")
    for search, form in [
        *((_equal, form) for form in (name, name.strip())),
        *((search, form) for form in _forms(name) for search in (_equal, _similar)),
    ]:
        found = search(known, asked, form)
        if len(found) > 1:
            raise errors.InputError(_several(where, name, found))
        if found:
            return next(iter(found))
    raise errors.InputError(
        f"{where}: there is no image {errors.quoted(name)} in the target."
    )


def _by_id(known: Index, where: str, id: str) -> str:
    found = known.id.get(id) or known.id.get(id.lower())
    if found is not None:
        return found
    own = _DACT_ID.fullmatch(id.lower())
    if own and own[1] != known.campaign:
        raise errors.InputError(
            f"{where}: {id} belongs to another campaign ({own[1]}, not "
            f"{known.campaign}), with other images or classes: move the file away."
        )
    raise errors.InputError(
        f"{where}: no image of the target has the id {errors.quoted(id)}: restore the "
        "cell, or leave it empty to find the image by its file name."
    )


def _check_name(known: Index, where: str, id: str, name: str) -> None:
    """Raises InputError if the name beside an id is that of another image.

    So it is where one column of a table was sorted alone. Names that no image has may
    have lost letters in a program.
    """
    plain = _plain(name)
    others = {n.id for n in known.last.get(_last(plain), ()) if n.plain == plain}
    if others and id not in others:
        raise errors.InputError(
            f"{where}: the id is that of {errors.quoted(id)}, but the file name that "
            f"of {errors.quoted(min(others))}: restore the file, whose columns are "
            "mixed."
        )


def _equal(known: Index, asked: Collection[str], form: str) -> set[str]:
    """Ids of the images of this name."""
    plain = _plain(form)
    names = known.last.get(_last(plain), ())
    raw = {name.id for name in names if name.raw == form}
    equal = raw or {name.id for name in names if name.plain == plain}
    if not equal or equal.intersection(asked):
        return equal.intersection(asked)
    # Programs that drop folders leave the end of a name, which may also be the whole
    # name of an image that nobody asked for: then it is either.
    return equal | _ending(names, plain).intersection(asked)


def _similar(known: Index, asked: Collection[str], form: str) -> set[str]:
    """Ids of the images whose name ends as this one, or is its end, or was uploaded."""
    plain = _plain(form)
    names = known.last.get(_last(plain), ())
    within = {name.id for name in names if f"/{plain}".endswith(f"/{name.plain}")}
    found = _ending(names, plain) or within or _uploads(known, plain)
    return found.intersection(asked) or found


def _ending(names: Iterable[Name], plain: str) -> set[str]:
    return {name.id for name in names if f"/{name.plain}".endswith(f"/{plain}")}


def _uploads(known: Index, plain: str) -> set[str]:
    """Images that Label Studio may have given this name, with 8 digits before it."""
    own = _UPLOAD.fullmatch(plain)
    if not own:
        return set()
    # A name that it has changed may be that of any image with such a name.
    changed = own[1] == _uploaded(own[1])
    names = (known.upload if changed else known.last).get(own[1], ())
    return {name.id for name in names}


def _forms(name: str) -> list[str]:
    """What a name may stand for that is not itself the name of an image."""
    local, address = _LOCAL.fullmatch(name), _ADDRESS.fullmatch(name)
    if local:
        return [_decoded(local[1])]
    if address:
        return [_decoded(address[1])]
    return [name, name.strip(), _decoded(name)]


def _decoded(text: str) -> str:
    return urllib.parse.unquote(text, errors="surrogateescape")


def _plain(name: str) -> str:
    """A name in one form: slashes, composed characters, no `.` and no empty parts."""
    text = name
    if not (name.isascii() and name.isprintable()):
        text = unicodedata.normalize("NFC", names.writable(name))
    text = text.replace("\\", "/")
    if "//" not in text and "/." not in text and text[:1] not in ("/", "."):
        return text.removesuffix("/")  # as most names are
    return "/".join(part for part in text.split("/") if part not in ("", "."))


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _uploaded(name: str) -> str:
    """The name of a file as Label Studio saves an upload, without the 8 digits."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _several(where: str, name: str, found: Collection[str]) -> str:
    listed = sorted(found)
    shown = ", ".join(map(errors.quoted, listed[:_SHOWN]))
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return (
        f"{where}: {errors.quoted(name)} may be any of {len(listed)} images ({shown}"
        f"{more}): give the path below the folder of the target, or the id."
    )
