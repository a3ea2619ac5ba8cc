"""The main job in seconds, on digits of 16x16 pixels: for tests and first looks.

    python -m dact_jax.main --config=configs/tiny.py

Presets: as in digits.py, such as configs/tiny.py:preset=source_only.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.data.source = "printed"
    config.data.target = "uci"
    config.data.size = config.data.crop = 16
    config.data.shots_per_class = 3
    config.methods.mme.head = "cosine"
    presets.budget(config, initial=10, per_round=10, purchases=2, source_rounds=2)
    config.loss_predictor.steps = 50
    config.train.steps = 100
    config.train.save_every = 50
    config = presets.apply(config, "tiny", arg, recipes.DIGITS)
    return presets.lengths(config, alone=300, pretrain=200, unsupervised=100, short=50)
