"""Iterations that the host queues one by one, as on a GPU, beside a device's loop."""

import jax
import numpy as np
import pytest

from dact_jax import keys
from dact_jax.configuration import build
from dact_jax.training import feeding, loop
from dact_jax.types import Pools
from tests import toy

STEPS, CHUNK = 5, 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queued")
    changes = {"train.steps": STEPS, "train.chunk": CHUNK, "train.save_every": CHUNK}
    return build.build(toy.vector_config(folder, **changes))[0]


def train(run, state):
    """The progress of a round of five iterations in chunks of two."""
    count = len(run.task.source.train.label)
    label = np.asarray(run.task.target.train.label)
    pools = Pools(np.ones(count, bool), np.arange(len(label)) < 6)
    key = keys.key(run.key, "round")
    chunks = feeding.draw_chunks(run, pools, label, key, 0, STEPS)
    done = loop.pack({}, CHUNK)
    return list(loop.make_fit(run)(state, chunks, key, STEPS, done))


def test_it_trains_the_same_and_donates_the_state(run, monkeypatch):
    looped = train(run, jax.tree.map(jax.numpy.copy, run.train))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    fetched = []
    fetch = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda x: fetched.append(x) or fetch(x))
    first = jax.tree.map(jax.numpy.copy, run.train)
    queued = train(run, first)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first.variables))
    # The host waits once for each call of several iterations.
    assert len(fetched) == len(queued) == len(looped) == 4
    for one, other in zip(looped, queued, strict=True):
        assert one.complete == other.complete
        assert toy.same(dict(one.losses), dict(other.losses), rtol=1e-5)
    assert int(queued[-1].state.step) == STEPS
    assert toy.same(
        looped[-1].state.variables, queued[-1].state.variables, rtol=1e-4, atol=1e-6
    )
