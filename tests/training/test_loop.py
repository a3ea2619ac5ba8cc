import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.training import loop
from dact_jax.types import TrainState


def _advance(state, chunk):
    losses = jnp.asarray(chunk, jnp.float32)
    return state._replace(step=state.step + len(chunk)), {"loss": losses}


def test_training_yields_the_state_and_the_mean_metrics_of_each_chunk():
    state = TrainState(jnp.int32(2), None, None)
    chunks = iter([[1.0, 2.0], [3.0]])
    seen = [
        (int(state.step), metrics)
        for state, metrics in loop.train(_advance, state, chunks)
    ]
    assert seen == [(4, {"loss": 1.5}), (5, {"loss": 3.0})]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_step(bad):
    state = TrainState(jnp.int32(10), None, None)
    progress = loop.train(_advance, state, iter([[1.0, 1.0], [1.0, bad]]))
    assert int(next(progress)[0].step) == 12
    with pytest.raises(errors.DivergedError, match=r"loss .* step 13"):
        next(progress)  # the state after the bad chunk is never yielded


def test_chunks_lie_at_the_same_places_whatever_the_start():
    assert loop.chunk_sizes(0, 25, 10) == [10, 10, 5]
    assert loop.chunk_sizes(20, 25, 10) == [5]
    assert loop.chunk_sizes(25, 25, 10) == []
    with pytest.raises(errors.InputError, match=r"train\.chunk=10"):
        loop.chunk_sizes(15, 25, 10)
