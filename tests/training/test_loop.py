"""The calls in which a chunk is done, and what they yield."""

import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.training import feeding, loop
from dact_jax.types import TrainState

NOTHING_DONE = loop.pack({}, 4)


def _program(values, clock=None, seconds=1.0):
    """Losses are read from the drawn values; an iteration takes some seconds."""

    def advance(state, losses, drawn, key, first, count, begin):
        if clock is not None:
            clock.seconds += seconds * count
        filled = np.array(losses["loss"])
        rows = slice(first - begin, first - begin + count)
        assert len(drawn[rows]) == count
        filled[first : first + count] = drawn[rows]
        return state._replace(step=state.step + count), {"loss": filled}

    return loop.Program(
        advance, lambda state, drawn, key: {"loss": np.zeros(len(drawn), np.float32)}
    )


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def _train(chunks, *, done=NOTHING_DONE, step=0, seconds=1.0):
    state, clock = TrainState(jnp.int32(step), None, None), Clock()
    program = _program(chunks, clock, seconds)
    return loop.train(program, state, iter(chunks), None, done, clock=clock)


def _chunk(*values, first=0, length=None, width=None):
    width, length = width or len(values), length or len(values)
    pieces = [
        feeding.Piece(
            np.float32(values[begin : begin + width]), begin, min(begin + width, length)
        )
        for begin in range(0, length, width)
        if begin + width > first
    ]
    return loop.Chunk(iter(pieces), first, length, len(values))


def test_training_yields_the_state_and_the_losses_of_the_chunk_so_far():
    seen = [
        (int(state.step), np.asarray(losses["loss"]).tolist(), complete)
        for state, losses, complete in _train([_chunk(1, 2), _chunk(3, 9, length=1)])
    ]
    assert seen == [(1, [1], False), (2, [1, 2], True), (3, [3], True)]


@pytest.mark.parametrize("width", [1, 3, 4, 10])
@pytest.mark.parametrize("seconds", [0.001, 1.0, 2.5])
def test_pieces_change_neither_calls_nor_losses(width, seconds):
    def seen(width):
        found = _train(
            [_chunk(*range(10), first=4, width=width), _chunk(*range(9), width=width)],
            done=loop.pack({"loss": np.float32([0, 1, 2, 3])}, 10),
            step=4,
            seconds=seconds,
        )
        return [
            (int(state.step), np.asarray(losses["loss"]).tolist(), complete)
            for state, losses, complete in found
        ]

    assert seen(width) == seen(None)
    assert seen(width)[-1] == (19, list(range(9)), True)


def test_a_chunk_that_was_begun_is_continued_with_its_losses():
    done = loop.pack({"loss": np.float32([1, 2])}, 4)
    (progress, *_) = _train([_chunk(0, 0, 3, 4, first=2)], done=done, step=2)
    np.testing.assert_array_equal(progress.losses["loss"], [1, 2, 3])
    assert progress.state.step == 3


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [(0.001, [1, 99, 100]), (1.0, [1] + [5] * 19 + [4] + [5] * 20), (9.0, [1] * 200)],
)
def test_calls_take_about_five_seconds_and_the_first_does_one_iteration(
    seconds, lengths
):
    chunks = [_chunk(*range(100)), _chunk(*range(100))]
    done = loop.pack({}, 100)
    steps = [int(p.state.step) for p in _train(chunks, done=done, seconds=seconds)]
    assert np.diff([0, *steps]).tolist() == lengths


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_step(bad):
    progress = _train([_chunk(1, 1), _chunk(1, bad)], step=10, seconds=0.001)
    assert [int(next(progress).state.step) for _ in range(2)] == [11, 12]
    with pytest.raises(errors.DivergedError, match=r"loss .* step 13; .* smaller"):
        next(progress)  # the state after the bad iteration is never yielded


def test_a_loss_that_is_not_finite_at_first_is_not_blamed_on_the_learning_rate():
    with pytest.raises(
        errors.DivergedError, match=r"step 0; .*data\.std.*weights"
    ) as e:
        next(_train([_chunk(np.nan, 1)]))
    assert "smaller" not in str(e.value)


def test_losses_are_packed_in_any_order_of_names():
    losses = {"b": np.float32([1, 2]), "a": np.float32([3, 4])}
    empty = {name: np.zeros(3, np.float32) for name in losses}
    unpacked = loop.unpack(loop.pack(losses, 4), empty)
    np.testing.assert_array_equal(unpacked["a"], [3, 4, 0])
    np.testing.assert_array_equal(unpacked["b"], [1, 2, 0])


def test_a_mean_is_that_of_float32():
    values = np.float32([0.1, 0.2, 0.7])
    assert loop.means({"loss": values}) == {"loss": float(values.mean())}


def test_more_losses_than_a_checkpoint_has_room_for_are_rejected():
    losses = {f"loss {number}": np.zeros(1, np.float32) for number in range(33)}
    with pytest.raises(errors.InputError, match="33 losses"):
        loop.pack(losses, 4)
