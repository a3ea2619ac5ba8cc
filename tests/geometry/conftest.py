"""Products with fewer bits, for tests that show why the highest precision is needed."""

import jax
import pytest

from dact_jax.geometry import distances, nearest


@pytest.fixture
def reduce_precision(monkeypatch):
    """reduce_precision(bits) rounds what products multiply, until the test ends."""
    exact = distances.product

    def forget_compiled():
        for function in (nearest.survey, nearest.two_nearest, distances.append_centers):
            function.clear_cache()

    def reduce(bits):
        def rounded(left, right):
            return exact(
                *(
                    jax.lax.reduce_precision(x, 8, bits) if x.ndim == 2 else x
                    for x in (left, right)
                )
            )

        monkeypatch.setattr(distances, "product", rounded)
        forget_compiled()

    yield reduce
    forget_compiled()
