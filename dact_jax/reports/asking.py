"""What a command says when a run waits for labels."""

import pathlib
import shlex
from collections.abc import Sequence

from dact_jax import errors
from dact_jax.queries import query
from dact_jax.queries.query import Query

_SHOWN = 3  # images that are named


def next_step(wanted: Query, missing: Sequence[str], folder: pathlib.Path) -> str:
    """What a person does next: one sentence, which ends with commands.

    Args:
      missing: ids of the images that have no label yet.
      folder: of the run.
    """
    place, total = query.place(folder, wanted.round), len(wanted.items)
    page = f"python -m dact_jax.label --workdir={shlex.quote(str(folder))}"
    how = (
        f"answer in the browser ({page}) or fill in {place / 'labels.csv'}, then run "
        "this command again"
    )
    if len(missing) == total:
        images = "1 image waits for its label" if total == 1 else f"{total} images wait"
        images += "" if total == 1 else " for their labels"
        return f"Round {wanted.round}: {images} in {place}; {how}."
    some = ", ".join(map(errors.printable, missing[:_SHOWN]))
    more = ", ..." if len(missing) > _SHOWN else ""
    verb = "is" if len(missing) == 1 else "are"
    return (
        f"Round {wanted.round}: {len(missing)} of {total} labels in {place} {verb} "
        f"still missing ({some}{more}); {how}, or add --accept_partial to go on "
        "without them."
    )
