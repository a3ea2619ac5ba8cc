"""Two folders of your own photos: labelled ones from one place, others from another.

    python -m dact_jax.main --config=configs/folder.py \\
        --config.data.source=photos/studio --config.data.target=photos/phone \\
        --config.model.weights=resnet18-f37072fd.pth

Each domain is a folder with one folder a class (photos/studio/mug/1.jpg, ...), a
manifest.csv (path,label[,split]; an empty label: not labelled yet) or a list.txt
("path label"). Labels of target images are looked up there when they are bought.
Weights: torchvision's ImageNet ResNet-18,
https://download.pytorch.org/models/resnet18-f37072fd.pth;
`--config.model.weights=` (empty) trains from random weights, which needs far more data.

Presets: s_act, s_rt, s_clue; d_act, r_act and d_clue (which keep half of the source);
mme and these starred (transductive); ada_clue, rda_clue, aada, rada; without target
labels source_only, dann, adda, mada, jan, alda, alda_dsbn. Dann and alda take 36 images
a batch, as their reference: on eight devices set 40.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.update_from_flattened_dict(recipes.IMAGENET)
    config.model.encoder = "resnet18"
    config.model.weights = "resnet18-f37072fd.pth"
    presets.budget(config, initial=20, per_round=20, purchases=4)
    config.train.steps = 500
    config = presets.apply(config, "folder", arg, recipes.PHOTOS)
    return presets.lengths(
        config, alone=2500, pretrain=500, unsupervised=1000, short=100
    )
