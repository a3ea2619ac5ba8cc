"""Office-Home without target labels, Art -> Clipart: Table 1 of ALDA + DSBN (2023).

    python -m dact_jax.main --config=configs/office_home.py \\
        --config.model.weights=resnet50-0676ba61.pth
    python -m dact_jax.main --config=configs/office_home.py:preset=dann \\
        --config.source=data/office_home/Product --config.target=data/office_home/Art

Data: the folders data/office_home/{Art,Clipart,Product,RealWorld}/<class>/*.jpg.
Weights: torchvision's ImageNet ResNet-50,
https://download.pytorch.org/models/resnet50-0676ba61.pth.

The protocol is that of ALDA's authors' code, as in office31_uda.py, with 10 000
iterations. Eight devices need batches of 40. Published averages in % over the twelve
tasks: ResNet-50 46.1, DANN 57.6, JAN 58.3, ALDA 66.6, ALDA + DSBN 67.4.

Presets: alda_dsbn (default), alda, dann, adda, mada, jan, source_only; with target
labels mme (3 of each class), s_act, s_rt, s_clue, d_act, r_act, d_clue, ada_clue,
rda_clue, aada, rada; eada, duc, with five times 1 % of the target.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=alda_dsbn"):
    config = defaults.get_config()
    config.data.source = "data/office_home/Art"
    config.data.target = "data/office_home/Clipart"
    config.update_from_flattened_dict(recipes.UNSUPERVISED_PHOTOS)
    presets.budget(config, initial=50, per_round=50, purchases=3)
    config = presets.apply(config, "office_home", arg, recipes.PHOTOS)
    presets.lengths(config, alone=10_000, pretrain=3000, unsupervised=3000, short=300)
    presets.percents(config, 4365)
    return config
