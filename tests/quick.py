"""Programs that compile fast and run slowly, for tests whose time is compilation."""

import contextlib
import functools
import os
from unittest import mock

import jax
from jax._src import compiler

# Half of the time of a small program is the one generator of code for fused loops.
_OPTIONS = {"xla_cpu_use_fusion_emitters": "False"}


@contextlib.contextmanager
def compiled():
    """XLA optimizes little in the block, and in the processes that it starts."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with (
            generated(),
            mock.patch.dict(os.environ, {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}),
        ):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@contextlib.contextmanager
def generated():
    """XLA generates code quickly in the block, and optimizes it as always.

    JAX has no setting for the options of all programs of a block, so what it asks the
    compiler for is changed on the way.
    """
    overrides, options_of = accepted(), compiler.get_compile_options

    def with_overrides(*args, env_options_overrides=None, **options):
        changed = {**overrides, **(env_options_overrides or {})}
        return options_of(*args, env_options_overrides=changed, **options)

    with mock.patch.object(compiler, "get_compile_options", with_overrides):
        yield


@functools.cache
def accepted():
    """The options of quick code, or none for an XLA that does not know them."""
    try:
        jax.jit(lambda x: x, compiler_options=_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _OPTIONS
