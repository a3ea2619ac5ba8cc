import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.training import loop
from dact_jax.types import TrainState


def _advance(state, chunk):
    losses = jnp.asarray(chunk, jnp.float32)
    return state._replace(step=state.step + len(chunk)), {"loss": losses}


def test_fit_hands_on_state_and_mean_losses():
    seen = []
    state = TrainState(jnp.int32(2), None, None)
    state = loop.fit(
        _advance,
        state,
        iter([[1.0, 2.0], [3.0]]),
        lambda state, losses: seen.append((int(state.step), losses)),
    )
    assert int(state.step) == 5
    assert seen == [(4, {"loss": 1.5}), (5, {"loss": 3.0})]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_step(bad):
    seen = []
    chunks = iter([[1.0, 1.0], [1.0, bad]])
    with pytest.raises(errors.DivergedError, match=r"loss became .* at step 13"):
        loop.fit(
            _advance,
            TrainState(jnp.int32(10), None, None),
            chunks,
            lambda state, losses: seen.append(int(state.step)),
        )
    assert seen == [12]  # the bad chunk was handed to nobody


def test_chunks_lie_at_the_same_places_whatever_the_start():
    assert loop.chunk_sizes(0, 25, 10) == [10, 10, 5]
    assert loop.chunk_sizes(20, 25, 10) == [5]
    assert loop.chunk_sizes(25, 25, 10) == []
    with pytest.raises(errors.InputError, match=r"train\.chunk=10"):
        loop.chunk_sizes(15, 25, 10)
