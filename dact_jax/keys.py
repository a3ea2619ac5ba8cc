"""Random keys that are named, never carried: adding a consumer shifts no other."""

import zlib

import jax

from dact_jax.types import Key


def key(root: Key, name: str, *counters: int | jax.Array) -> Key:
    """The key of one purpose at one place of a run.

    Args:
      root: the run's key, `jax.random.key(seed)`.
      name: the purpose, such as "augment".
      *counters: int32[] each, such as round and step; may be traced.
    """
    named = jax.random.fold_in(root, zlib.crc32(name.encode()))
    for counter in counters:
        named = jax.random.fold_in(named, counter)
    return named
