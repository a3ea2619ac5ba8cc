"""Printed digits -> real handwritten digits (UCI): no download, minutes on a CPU.

    python -m dact_jax.main --config=configs/digits.py
    python -m dact_jax.main --config=configs/digits.py:preset=s_rt

Presets: s_act (10 + 4 x 10 labels by core-set selection), s_rt (its random twin),
mme (5 labels of each class, given), source_only, and the transductive s_act_star,
s_rt_star and mme_star, which adapt to the very images that they are tested on.
"""

from dact_jax import config as defaults, presets


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.data.source = "printed"
    config.data.target = "uci"
    config.methods.mme.head = "cosine"  # a LeNet's features go straight to prototypes
    config.policies.single.update(initial=10, per_round=10, purchases=4)
    config.data.shots_per_class = 5  # of the presets that are given their labels
    config = presets.apply(config, "digits", arg)
    if config.policy == "fixed":
        config.train.steps = 1500  # as many iterations as the five rounds of s_act
    return config
