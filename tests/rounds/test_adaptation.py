"""A round's training in any number of calls, saved by time, killed within a chunk."""

import contextlib

import jax
import numpy as np
import pytest

from dact_jax import errors, run_types
from dact_jax.configuration import build
from dact_jax.rounds import session, workdir
from dact_jax.training import inference, loop as training
from tests import toy

pytestmark = pytest.mark.usefixtures("built_once")

CHUNK = 4
CHANGES = {
    "train.steps": 6,
    "train.chunk": CHUNK,
    "train.save_every": 1000 * CHUNK,
    "policies.single.purchases": 1,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    config = toy.vector_config(tmp_path_factory.mktemp("data"), "s_act", **CHANGES)
    return build.build(config)[0]


def _unclaimed(folder, config, *, flag):
    """Stands for the claim of a folder that is this run's already."""


def _run(made, folder, *, die_at=None, stop_at=None):
    """(experiment, places that were shown); dies or is asked to stop at a place."""
    places = []
    stop = run_types.Stop(lambda: places[-1] == stop_at)

    def step(number, at, losses):
        places.append((number, at))
        if (number, at) == die_at:
            raise toy.Killed

    @contextlib.contextmanager
    def shows(stage, lengths, start):
        yield run_types.Show(step=step, partial=step)

    done = session.run(made, folder, {}, _unclaimed, shows, stop=stop)
    return done.experiment, places


def _by_time(made, minutes):
    return made._replace(schedule=made.schedule._replace(save_minutes=minutes))


def _rows(folder):
    return [
        {name: value for name, value in row.items() if not name.startswith("seconds")}
        for row in workdir.read(folder)
    ]


def _same(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_number_of_calls_has_no_influence(made, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)
    one_by_one, places = _run(made, tmp_path / "ones")
    assert places == [(number, at) for number in (0, 1) for at in range(1, 7)]
    monkeypatch.setattr(training, "CALL_SECONDS", 1e9)
    at_once, places = _run(made, tmp_path / "chunks")
    assert places == [(number, at) for number in (0, 1) for at in (1, 4, 6)]
    _same(one_by_one.train, at_once.train)
    assert _rows(tmp_path / "ones") == _rows(tmp_path / "chunks")


@pytest.mark.parametrize("place", [(0, 3), (0, 5), (1, 2)])
def test_killed_within_a_chunk_it_goes_on_from_the_checkpoint_by_time(
    made, tmp_path, monkeypatch, place
):
    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)
    whole, _ = _run(_by_time(made, 0.0), tmp_path / "whole")
    often = _by_time(made, 1e-9)  # a checkpoint after every call
    with pytest.raises(toy.Killed):
        _run(often, tmp_path / "killed", die_at=place)
    again, places = _run(often, tmp_path / "killed")
    assert places[0] == place  # only the iteration that was not saved is repeated
    _same(again.train, whole.train)
    assert _rows(tmp_path / "killed") == _rows(tmp_path / "whole")


@pytest.mark.parametrize("place", [(0, 3), (0, 6), (1, 2)])
def test_asked_to_stop_it_saves_the_last_iteration(made, tmp_path, monkeypatch, place):
    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)
    whole, whole_places = _run(_by_time(made, 0.0), tmp_path / "whole")
    number, at = place
    told = f"stopped in round {number} after iteration {at}; the same command goes on"
    with pytest.raises(errors.StoppedError, match=told):
        _run(_by_time(made, 0.0), tmp_path / "stopped", stop_at=place)
    again, places = _run(_by_time(made, 0.0), tmp_path / "stopped")
    assert places == [other for other in whole_places if other > place]  # none twice
    _same(again.train, whole.train)
    assert _rows(tmp_path / "stopped") == _rows(tmp_path / "whole")


def test_asked_to_stop_with_ruined_weights_it_says_so(made, tmp_path, monkeypatch):
    def ruined(*arguments, **options):
        raise errors.DivergedError("ruined.")

    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(inference, "sweep", ruined)
    with pytest.raises(errors.DivergedError, match=r"round 0: ruined\."):
        _run(_by_time(made, 0.0), tmp_path, stop_at=(0, 1))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]


def test_without_a_limit_of_time_only_the_number_counts(made, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)
    with pytest.raises(toy.Killed):
        _run(_by_time(made, 0.0), tmp_path, die_at=(0, 5))
    _, places = _run(_by_time(made, 0.0), tmp_path)
    assert places[0] == (0, 1)
