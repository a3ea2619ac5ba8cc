"""Every test runs under strict numerics, on several CPU devices.

What one test compiles serves the next, in all workers. The processes that tests start
share the cache of the package itself, which a killed one leaves whole.
"""

import atexit
import contextlib
import functools
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)
os.environ.setdefault("MPLBACKEND", "agg")
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers use that of their parent
    os.environ["DACT_JAX_TESTS_COMPILED"] = tempfile.mkdtemp(prefix="dact_jax_tests_")
# No test writes into the user's caches.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="dact_jax_caches_")

import jax
import pytest

from dact_jax.data.readers import printed
from tests import quick

atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
if "PYTEST_XDIST_WORKER" not in os.environ:
    atexit.register(
        shutil.rmtree, os.environ["DACT_JAX_TESTS_COMPILED"], ignore_errors=True
    )
quick.keep_programs(os.environ["DACT_JAX_TESTS_COMPILED"])
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


# Most tests take longer to compile than to compute, so XLA optimizes little in them.
_AS_USERS = ("test_k_center", "golden_steps")  # these compile as users do
_OPTIMIZED = ("geometry",)  # these all but so


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    name = request.module.__name__
    if any(word in name for word in _AS_USERS):
        yield
        return
    optimized = any(word in name for word in _OPTIMIZED) and "k_means" not in name
    with quick.generated() if optimized else quick.compiled():
        yield


@pytest.fixture(autouse=True)
def exact_products(request):
    """Numbers of the reference codes are float32: no TF32 on a GPU, as is JAX's way."""
    golden = "golden" in request.module.__name__
    precise = jax.default_matmul_precision("highest")
    with precise if golden else contextlib.nullcontext():
        yield


@pytest.fixture(autouse=True, scope="session")
def drawn_once():
    """Printed digits take seconds to draw: each size is drawn once and read-only."""

    @functools.cache
    def load(**options):
        dataset = draw(**options)
        for array in (dataset.image, dataset.label, dataset.id):
            array.setflags(write=False)
        return dataset

    draw, printed.load = printed.load, load
    yield
    printed.load = draw


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="module")
def built_once():
    """Runs of one config share data, network and programs, in a module that asks."""
    from tests.crash import operations

    with operations.compiled_once():
        yield
