"""Random keys derived from names: a new consumer of randomness changes no other."""

import zlib

import jax

from dact_jax.types import Key


def key(root: Key, name: str, *counters: int | jax.Array) -> Key:
    """Derives a key from a key, a name and counters.

    Args:
      root: of the run, `jax.random.key(seed)`, or derived from it.
      name: purpose of the random numbers, such as "augment".
      *counters: int32[] each, such as round and step; may be traced.
    """
    derived = jax.random.fold_in(root, zlib.crc32(name.encode()))
    for counter in counters:
        derived = jax.random.fold_in(derived, counter)
    return derived
