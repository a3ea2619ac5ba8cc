"""Two pools concatenated, on the device or read by rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax.data import joined


def _pools():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 255, (3, 4, 4, 1)).astype(np.uint8)
    return first, rng.integers(0, 255, (5, 4, 4, 1)).astype(np.uint8)


def test_two_pools_on_the_device_are_copied_there():
    first, second = _pools()
    both = joined.join(jnp.asarray(first), jnp.asarray(second), 128)
    assert isinstance(both, jax.Array)
    np.testing.assert_array_equal(both, np.concatenate([first, second]))


def test_a_copy_above_the_limit_is_not_made():
    first, second = _pools()
    both = joined.join(jnp.asarray(first), jnp.asarray(second), 127)
    assert not isinstance(both, jax.Array)
    np.testing.assert_array_equal(both[:], np.concatenate([first, second]))


@pytest.mark.parametrize("device", ["first", "second", "none"])
def test_rows_are_read_from_the_pool_that_holds_them(device):
    first, second = _pools()
    expected = np.concatenate([first, second])
    both = joined.join(
        jnp.asarray(first) if device == "first" else first,
        jnp.asarray(second) if device == "second" else second,
        2**30,
    )
    assert not isinstance(both, jax.Array)
    assert both.shape == (8, 4, 4, 1)
    assert (len(both), both.dtype) == (8, np.uint8)
    for rows in ([7, 0, 3, 3, 2], [0, 1], [4], [], slice(None)):
        index = rows if isinstance(rows, slice) else np.asarray(rows, np.int32)
        np.testing.assert_array_equal(both[index], expected[index])


def test_only_requested_rows_are_read():
    first, second = _pools()

    class Files:
        """Images that record which rows are read."""

        dtype, shape, read = np.dtype(np.uint8), (5, 4, 4, 1), ()

        def __len__(self):
            return 5

        def __getitem__(self, rows):
            self.read = (*self.read, *rows.tolist())
            return second[rows]

    files = Files()
    images = joined.join(first, files, 2**30)[np.array([1, 6, 4])]
    np.testing.assert_array_equal(images, np.stack([first[1], second[3], second[1]]))
    assert files.read == (3, 1)
