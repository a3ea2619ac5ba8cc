"""Office-31, DSLR -> Amazon with 200 labels: Table 6 of Liu et al. (S_AcT, D_AcT).

    python -m dact_jax.main --config=configs/office31.py \\
        --config.model.weights=resnet18-f37072fd.pth

Data: the folders data/office31/{dslr,amazon}/<class>/*.jpg (the archive has a folder
"images" between domain and class: move the classes up, or use the lists below).
Weights: torchvision's ImageNet ResNet-18, from
https://download.pytorch.org/models/resnet18-f37072fd.pth.

T_l has 50 + 3 x 50 = 200 of Amazon's 1878 training images, T_v 3 a class = 93. The
12 500 iterations of the table are read as those of one round. Published accuracy in %
(ResNet-18): RADA 74.8, AADA 76.3, RDA_CLUE 78.2, ADA_CLUE 78.9, S_RT 78.4, S_AcT 80.1,
R_AcT 78.6, D_AcT 80.5; the last two keep N = 2 x 124 of DSLR's 498 images.

Presets: s_act, s_rt, d_act, r_act, s_clue, d_clue, mme (3 labels of each class), the
transductive s_act_star, s_rt_star, mme_star; ada_clue, rda_clue, aada, rada; eada,
duc, with five times 1 % of Amazon's 2817 images; those without target labels of
office31_uda.py; and mme_3shot, which uses MME's own list files
data/mme/office/{labeled_target,validation_target,unlabeled_target}_images_amazon_3.txt
and labeled_source_images_dslr.txt, with paths that start at data/office31.
"""

from dact_jax.configuration import defaults, presets, recipes

LISTS = "data/mme/office"


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.data.source = "data/office31/dslr"
    config.data.target = "data/office31/amazon"
    config.update_from_flattened_dict(recipes.IMAGENET)
    config.model.encoder = "resnet18"
    config.model.variant = "mme"
    config.model.weights = "resnet18-f37072fd.pth"
    presets.budget(
        config,
        initial=50,
        per_round=50,
        purchases=3,
        source_per_round=124,
        source_rounds=2,
    )
    config.train.steps = 12_500
    config.reference = (
        ("RADA", 200, 74.8),
        ("AADA", 200, 76.3),
        ("RDA_CLUE", 200, 78.2),
        ("ADA_CLUE", 200, 78.9),
        ("S_RT", 200, 78.4),
        ("S_AcT", 200, 80.1),
        ("R_AcT", 200, 78.6),
        ("D_AcT", 200, 80.5),
    )
    config.train.save_every = 500
    if arg == "preset=mme_3shot":
        config = _with_preset(config, "preset=mme")
        config.name = "office31_mme_3shot"
        config.data.root = "data/office31"
        return presets.lists(config, LISTS, "dslr", "amazon")
    return _with_preset(config, arg)


def _with_preset(config, arg):
    config = presets.apply(config, "office31", arg, recipes.PHOTOS)
    presets.lengths(config, alone=12_500, pretrain=3000, unsupervised=3000, short=300)
    presets.percents(config, 2817)
    return config
