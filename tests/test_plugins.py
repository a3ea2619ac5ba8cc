import jax
import numpy as np
import pytest

from dact_jax import errors, keys, plugins
from dact_jax.configuration import defaults
from dact_jax.rounds import oracle


def test_names_are_the_files():
    assert {"mme", "source_only"} <= set(plugins.names("methods"))
    assert {"random", "k_center"} <= set(plugins.names("acquisitions"))
    assert {"fixed", "single"} <= set(plugins.names("policies"))


def test_options_are_the_keywords_with_their_defaults():
    assert plugins.options("methods", "source_only") == {}
    assert plugins.options("methods", "mme")["weight"] == 0.1
    assert "labelled" not in plugins.options("policies", "single")


def test_every_option_is_a_field_of_the_config():
    fields = defaults.fields(defaults.get_config())
    for family in ("methods", "acquisitions", "policies"):
        for name in plugins.names(family):
            for option, default in plugins.options(family, name).items():
                assert fields[f"{family}.{name}.{option}"] == default


def test_unknown_names_and_options_are_refused_with_the_nearest():
    with pytest.raises(errors.InputError, match="did you mean 'mme'"):
        plugins.load("methods", "mmee", 3)
    with pytest.raises(errors.InputError, match="'wieght'; did you mean 'weight'"):
        plugins.load("methods", "mme", 3, wieght=1.0)
    with pytest.raises(errors.InputError, match="valid: "):
        plugins.load("methods", "zzz", 3)


def test_random_does_not_pick_more_than_there_is(key):
    taken = np.arange(5) > 1
    with pytest.raises(errors.InputError, match="budget=3 is more than the 2 rows"):
        plugins.load("acquisitions", "random")(None, taken, 3, key)


def test_keys_depend_on_name_and_counters(key):
    seen = {
        tuple(np.asarray(jax.random.key_data(keys.key(key, *place))).tolist())
        for place in [("a",), ("b",), ("a", 0), ("a", 1), ("a", 0, 1), ("a", 1, 0)]
    }
    assert len(seen) == 6


def test_the_oracle_knows_what_the_data_set_holds():
    ask = oracle.from_dataset(np.array([2, -1, 0], np.int32))
    assert ask(np.array([2, 0])).tolist() == [0, 2]
    with pytest.raises(ValueError, match="row 1"):
        ask(np.array([1]))
