"""Why the classes of two domains differ: the nearest name, or what was left out."""

import difflib
import unicodedata
from collections.abc import Sequence

from dact_jax import errors
from dact_jax.types import Dataset

_ALIKE = 0.8  # at least so similar are a name and one with a typo or a plural
_LISTED = 12  # names that a message spells out


def only_in(
    names: Sequence[str], here: str, there: str, lacking: Dataset, *, way: str = ""
) -> str:
    """The error about classes that only one domain has.

    Args:
      names: of the classes, at least one.
      here: what to call the domain that has them, such as "source a".
      there: what to call the one that lacks them.
      lacking: the domain that lacks them.
      way: what else may be done about it, a clause.
    """
    first, *others = names
    hint = "; ".join(filter(None, [_hint(first, lacking), way]))
    if not others:
        return f"class {first!r} is in {here} but not in {there}: {hint}."
    return (
        f"{len(names)} classes are in {here} but not in {there}: {_list(names)}; for "
        f"{first!r}: {hint}."
    )


def resembles(name: str, known: Sequence[str]) -> bool:
    """Whether a name is one of the known ones, or probably is meant to be one."""
    if name in known or _plain(name, "all") in {_plain(k, "all") for k in known}:
        return True
    return bool(difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE))


def lost(name: str, data: Dataset) -> str:
    """What was left out of a class, as a clause; "" if nothing was."""
    folder = f"/{name}"
    whole = [file for file in data.left_out if file.path.endswith(folder)]
    if whole:
        return f"{errors.printable(whole[0].path)} is there, but {whole[0].reason}"
    inside = [file for file in data.left_out if f"{folder}/" in file.path]
    if not inside:
        return ""
    first = f"{errors.printable(inside[0].path)}: {inside[0].reason}"
    return f"its files are left out ({len(inside)}), such as {first}"


def _hint(name: str, lacking: Dataset) -> str:
    known = lacking.class_names
    for form, difference in _FORMS.items():
        for other in known:
            if _plain(name, form) == _plain(other, form):
                return (
                    f"it has {_quoted(other, form)}, and {_quoted(name, form)} differs "
                    f"from it in {difference} only; rename one of the two"
                )
    if reason := lost(name, lacking):
        return reason
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"the most similar name that it has is {close[0]!r}"
    return f"its classes are {_list(known)}" if known else "it has no class"


def _list(names: Sequence[str]) -> str:
    listed = ", ".join(map(repr, names[:_LISTED]))
    more = len(names) - _LISTED
    return f"{listed} and {more} more" if more > 0 else listed


# What two names may differ in -> how to say it, the least difference first.
_FORMS = {
    "accents": "how its accents are stored (Unicode NFC and NFD)",
    "blanks": "blanks",
    "case": "upper and lower case",
    "all": "accents, blanks or upper and lower case",
}


def _plain(name: str, form: str) -> str:
    """The name without what the form ignores."""
    if form in ("accents", "all"):
        name = unicodedata.normalize("NFC", name)
    if form in ("blanks", "all"):
        name = " ".join(name.split())
    return name.casefold() if form in ("case", "all") else name


def _quoted(name: str, form: str) -> str:
    return ascii(name) if form in ("accents", "all") else repr(name)
