"""Whether the pools are large enough for what a policy buys and chooses."""

from typing import NamedTuple

from dact_jax import errors


class Budget(NamedTuple):
    """Target labels: `initial` before round 0, then `purchases` times `per_round`."""

    name: str  # prefix of the config fields, for error messages
    initial: int
    per_round: int
    purchases: int


def check_target(
    budget: Budget, *, num_target: int, num_free: int, num_given: int
) -> None:
    """Raises InputError if the target pool is too small for the budget.

    Args:
      num_free: images that can be labelled and are not yet.
      num_given: images whose labels are given at the start.
    """
    name, initial, per_round, purchases = budget
    total = initial + purchases * per_round
    if total > num_free:
        raise errors.InputError(
            f"{name} asks for {initial} + {purchases} x {per_round} = {total} "
            f"target labels, but only {num_free} of the {num_target} images in the "
            "target's training pool can be labelled: lower initial, per_round or "
            "purchases, or keep fewer images for test and validation "
            "(data.test_fraction, data.val_per_class)."
        )
    if total + num_given >= num_target:
        raise errors.InputError(
            f"{name} would label all {num_target} target images and leave none to "
            "adapt to: lower initial, per_round or purchases."
        )


def check_start(
    name: str, per_round: int, rounds: int, num_source: int, num_labels: int
) -> None:
    """Raises InputError if source samples or first target labels are too few.

    Args:
      name: prefix of the config fields, for error messages.
      per_round: source samples chosen at once; 0: half of the source in all.
      rounds: how often.
      num_labels: target labels before the first network is trained.
    """
    total = rounds * per_round
    if not total and num_source < 2 * rounds:
        raise errors.InputError(
            f"{name} chooses half of the source in {rounds} rounds, but it has only "
            f"{num_source} samples: lower source_rounds."
        )
    if total > num_source:
        raise errors.InputError(
            f"{name} asks for {rounds} x {per_round} = {total} source samples, but "
            f"there are only {num_source}: lower source_rounds or source_per_round."
        )
    if not num_labels:
        raise errors.InputError(
            f"{name} trains its first network on labelled target images and has none: "
            f"set {name}.initial, such as 10."
        )
