import shutil

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dact_jax import errors
from dact_jax.rounds import checkpoint
from dact_jax.run_types import Experiment, Track
from dact_jax.types import Pools, TrainState, Variables


def _experiment(number):
    params = {"encoder": {"w": jnp.full((2, 3), number / 3, jnp.float32)}}
    state = optax.sgd(0.1, momentum=0.9).init(params)
    train = TrainState(jnp.int32(number), Variables(params, {}, {}), state)
    pools = Pools(np.ones(3, bool), np.arange(4) < number)
    label = np.arange(4, dtype=np.int32)
    track = Track(number / 9, -1.0, number, 0.5, train.variables)
    return Experiment(number, pools, label, (), train, number / 7, track)


def test_what_was_saved_comes_back_bit_for_bit(tmp_path):
    store = checkpoint.open_store(tmp_path)
    assert store.restore(_experiment(0)) is None
    store.save(_experiment(1))
    store.save(_experiment(2))
    found = store.restore(_experiment(0))
    store.close()
    assert (found.round, found.seconds) == (2, 2 / 7)
    assert isinstance(found.round, int)
    assert isinstance(found.label, np.ndarray)
    assert found.pools.target.dtype == bool
    np.testing.assert_array_equal(found.pools.target, [True, True, False, False])
    weights = found.train.variables.params["encoder"]["w"]
    np.testing.assert_array_equal(weights, np.full((2, 3), 2 / 3, np.float32))
    assert (found.track.val, found.track.step) == (2 / 9, 2)
    np.testing.assert_array_equal(
        found.track.kept.params["encoder"]["w"], np.full((2, 3), 2 / 3, np.float32)
    )
    assert type(found.train.opt_state) is type(_experiment(0).train.opt_state)


def test_the_newest_two_stay(tmp_path):
    store = checkpoint.open_store(tmp_path)
    for number in range(4):
        store.save(_experiment(number))
    store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    store = checkpoint.open_store(tmp_path)
    for number in (1, 2):
        store.save(_experiment(number))
    store.close()
    for path in (tmp_path / "2").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    again = checkpoint.open_store(tmp_path)
    assert again.restore(_experiment(0)).round == 1
    aside = tmp_path.with_name(f"{tmp_path.name}_damaged")
    assert [path.name for path in aside.iterdir()] == ["2"]  # kept, not deleted
    again.save(_experiment(2))
    assert again.restore(_experiment(0)).round == 2
    again.close()


def test_where_no_checkpoint_can_be_read_none_is_touched(tmp_path):
    store = checkpoint.open_store(tmp_path)
    for number in (1, 2):
        store.save(_experiment(number))
    store.close()
    shutil.rmtree(tmp_path / "1" / "default")
    shutil.rmtree(tmp_path / "2" / "default")
    with pytest.raises(errors.InputError, match=r"no checkpoint in .* can be read"):
        checkpoint.open_store(tmp_path).restore(_experiment(0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_checkpoint_of_another_network_is_refused_and_kept(tmp_path):
    store = checkpoint.open_store(tmp_path)
    store.save(_experiment(1))
    store.close()
    other = _experiment(0)
    variables = Variables({"another": jnp.ones(3)}, {}, {})
    other = other._replace(train=other.train._replace(variables=variables))
    with pytest.raises(errors.InputError, match="can be read"):
        checkpoint.open_store(tmp_path).restore(other)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_save_that_was_cut_off_does_not_count(tmp_path):
    store = checkpoint.open_store(tmp_path)
    store.save(_experiment(1))
    store.close()
    torn = tmp_path / "2.orbax-checkpoint-tmp"  # what a kill leaves behind
    (torn / "default").mkdir(parents=True)
    (torn / "default" / "manifest.ocdbt").write_bytes(b"half")
    again = checkpoint.open_store(tmp_path)
    assert again.restore(_experiment(0)).round == 1
    again.save(_experiment(2))
    assert again.restore(_experiment(0)).round == 2
    again.close()
