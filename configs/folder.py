"""Two folders of your own photos: labelled ones from one place, others from another.

    python -m dact_jax.main --config=configs/folder.py \\
        --config.data.source=photos/studio --config.data.target=photos/phone \\
        --config.model.weights=resnet18-f37072fd.pth

Each domain is a folder with one folder a class (photos/studio/mug/1.jpg, ...), a
manifest.csv (path,label[,split]; an empty label means unlabelled) or a list.txt
("path label"). When the label of a target image is bought, it is looked up there.
Weights: torchvision's ImageNet ResNet-18,
https://download.pytorch.org/models/resnet18-f37072fd.pth;
`--config.model.weights=` (empty) trains from random weights, which needs far more data.

Presets that buy 100 target labels, 20 at the start and 4 x 20: s_act (core-set
selection, the default), s_rt (at random), s_clue (CLUE); d_act, r_act and d_clue also
keep half of the source. After a round without target labels, 5 x 20: ada_clue,
rda_clue, aada, rada. Given 3 labels of each class: mme. Without target labels:
source_only, dann, adda, mada, jan, alda, alda_dsbn. Transductive: s_act_star,
s_rt_star, mme_star. The batches of dann and alda hold 36 images as in their reference
code; eight devices need 40.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.update_from_flattened_dict(recipes.IMAGENET)
    config.model.encoder = "resnet18"
    config.model.weights = "resnet18-f37072fd.pth"
    presets.budget(config, initial=20, per_round=20, purchases=4)
    config.data.stratified = True
    config.train.steps = 500
    config = presets.apply(config, "folder", arg, recipes.PHOTOS)
    return presets.lengths(
        config, alone=2500, pretrain=500, unsupervised=1000, short=100
    )
