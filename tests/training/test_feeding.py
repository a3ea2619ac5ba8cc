"""Pieces of chunks: how long, what is in them, and that the next is made meanwhile."""

import threading
import types

import jax
import numpy as np
import pytest

from dact_jax import run_types
from dact_jax.data import streams
from dact_jax.training import feeding
from dact_jax.types import BatchSizes, Domain, Examples, Pools, Task

SIZES = BatchSizes(4, 2, 4)
PIXELS = 6 * 6 * 3
EACH = sum(SIZES) * PIXELS  # bytes of a drawn batch


def domain(name, count, first):
    image = np.zeros((count, 6, 6, 3), np.uint8)
    image[..., 0] = np.arange(first, first + count)[:, None, None]
    train = Examples(image, np.arange(count, dtype=np.int32) % 3)
    empty = Examples(image[:0], train.label[:0])
    return Domain(name, train, empty, empty, np.arange(count).astype(str))


TASK = Task(domain("s", 13, 0), domain("t", 17, 100), ("a", "b", "c"), None)


def placed(task):
    source, target = (d._replace(train=streams.place(d.train, 2**30)) for d in task[:2])
    return task._replace(source=source, target=target)


def test_a_piece_has_no_more_bytes_than_it_may(monkeypatch):
    lengths = {}
    for share in (0.5, 1, 2.9, 3, 5, 100):
        monkeypatch.setattr(feeding, "PIECE_BYTES", int(share * EACH))
        lengths[share] = feeding.piece_length(TASK, SIZES, 10)
    assert lengths == {0.5: 1, 1: 1, 2.9: 2, 3: 3, 5: 5, 100: 10}
    monkeypatch.setattr(feeding, "PIECE_BYTES", 8 * EACH)
    assert feeding.piece_length(TASK, SIZES, 10) == 5
    on_device = placed(TASK)
    assert feeding.piece_length(on_device, SIZES, 10) == 10
    mixed = on_device._replace(source=TASK.source)  # at most 18 of 100: 6 x 17
    assert feeding.piece_length(mixed, SIZES, 100) == 17
    other = TASK.source.train._replace(image=np.zeros((5, 60, 60, 3), np.uint8))
    assert feeding.piece_length(TASK._replace(unlabeled=other), SIZES, 10) == 1


def chunks(task, *, start=0, num_steps=23, every=10):
    schedule = run_types.Schedule(
        num_steps, num_steps, 0, SIZES, every, every, 0.0, True, True
    )
    run = types.SimpleNamespace(task=task, schedule=schedule)
    pools = Pools(np.ones(13, bool), np.arange(17) < 3)
    label = np.arange(17, dtype=np.int32) % 3
    return feeding.draw_chunks(run, pools, label, jax.random.key(0), start, num_steps)


def batches(found):
    """Every drawn batch with its iteration, and the bounds of each chunk."""
    drawn, bounds = {}, []
    for number, chunk in enumerate(found):
        bounds.append((chunk.first, chunk.length, chunk.longest))
        for piece in chunk.pieces:
            for i in range(piece.begin, piece.end):
                at = 10 * number + i
                drawn[at] = jax.tree.map(
                    lambda leaf, i=i, piece=piece: np.asarray(leaf[i - piece.begin]),
                    piece.drawn,
                )
    return drawn, bounds


def test_pieces_hold_the_batches_of_whole_chunks(monkeypatch):
    expected, bounds = batches(chunks(TASK))
    assert bounds == [(0, 10, 10), (0, 10, 10), (0, 3, 10)]
    for count in (1, 4, 9):
        monkeypatch.setattr(feeding, "PIECE_BYTES", count * EACH)
        found, same = batches(chunks(TASK))
        assert same == bounds
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    rows, _ = batches(chunks(placed(TASK)))
    for at, batch in rows.items():
        shades = expected[at].unlabeled[:, 0, 0, 0]
        np.testing.assert_array_equal(shades - 100, batch.unlabeled)


@pytest.mark.parametrize(
    ("start", "first"), [(0, 0), (4, 4), (10, 10), (13, 10), (19, 18), (22, 20)]
)
def test_a_resumed_round_draws_no_piece_that_is_done(monkeypatch, start, first):
    expected, _ = batches(chunks(TASK))
    monkeypatch.setattr(feeding, "PIECE_BYTES", 4 * EACH)
    drawn = []
    actual = streams.batches

    def noting(*args):
        drawn.append(args[5])
        return actual(*args)

    monkeypatch.setattr(streams, "batches", noting)
    assert len(list(chunks(TASK, start=start)))
    assert drawn == [first]
    found, bounds = batches(chunks(TASK, start=start))
    skipped = start - start % 10
    assert bounds[0][0] == start - skipped
    for at, batch in found.items():
        jax.tree.map(np.testing.assert_array_equal, batch, expected[at + skipped])


def test_a_round_that_is_over_draws_nothing():
    assert list(chunks(TASK, start=23)) == []


def test_the_next_is_made_while_one_is_used():
    made = [threading.Event() for _ in range(4)]

    def make(number):
        made[number].set()
        return number

    ahead = feeding.made_ahead(make, range(4))
    for number in range(3):
        assert next(ahead) == number
        assert made[number + 1].wait(60)
        assert not any(event.is_set() for event in made[number + 2 :])
    assert list(ahead) == [3]
    assert list(feeding.made_ahead(make, [])) == []


def test_an_error_comes_in_its_turn_and_closing_ends_the_thread():
    def make(number):
        return 1 / number

    ahead = feeding.made_ahead(make, [1, 0])
    assert next(ahead) == 1
    with pytest.raises(ZeroDivisionError):
        next(ahead)
    before = threading.active_count()
    ahead = feeding.made_ahead(make, [1, 2, 3])
    next(ahead)
    ahead.close()
    assert threading.active_count() == before
