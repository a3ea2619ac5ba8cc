"""The part of a page on class frequencies: tables, and a warning where they differ."""

from collections.abc import Sequence
from typing import NamedTuple

from dact_jax.reports.page import shift
from dact_jax.reports.page.shift import Distance, Frequencies
from dact_jax.reports.sections.content import Table

_ABOUT = (
    "The distance of two frequencies is half the sum of the differences of all "
    "classes (total variation): 0 if they are equal, 1 if no class is in both. Beside "
    "it is what chance alone would give: few images differ even where their classes "
    "are equally frequent. A distance is called large if it exceeds that by more than "
    f"{shift.LARGE:g}, that is, if {100 * shift.LARGE:g} % more of the images than by "
    "chance would have to be of another class to make them equal. The classes of the "
    "target are predictions of the final network, which may be wrong, unless they are "
    "said to be of test images. Picks need not be in proportion: asking more often for "
    "rare or difficult classes is what some acquisitions are for."
)
_HARM = (
    "Adaptation assumes that classes are about equally frequent in both domains; where "
    "they are not, aligning the domains can move images to wrong classes, so check the "
    "rare ones. What to do: compare with a run that does not adapt "
    "(--config.method=source_only) and keep the better one, or train on source images "
    "whose classes are about as frequent as those of the target."
)


class Part(NamedTuple):
    warnings: Sequence[str]
    about: str
    distances: Table
    shares: Table
    few: bool  # whether the table of shares is short


def part(
    found: Sequence[Frequencies],
    distances: Sequence[Distance],
    class_names: Sequence[str],
) -> Part | None:
    """None without two frequencies to compare."""
    if not distances:
        return None
    body = [
        (
            f"{one.one} and {one.other}",
            f"{one.value:.2f}",
            f"{one.chance:.2f}",
            "yes" if one.large else "no",
        )
        for one in distances
    ]
    shares = [shift.shares(one) for one in found]
    rows = [
        (name, *(f"{100 * share[k]:.1f}" for share in shares))
        for k, name in enumerate(class_names)
    ]
    head = [f"{one.name}, {one.counts.sum():.0f} images" for one in found]
    return Part(
        warnings=_warnings(distances),
        about=_ABOUT,
        distances=Table(("between", "distance", "by chance", "large"), body),
        shares=Table(("class", *head), rows),
        few=len(class_names) <= 20,
    )


def _warnings(distances: Sequence[Distance]) -> list[str]:
    """Where source and target differ much: picks may."""
    found = []
    for one in distances:
        if one.large and one.one == "source":
            found.append(
                f"The class frequencies of {one.one} and {one.other} differ much "
                f"(distance {one.value:.2f}, by chance {one.chance:.2f}). {_HARM}"
            )
    return found
