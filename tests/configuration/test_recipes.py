"""Recipes hold the numbers of the reference implementations, preset by preset."""

import pytest

from dact_jax.configuration import files

# preset -> learning rate of the encoder and of new layers, gamma, L2, batch, progress
PHOTOS = {
    "alda": (1e-3, 1e-2, 1e-3, 1e-3, 36, 10_000),
    "alda_dsbn": (1e-3, 1e-2, 1e-3, 1e-3, 36, 10_000),
    "dann": (1e-3, 1e-2, 1e-3, 1e-3, 36, 10_000),
    "adda": (1e-4, 1e-3, 3e-4, 1e-3, 32, 10_000),
    "mada": (1e-3, 1e-2, 3e-4, 0.0, 64, 10_000),
    "jan": (3e-4, 3e-3, 3e-4, 5e-4, 32, 0),
    "source_only": (1e-4, 1e-3, 3e-4, 5e-4, 32, 0),
    "mme": (1e-3, 1e-2, 1e-4, 5e-4, 24, 0),
}
# preset -> learning rate, L2, batch, beta1
DIGITS = {
    "ada_clue": (2e-4, 1e-5, 128, 0.9),
    "aada": (2e-4, 1e-5, 128, 0.9),
    "adda": (2e-4, 0.0, 128, 0.5),
    "alda": (2e-4, 5e-4, 64, 0.9),
    "source_only": (2e-4, 1e-5, 128, 0.9),
}
OFFICE = ("office31_uda", "office_home")


def _load(name, preset):
    return files.load(f"configs/{name}.py:preset={preset}")


@pytest.mark.parametrize("preset", PHOTOS)
@pytest.mark.parametrize("name", OFFICE)
def test_rates_for_photos(name, preset):
    train = _load(name, preset).train
    rates = train.multipliers
    rates_and_sizes = (
        train.learning_rate * rates.encoder,
        train.learning_rate * rates.classifier,
        train.gamma,
        train.weight_decay,
        train.batch_source,
        train.progress_steps,
    )
    assert rates_and_sizes == pytest.approx(PHOTOS[preset])
    assert (train.optimizer, train.schedule, train.power) == ("sgd", "inverse", 0.75)
    assert train.nesterov == (preset != "mada")
    assert train.bias_multiplier == (2.0 if preset == "mada" else 1.0)


@pytest.mark.parametrize("preset", DIGITS)
def test_rates_for_digits(preset):
    train = _load("svhn_mnist", preset).train
    values = train.learning_rate, train.weight_decay, train.batch_source, train.momentum
    assert values == DIGITS[preset]
    assert train.optimizer == "adam"


@pytest.mark.parametrize("preset", ["ada_clue", "aada"])
def test_the_rate_is_halved_after_every_third_of_a_round_of_clues_digits(preset):
    train = _load("svhn_mnist", preset).train
    assert (train.schedule, train.decays, train.factor) == ("step", 3, 0.5)
    assert _load("office31", preset).train.schedule == "constant"


def test_only_the_discriminator_of_aada_has_no_weight_decay():
    assert not _load("svhn_mnist", "aada").train.decay_others
    assert _load("svhn_mnist", "ada_clue").train.decay_others


def test_networks_and_lengths_for_photos():
    widths = {"alda": 512, "dann": 256, "adda": 256, "mada": 256, "jan": 256}
    for name, steps in zip(OFFICE, (20_000, 10_000), strict=True):
        for preset, width in widths.items():
            config = _load(name, preset)
            assert config.methods[config.method].bottleneck == width
            assert config.train.steps == steps
            assert config.model.encoder == "resnet50"
            assert (config.eval.every, config.eval.crops) == (500, 10)
            assert config.data.crop_area == (0.08, 1.0)
    jan = _load("office31_uda", "jan").methods.jan
    assert (jan.dropout, jan.joint, jan.estimator) == (0.5, True, "full")
    assert _load("office31_uda", "adda").methods.adda.form == "reversal"


def test_thresholds_of_alda():
    assert _load("office31_uda", "alda").methods.alda.threshold == 0.9
    assert _load("svhn_mnist", "alda").methods.alda.threshold == 0.6


def test_the_source_network_of_clue_is_trained_for_50_epochs():
    train = _load("svhn_mnist", "source_only").train
    assert (train.steps, train.schedule) == (50 * 573, "constant")
