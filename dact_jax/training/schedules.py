"""Learning rates by iteration."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from dact_jax import errors

Schedule = Callable[[jax.Array | int], jax.Array]
Kind = Literal["inverse", "annealed", "step", "constant"]

OPTIONS = {  # the options of `make` that each kind uses, besides base
    "inverse": ("gamma", "power"),
    "annealed": ("alpha", "power"),
    "step": ("decays", "factor"),
    "constant": (),
}


def make(
    kind: Kind,
    base: float,
    num_steps: int,
    *,
    gamma: float = 1e-4,
    power: float = 0.75,
    alpha: float = 10.0,
    decays: int = 3,
    factor: float = 0.5,
) -> Schedule:
    """The learning rate at iteration i = 0, 1, ... of a round.

    Args:
      kind: "inverse": base (1 + gamma i)^-power, as in MME, ALDA and Caffe;
        "annealed": base (1 + alpha q)^-power with q = i / num_steps (Ganin et al.,
        2016; equation 18 of ALDA + DSBN), equal to "inverse" with
        gamma = alpha / num_steps;
        "step": base factor^j in part j = 0, 1, ... of `decays` equal parts of the
        round, as CLUE's StepLR (20 of 60 epochs each);
        "constant": base.
      base: learning rate at iteration 0.
      num_steps: iterations of the round; "annealed" and "step" use it.
      gamma: of "inverse".
      power: of "inverse" and "annealed".
      alpha: of "annealed".
      decays: of "step".
      factor: of "step".

    Returns:
      A function of the iteration, an int or int32[] that may be traced; float32[].

    Raises:
      InputError: unknown kind.
    """
    errors.check_choice("schedule", kind, get_args(Kind))

    def schedule(iteration: jax.Array | int) -> jax.Array:
        i = jnp.asarray(iteration, jnp.float32)
        if kind == "inverse":
            return base * (1.0 + gamma * i) ** -power
        if kind == "annealed":
            return base * (1.0 + alpha * i / num_steps) ** -power
        if kind == "step":
            part = jnp.asarray(iteration, jnp.int32) * decays // num_steps
            return base * factor ** part.astype(jnp.float32)
        return jnp.full_like(i, base)

    return schedule
