"""Two files of embeddings: what a foundation model made of two sets of data.

    python -m dact_jax.main --config=configs/embeddings.py \\
        --config.source=photo.npz --config.target=sketch.npz

Each .npz holds `features` (float[N, F], the same F in both), and may hold `label`
(integers, -1: not labelled yet; or names, "": not labelled yet), `path` (N different
strings, by which picks are named) and `classes` (names of the integers). Labels of
target vectors are looked up there when they are bought. A network of one hidden layer
with batch norm is trained on the vectors: seconds on a CPU.

--config.model.num_norms=2 gives each domain its own batch norm (DSBN). Vectors are
scaled to a mean square of 1; --config.data.scale=raw leaves them as they are.

Presets: s_act (10 + 4 x 10 labels by core-set selection), s_rt (its random twin), d_act
(which also keeps half of the source, by predicted loss), r_act (a random half), s_clue
and d_clue (what README recommends), mme (3 labels of each class, given) and these
starred (transductive); ada_clue, rda_clue, aada, rada; without target labels
source_only, dann, adda, mada, jan, alda, alda_dsbn.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.data.size = config.data.crop = 1  # a vector is an image of one pixel
    config.data.shots_per_class = 3
    config.model.encoder = "mlp"
    config.model.batch_norm = True
    config.model.dropout = 0.0
    config.methods.mme.head = "cosine"
    presets.budget(config, initial=10, per_round=10, purchases=4)
    config.train.steps = 500
    config = presets.apply(config, "embeddings", arg, recipes.EMBEDDINGS)
    return presets.lengths(
        config, alone=1000, pretrain=300, unsupervised=500, short=100
    )
