"""Printed digits -> real handwritten digits (UCI): no download, minutes on a CPU.

    python -m dact_jax.main --config=configs/digits.py
    python -m dact_jax.main --config=configs/digits.py:preset=alda_dsbn

Presets that buy 50 labels: s_act (10 + 4 x 10 labels by core-set selection), s_rt (its
random twin), d_act (which also keeps 4 x 500 of the 4000 printed digits, by predicted
loss) and r_act (its twin, that keeps random ones), s_clue and d_clue (what README
recommends), ada_clue and aada (5 x 10 labels after a round without any) with their
twins rda_clue and rada. Given 5 labels of each class: mme. Without target labels:
source_only, dann, adda, mada, jan, alda and alda_dsbn (on a LeNet with batch norm). The
transductive s_act_star, s_rt_star and mme_star adapt to the very images that they are
tested on.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.data.source = "printed"
    config.data.target = "uci"
    config.methods.mme.head = "cosine"  # a LeNet's features go straight to prototypes
    presets.budget(
        config,
        initial=10,
        per_round=10,
        purchases=4,
        source_per_round=500,
        source_rounds=4,
    )
    config.loss_predictor.steps = 200  # it is trained a dozen times
    config.data.shots_per_class = 5  # of the presets that are given their labels
    config = presets.apply(config, "digits", arg, recipes.DIGITS)
    # 1500: as many iterations as the five rounds of s_act.
    return presets.lengths(
        config, alone=1500, pretrain=500, unsupervised=1000, short=60
    )
