"""Printed digits -> real handwritten digits (UCI): no download, minutes on a CPU.

    python -m dact_jax.main --config=configs/digits.py
    python -m dact_jax.main --config=configs/digits.py:preset=alda_dsbn

Presets that buy 50 target labels, 10 at the start and 4 x 10:
  s_act      by core-set selection (the default); s_rt buys at random instead
  d_act      s_act, and keeps 4 x 500 of the 4000 printed digits, by predicted loss;
             r_act keeps random ones
  s_clue     by CLUE; d_clue also keeps 4 x 500 printed digits (both recommended)
Presets that buy 5 x 10 after a round without target labels:
  ada_clue, aada    the authors' methods; rda_clue and rada buy at random instead
Presets without purchases:
  mme        given 5 labels of each class
  source_only, dann, adda, mada, jan, alda, alda_dsbn    no target labels; all but
             source_only on a LeNet with batch norm
Transductive presets, which adapt to the images that they are tested on: s_act_star,
s_rt_star, mme_star.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.data.source = "printed"
    config.data.target = "uci"
    config.methods.mme.head = "cosine"  # for LeNets, as in MME's code
    presets.budget(
        config,
        initial=10,
        per_round=10,
        purchases=4,
        source_per_round=500,
        source_rounds=4,
    )
    config.loss_predictor.steps = 200  # in each of about twelve trainings
    config.data.shots_per_class = 5  # of the preset mme
    config = presets.apply(config, "digits", arg, recipes.DIGITS)
    # alone: as many iterations as in the five rounds of s_act.
    return presets.lengths(
        config, alone=1500, pretrain=500, unsupervised=1000, short=60
    )
