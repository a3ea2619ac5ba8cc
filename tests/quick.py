"""Programs that compile fast and run slowly, for tests whose time is compilation."""

import contextlib
import functools
import os
import pathlib
from unittest import mock

import jax
from jax._src import compiler, lru_cache

# Half of the time of a small program is the one generator of code for fused loops.
_OPTIONS = {"xla_cpu_use_fusion_emitters": "False"}


@contextlib.contextmanager
def compiled():
    """XLA optimizes little in the block, and in the processes that it starts."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    flags = f"{os.environ.get('XLA_FLAGS', '')} {xla_flags()}"
    try:
        with generated(), mock.patch.dict(os.environ, environment(flags)):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def environment(flags):
    """Of a process that compiles fast, with these flags of XLA."""
    return {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": flags}


def xla_flags():
    """What makes XLA generate code quickly, as flags."""
    return " ".join(f"--{name}={value}" for name, value in accepted().items())


def keep_programs(folder):
    """Keeps what this process compiles in a folder that several processes share.

    JAX writes its entries in place; here another process never reads half of one. The
    processes that tests start use the cache of the package: a killed one leaves that
    whole.
    """
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # of who started the tests
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

    def put(cache, key, value):
        path = pathlib.Path(cache.path, f"{key}-cache")
        if not path.exists():
            draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            draft.write_bytes(value)
            draft.replace(path)

    lru_cache.LRUCache.put = put


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
