"""The fields `model.*` and `eval.*`: the network, and how it is evaluated."""

from dact_jax import kinds
from dact_jax.configuration.fields import Field

MODEL = {
    "encoder": Field(
        "lenet", kinds.text(), "lenet, resnet18, resnet34, resnet50; mlp on embeddings"
    ),
    "variant": Field(
        "torchvision",
        kinds.choice("torchvision", "mme"),
        "of ResNets: torchvision, or mme (MME's code)",
    ),
    "batch_norm": Field(
        False, kinds.flag(), "in lenet and mlp; ResNets always have it"
    ),
    "dropout": Field(0.5, kinds.real(below=1), "rate in lenet and mlp"),
    "widths": Field(
        (512,),
        kinds.each(kinds.whole(1, 65536)),
        "of the layers of mlp; the last is the embedding's",
    ),
    "num_norms": Field(
        1, kinds.choice(1, 2), "batch norm: 1, shared by the domains; 2, one each"
    ),
    "shared_affine": Field(
        False, kinds.flag(), "with num_norms=2: only moments differ, not scale and bias"
    ),
    "backbone": Field(
        "", kinds.path(), "frozen network that embeds image files for the encoder mlp"
    ),
    "weights": Field(
        "", kinds.path(), ".safetensors, .pth or .npz that the encoder starts from"
    ),
    "weights_prefix": Field(
        "", kinds.text(), "of the names to read there; empty: what all names share"
    ),
    "convolution": Field(
        "auto",
        kinds.choice("auto", "stock", "tiled", "by_shape"),
        "stock (XLA's), tiled or by_shape (faster on CPU), or auto: by_shape on CPU, "
        "else stock",
    ),
}

EVAL = {
    "every": Field(
        0, kinds.whole(), "iterations between evaluations; 0: at the end of a round"
    ),
    "keep": Field(
        "last",
        kinds.choice("last", "best_val"),
        "weights that a round ends with: last, or best_val: of best accuracy on T_v",
    ),
    "branch": Field(
        "target",
        kinds.choice("target", "source"),
        "num_norms=2: whose batch norm the target is evaluated with",
    ),
    "crops": Field(
        1, kinds.choice(1, 10), "or 10: corners and center, and their mirror images"
    ),
}
