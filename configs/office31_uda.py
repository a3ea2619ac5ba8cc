"""Office-31 without target labels, Amazon -> Webcam: Table 2 of ALDA + DSBN (2023).

    python -m dact_jax.main --config=configs/office31_uda.py \\
        --config.model.weights=resnet50-0676ba61.pth
    python -m dact_jax.main --config=configs/office31_uda.py:preset=jan \\
        --config.source=data/office31/dslr --config.target=data/office31/amazon

Data: the folders data/office31/{amazon,dslr,webcam}/<class>/*.jpg. Weights:
torchvision's ImageNet ResNet-50,
https://download.pytorch.org/models/resnet50-0676ba61.pth.

The protocol is that of ALDA's authors' code: training adapts to all target images and
tests on them, every 500 iterations with ten crops, for 20 000 iterations of 36 + 36
images (alda, dann; the other methods have their own recipes) with schedules of 10 000.
The authors report the best of these tests; here it is the column `best_test`, beside
the last test. For A -> D and D -> W their learning rate is 0.0003:
--config.train.learning_rate=3e-4. Eight devices need batches of 40.
Published averages in % over the six tasks: ResNet-50 76.1, DANN 82.2, ADDA 82.9, JAN
84.3, MADA 85.2, ALDA 88.7, ALDA + DSBN 89.4.

Presets: alda_dsbn (default), alda, dann, adda, mada, jan, source_only; with target
labels mme (3 of each class), s_act, s_rt, s_clue, d_act, r_act, d_clue, ada_clue,
rda_clue, aada, rada; eada, duc, with five times 1 % of the target.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=alda_dsbn"):
    config = defaults.get_config()
    config.data.source = "data/office31/amazon"
    config.data.target = "data/office31/webcam"
    config.update_from_flattened_dict(recipes.UNSUPERVISED_PHOTOS)
    presets.budget(config, initial=50, per_round=50, purchases=3)
    config = presets.apply(config, "office31_uda", arg, recipes.PHOTOS)
    presets.lengths(config, alone=20_000, pretrain=3000, unsupervised=3000, short=300)
    presets.percents(config, 795)
    return config
