"""Two files of embeddings, such as those of a foundation model for two sets of images.

    python -m dact_jax.main --config=configs/embeddings.py \\
        --config.source=photo.npz --config.target=sketch.npz

Each .npz holds `features` (float[N, F], with the same F in both), and optionally
`label` (integers, -1 for unlabelled; or names, "" for unlabelled), `path` (N distinct
strings, which name the picks) and `classes` (names of the integers). When the label of
a target vector is bought, it is looked up there. A network of one hidden layer with
batch norm is trained on the vectors, in seconds on a CPU.

--config.model.num_norms=2 gives each domain its own batch norm (DSBN). Vectors are
scaled to a mean square of 1; --config.data.scale=raw leaves them as they are.

Presets that buy 50 target labels, 10 at the start and 4 x 10:
  s_act      by core-set selection (the default); s_rt buys at random instead
  d_act      s_act, and keeps half of the source, by predicted loss; r_act keeps a
             random half
  s_clue     by CLUE; d_clue also keeps half of the source (both recommended)
Presets that buy 5 x 10 after a round without target labels:
  ada_clue, aada    the authors' methods; rda_clue and rada buy at random instead
Presets without purchases: mme (given 3 labels of each class); source_only, dann, adda,
mada, jan, alda, alda_dsbn (no target labels).
Transductive presets: s_act_star, s_rt_star, mme_star.
"""

from dact_jax.configuration import defaults, presets, recipes


def get_config(arg="preset=s_act"):
    config = defaults.get_config()
    config.data.size = config.data.crop = 1  # a vector is an image of one pixel
    config.data.shots_per_class = 3
    config.data.stratified = True
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
