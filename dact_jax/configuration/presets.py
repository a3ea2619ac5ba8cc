"""Named points of (method x policy x acquisition), the rows of the papers' tables."""

from collections.abc import Mapping

import ml_collections

from dact_jax import errors
from dact_jax.configuration.recipes import Recipe

# Paper 1: bought labels. MME and S_AcT with their twin; AADA and CLUE with theirs.
ACTIVE: Mapping[str, Recipe] = {
    "s_rt": {"method": "mme", "acquisition": "random"},
    "s_act": {"method": "mme", "acquisition": "k_center"},
    "s_clue": {"method": "mme", "acquisition": "clue"},  # what the tables speak for
    "rada": {"method": "aada", "acquisition": "random"},
    "aada": {"method": "aada", "acquisition": "aada"},
    "rda_clue": {"method": "clue_mme", "acquisition": "random"},
    "ada_clue": {"method": "clue_mme", "acquisition": "clue"},
}
# Paper 1: source samples chosen too, by predicted loss or at random.
DUAL: Mapping[str, Recipe] = {
    "d_act": {
        "method": "mme",
        "acquisition": "k_center",
        "source_acquisition": "predicted_loss",
    },
    "r_act": {
        "method": "mme",
        "acquisition": "k_center",
        "source_acquisition": "random",
    },
    "d_clue": {  # what the tables speak for
        "method": "mme",
        "acquisition": "clue",
        "source_acquisition": "predicted_loss",
        "acquisitions.predicted_loss.classes": "proportional",
    },
}
# Paper 2: no target label at all.
UNSUPERVISED: Mapping[str, Recipe] = {
    "source_only": {"method": "source_only"},
    "dann": {"method": "dann"},
    "adda": {"method": "adda"},
    "mada": {"method": "mada"},
    "jan": {"method": "jan"},
    "alda": {"method": "alda"},
    "alda_dsbn": {"method": "alda", "model.num_norms": 2},
}
PRESETS: Mapping[str, Recipe] = {
    **{name: {"policy": "fixed", **fields} for name, fields in UNSUPERVISED.items()},
    "mme": {"method": "mme", "policy": "fixed"},
    **{name: {"policy": "single", **fields} for name, fields in ACTIVE.items()},
    **{name: {"policy": "dual", **fields} for name, fields in DUAL.items()},
}
STARRED = ("mme", "s_rt", "s_act")  # whose transductive variants paper 1 has
_STAR = "_star"


def apply(
    config: ml_collections.ConfigDict,
    task: str,
    arg: str,
    recipes: Mapping[str, Recipe],
) -> ml_collections.ConfigDict:
    """The config with a preset's fields and its method's recipe, "<task>_<preset>".

    Only `mme` uses data.shots_per_class, or the labelled list; those of paper 2 use no
    target label. A name that ends in "_star" is transductive.

    Args:
      config: with the fields that the task's presets share.
      task: such as "digits".
      arg: "preset=<name>", what follows the colon of --config.
      recipes: method -> how it is trained, `recipes.DIGITS` or `recipes.PHOTOS`.

    Raises:
      InputError: another argument, or no such preset.
    """
    key, _, name = arg.partition("=")
    if key != "preset":
        raise errors.InputError(
            f"the argument of the config must be preset=<name>, not {arg!r}."
        )
    stars = tuple(preset + _STAR for preset in STARRED)
    base = name.removesuffix(_STAR) if name in stars else name
    if base not in PRESETS:
        raise errors.InputError(
            f"there is no preset {name!r}; "
            f"{errors.suggestion(name, (*PRESETS, *stars))}"
        )
    config.update_from_flattened_dict(PRESETS[base])
    config.update_from_flattened_dict(recipes.get(config.method, {}))
    config.name = f"{task}_{name}"
    if name in stars:
        config.data.transductive = True
    if base != "mme":
        config.data.shots_per_class = 0
    if base in DUAL:  # which decide by labelled validation images
        config.data.val_per_class = config.data.val_per_class or 3
    if base in UNSUPERVISED and base != "source_only":
        config.model.batch_norm = True  # as every network of paper 2, LeNets too
    return config


def budget(
    config: ml_collections.ConfigDict,
    *,
    initial: int,
    per_round: int,
    purchases: int,
    source_per_round: int = 0,
    source_rounds: int = 4,
) -> None:
    """Sets what the policies that buy may spend: as many target labels for each.

    Args:
      config: whose options of policies `single` and `dual` are set.
      initial: random labels to begin with.
      per_round: B_t, labels bought at once.
      purchases: how often.
      source_per_round: B_s, source samples that D_AcT chooses at once; 0: half of the
        source in all.
      source_rounds: how often.
    """
    bought = {"initial": initial, "per_round": per_round, "purchases": purchases}
    config.policies.single.update(bought)
    config.policies.dual.update(
        bought, source_per_round=source_per_round, source_rounds=source_rounds
    )


def lists(
    config: ml_collections.ConfigDict, place: str, source: str, target: str
) -> ml_collections.ConfigDict:
    """MME's own protocol: 3 labels a class, T_v and T_u = test, by its list files.

    Args:
      config: of the preset "mme".
      place: folder of the list files.
      source: domain, as the files' names spell it.
      target: the other.
    """
    data = config.data
    data.source = f"{place}/labeled_source_images_{source}.txt"
    data.labelled_list = f"{place}/labeled_target_images_{target}_3.txt"
    data.val_list = f"{place}/validation_target_images_{target}_3.txt"
    data.unlabeled_list = f"{place}/unlabeled_target_images_{target}_3.txt"
    data.shots_per_class = 0
    config.train.steps = 50_000
    return config


def lengths(
    config: ml_collections.ConfigDict,
    *,
    alone: int,
    pretrain: int,
    unsupervised: int,
    short: int,
) -> ml_collections.ConfigDict:
    """The config with the iterations that its method and policy need.

    Active presets of MME keep train.steps, with or without a chosen source. Those from
    CLUE's code are pre-trained, have a long round 0 without any target label, and short
    rounds after it: as many labels in all, since the first ones are bought by
    acquisition too.

    Args:
      config: after `apply`.
      alone: iterations where there is one round only.
      pretrain: of pre-training, for the methods that start from it.
      unsupervised: of round 0 of those from CLUE's code.
      short: of their later rounds.
    """
    train, single = config.train, config.policies.single
    if config.policy == "fixed":
        train.steps = alone
    if config.method == "adda":
        config.pretrain.steps = pretrain
    if config.method in ("aada", "clue_mme"):
        config.pretrain.steps = pretrain
        train.steps, train.first_steps = short, unsupervised
        single.purchases += single.initial // single.per_round
        single.initial = 0
    return config
