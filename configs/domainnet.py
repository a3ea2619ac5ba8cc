"""DomainNet, Real -> Sketch with 378 labels: Table 6 of Liu et al. (S_AcT, D_AcT).

    python -m dact_jax.main --config=configs/domainnet.py:preset=d_act \\
        --config.model.weights=resnet34-b627a593.pth
    python -m dact_jax.main --config=configs/domainnet.py \\
        --config.source=data/mme/multi/labeled_source_images_sketch.txt \\
        --config.target=data/mme/multi/labeled_source_images_painting.txt

Data: DomainNet's folders data/domainnet/{real,sketch,painting,clipart}/<class>/*.jpg
and MME's list files data/mme/multi/labeled_source_images_<domain>.txt, which hold its
126 classes (70 358, 24 582, 31 502 and 18 703 images). Weights: torchvision's ImageNet
ResNet-34, https://download.pytorch.org/models/resnet34-b627a593.pth.

A third of the target is the test set. T_l has 126 + 2 x 126 = 378 labels, T_v 3 a
class = 378. D_AcT and R_AcT keep N = 3 x 16 800 of Real's 70 358 images; for another
source set --config.policies.dual.source_per_round=0, which keeps half. The paper's
50 000 iterations are read as those of one round.

Published accuracy in %, R -> S: MME 61.7, S_AcT 62.4, R_AcT 61.8, D_AcT 62.8;
transductive MME* 62.6, S_AcT* 64.2. S -> P, P -> C, C -> S: MME 65.7, 70.9, 61.7;
S_AcT 66.5, 71.4, 62.3; MME* 66.4, 71.4, 63.1; S_AcT* 66.9, 72.8, 63.8.

Presets: s_act, s_rt, d_act, r_act, s_clue, d_clue, mme (3 labels of each class), the
transductive s_act_star, s_rt_star, mme_star; ada_clue, rda_clue, aada, rada; without
target labels source_only, dann, adda, mada, jan, alda, alda_dsbn; and mme_3shot, MME's
own protocol by its list files
{labeled,validation,unlabeled}_target_images_sketch_3.txt.
"""

from dact_jax.configuration import defaults, presets, recipes

LISTS = "data/mme/multi"


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.data.root = "data/domainnet"
    config.data.source = f"{LISTS}/labeled_source_images_real.txt"
    config.data.target = f"{LISTS}/labeled_source_images_sketch.txt"
    config.update_from_flattened_dict(recipes.IMAGENET)
    config.model.encoder = "resnet34"
    config.model.variant = "mme"
    config.model.weights = "resnet34-b627a593.pth"
    presets.budget(
        config,
        initial=126,
        per_round=126,
        purchases=2,
        source_per_round=16_800,
        source_rounds=3,
    )
    config.train.steps = 50_000
    config.train.save_every = 500
    config.reference = (
        ("MME", 378, 61.7),
        ("S_AcT", 378, 62.4),
        ("R_AcT", 378, 61.8),
        ("D_AcT", 378, 62.8),
        ("MME*", 378, 62.6),
        ("S_AcT*", 378, 64.2),
    )
    if arg == "preset=mme_3shot":
        config = _with_preset(config, "preset=mme")
        config.name = "domainnet_mme_3shot"
        return presets.lists(config, LISTS, "real", "sketch")
    return _with_preset(config, arg)


def _with_preset(config, arg):
    config = presets.apply(config, "domainnet", arg, recipes.PHOTOS)
    # CLUE's: 10 epochs of Real in batches of 64, then 20 epochs of a few labels.
    return presets.lengths(
        config, alone=50_000, pretrain=11_000, unsupervised=11_000, short=300
    )
