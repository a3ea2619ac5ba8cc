import pytest

from dact_jax.rounds import timing
from dact_jax.types import Lab, LossPredictor


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when it is told to."""

    class Clock:
        now = 100.0

        def verb(self, seconds, answer):
            def call(*args):
                self.now += seconds
                return answer, args

            return call

    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    return clock


def test_every_second_is_counted_once_under_its_kind(clock):
    verb = clock.verb
    predictor = LossPredictor(None, verb(8, "fit"), verb(2, 1), verb(1, "all"))
    watch = timing.start(Lab(verb(0.5, "pool"), None, predictor))
    assert watch.lab.sweep("w", 1) == ("pool", ("w", 1))
    assert watch.lab.loss_predictor.fit("w", "u", "k") == ("fit", ("w", "u", "k"))
    watch.lab.loss_predictor.accuracy("w")
    watch.lab.loss_predictor.sweep("w")
    clock.now += 4
    assert watch.stop() == {"training": 8, "scoring": 3.5, "selecting": 4}


def test_a_verb_that_fails_is_timed_too(clock):
    def fail(*args):
        clock.now += 3
        raise KeyError

    watch = timing.start(Lab(fail, None))
    assert watch.lab.loss_predictor is None
    with pytest.raises(KeyError):
        watch.lab.sweep("w", 0)
    assert watch.stop() == {"training": 0, "scoring": 3, "selecting": 0}
