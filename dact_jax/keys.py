"""Random keys derived from names: a new consumer of randomness changes no other."""

import zlib

import jax

from dact_jax import errors
from dact_jax.types import Key

MAX_SEED = 2**32 - 1  # jax.random.key drops the higher bits


def root(seed: int) -> Key:
    """The key of a seed; two seeds have two keys.

    Raises:
      InputError: the seed is not in 0 .. MAX_SEED.
    """
    if not 0 <= seed <= MAX_SEED:
        raise errors.InputError(f"seed={seed} must be from 0 to {MAX_SEED}.")
    return jax.random.key(seed)


def key(root: Key, name: str, *counters: int | jax.Array) -> Key:
    """Derives a key from a key, a name and counters.

    Args:
      root: of the run, `root(seed)`, or derived from it.
      name: purpose of the random numbers, such as "augment".
      *counters: int32[] each, such as round and step; may be traced.
    """
    derived = jax.random.fold_in(root, zlib.crc32(name.encode()))
    for counter in counters:
        derived = jax.random.fold_in(derived, counter)
    return derived
