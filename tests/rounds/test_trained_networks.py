"""Which network of a run is loaded: by its checkpoints, its config and its rows."""

import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.rounds import checkpoint, workdir
from dact_jax.rounds.trained import networks
from dact_jax.rounds.trained.networks import PRETRAINED, Origin, Plan
from dact_jax.types import Variables

PLAN = Plan(
    keep="last",
    num_rounds=2,
    steps=20,
    first_steps=30,
    carry_weights=True,
    pretrained=False,
)
BEST = PLAN._replace(keep="best_val")
TEMPLATE = Variables({"w": np.zeros(2, np.float32)}, {}, {})


def _weights(value):
    return {"params": {"w": jnp.full(2, value, jnp.float32)}, "norm": {}, "stats": {}}


def _save(folder, *checkpoints, lacks=()):
    """Checkpoints (round, step, turn, weights, best validation, its step, kept)."""
    store = checkpoint.open_store(folder / workdir.CHECKPOINTS)
    for number, step, turn, value, val, best, kept in checkpoints:
        tree = {
            "round": number,
            "turn": turn,
            "train": {"step": step, "variables": _weights(value)},
            "track": {"val": val, "step": best},
        }
        if kept is not None:
            tree["track"]["kept"] = _weights(kept)
        store.save({name: leaf for name, leaf in tree.items() if name not in lacks})


def _rows(folder, *rounds):
    """Rows of finished rounds: (round, iterations, the best iteration)."""
    row = {"event": "round", "test_accuracy": 0.5, "val_accuracy": 0.5, "seconds": 1.0}
    row |= {"labels_target": 3, "source_samples": 9}
    for number, step, best in rounds:
        labels_val = 0 if best is None else 6
        own = {"round": number, "step": step, "best_val_step": best}
        own |= {"test_mean_class_accuracy": 0.5, "test_at_best_val": 0.5}
        own |= {"best_test": 0.5, "labels_val": labels_val}
        workdir.append(folder, [row | own])


def _find(folder, plan=PLAN, network=""):
    variables, origin = networks.find(folder, TEMPLATE, plan, network)
    return float(variables.params["w"][0]), origin


def test_the_last_network_of_each_state_of_a_run(tmp_path):
    _save(tmp_path, (0, 10, False, 1, -1, 0, None))
    assert _find(tmp_path) == (1, Origin("last", 0, 10, False))
    _save(tmp_path, (1, 30, True, 2, -1, 0, None))  # a person is asked
    assert _find(tmp_path) == (2, Origin("last", 0, 30, True))
    _save(tmp_path, (1, 0, False, 3, -1, 0, None))  # round 1 begins from it
    assert _find(tmp_path) == (3, Origin("last", 0, 30, True))
    _save(tmp_path, (1, 20, False, 4, -1, 0, None))
    assert _find(tmp_path) == (4, Origin("last", 1, 20, True))
    _save(tmp_path, (2, 20, False, 5, -1, 0, None))  # all is done
    assert _find(tmp_path, network="last") == (5, Origin("last", 1, 20, True))


def test_an_untrained_network_is_passed_over(tmp_path):
    anew = PLAN._replace(carry_weights=False)
    _save(tmp_path, (1, 30, True, 2, -1, 0, None), (1, 0, False, 0, -1, 0, None))
    assert _find(tmp_path, anew) == (2, Origin("last", 0, 30, True))
    _save(tmp_path, (1, 0, False, 0, -1, 0, None))
    _rows(tmp_path, (0, 30, None))
    with pytest.raises(errors.InputError, match=r"carry_weights=False\), and no"):
        _find(tmp_path, anew, "last")


def test_what_is_not_trained_is_refused_but_for_pretraining(tmp_path):
    with pytest.raises(errors.InputError, match="not trained yet: run it on, by"):
        _find(tmp_path)  # a person is asked for the first labels
    _save(tmp_path, (0, 0, False, 1, -1, 0, None))
    with pytest.raises(errors.InputError, match=r"is not trained yet: run it on, by"):
        _find(tmp_path)
    pretrained = PLAN._replace(pretrained=True)
    assert _find(tmp_path, pretrained) == (1, Origin("last", PRETRAINED, 0, True))
    _save(tmp_path, (0, 0, True, 1, -1, 0, None))  # the turn before round 0
    with pytest.raises(errors.InputError, match="not trained yet"):
        _find(tmp_path)


def test_both_networks_of_a_run_that_keeps_the_best(tmp_path):
    _save(tmp_path, (0, 10, False, 1, -1, 0, 0))
    with pytest.raises(errors.InputError, match=r"evaluated yet: run it on.*work=last"):
        _find(tmp_path, BEST)
    _save(tmp_path, (0, 20, False, 2, 0.8, 10, 1))
    assert _find(tmp_path, BEST) == (1, Origin("best_val", 0, 10, False))
    assert _find(tmp_path, BEST, "last") == (2, Origin("last", 0, 20, False))
    _rows(tmp_path, (0, 30, 10))
    _save(tmp_path, (0, 30, False, 3, 0.8, 10, 1), (1, 30, True, 1, 0.8, 10, 1))
    assert _find(tmp_path, BEST) == (1, Origin("best_val", 0, 10, True))
    # The weights of the last iteration are in the checkpoint before.
    assert _find(tmp_path, BEST, "last") == (3, Origin("last", 0, 30, True))
    _save(tmp_path, (1, 0, False, 1, -1, 0, 1), (1, 10, False, 4, -1, 0, 1))
    assert _find(tmp_path, BEST) == (1, Origin("best_val", 0, 10, True))


def test_the_last_is_gone_or_was_the_best(tmp_path):
    _save(tmp_path, (1, 30, True, 1, 0.8, 10, 1), (1, 0, False, 1, -1, 0, 1))
    _rows(tmp_path, (0, 30, 10))
    with pytest.raises(errors.InputError, match=r"last network any more.*=best_val"):
        _find(tmp_path, BEST, "last")
    (tmp_path / workdir.METRICS).unlink()
    _rows(tmp_path, (0, 30, 30))
    assert _find(tmp_path, BEST, "last") == (1, Origin("last", 0, 30, True))


def test_the_best_of_a_run_that_keeps_the_last(tmp_path):
    _save(tmp_path, (2, 20, False, 5, 0.9, 10, None))
    _rows(tmp_path, (0, 30, 20), (1, 20, 10))
    with pytest.raises(errors.InputError, match=r"only a run with eval\.keep=best_val"):
        _find(tmp_path, network="best_val")
    (tmp_path / workdir.METRICS).unlink()
    _rows(tmp_path, (0, 30, 30), (1, 20, 20))
    assert _find(tmp_path, network="best_val") == (5, Origin("best_val", 1, 20, True))
    (tmp_path / workdir.METRICS).unlink()
    _rows(tmp_path, (0, 30, None), (1, 20, None))
    with pytest.raises(errors.InputError, match="no labeled validation images"):
        _find(tmp_path, network="best_val")


def test_a_network_of_another_name_and_a_checkpoint_without_turns(tmp_path):
    _save(tmp_path, (0, 10, False, 1, -1, 0, None), lacks=("turn",))
    assert _find(tmp_path) == (1, Origin("last", 0, 10, False))
    with pytest.raises(errors.InputError, match="network='best' is unknown"):
        _find(tmp_path, network="best")


def test_an_origin_in_words():
    assert str(Origin("last", 3, 500, True)) == (
        "the last network of round 3 (iteration 500)"
    )
    assert str(Origin("best_val", 0, 20, False)) == (
        "the best network by validation of round 0 (iteration 20), which is not "
        "finished"
    )
    assert "on the source" in str(Origin("last", PRETRAINED, 0, True))
