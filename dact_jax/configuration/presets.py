"""Presets: named combinations of method, policy and acquisition, as in the papers.

Both papers compare such combinations in the rows of their tables.
"""

from collections.abc import Mapping

from dact_jax import errors
from dact_jax.configuration.defaults import Config
from dact_jax.configuration.recipes import Recipe

# Paper 1 (S_AcT, D_AcT): target labels are bought. Each active method has a variant
# that picks at random: s_rt, rada, rda_clue.
ACTIVE: Mapping[str, Recipe] = {
    "s_rt": {"method": "mme", "acquisition": "random"},
    "s_act": {"method": "mme", "acquisition": "k_center"},
    "s_clue": {"method": "mme", "acquisition": "clue"},  # recommended: docs/results.md
    "rada": {"method": "aada", "acquisition": "random"},
    "aada": {"method": "aada", "acquisition": "aada"},
    "rda_clue": {"method": "clue_mme", "acquisition": "random"},
    "ada_clue": {"method": "clue_mme", "acquisition": "clue"},
}
# Of later papers; the acquisition chooses the first labels, too.
LATER: Mapping[str, Recipe] = {
    "eada": {"method": "eada", "acquisition": "energy"},
    "duc": {"method": "duc", "acquisition": "dirichlet"},
}
# Paper 1: source samples are chosen as well, by predicted loss or at random.
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
    "d_clue": {  # recommended: docs/results.md
        "method": "mme",
        "acquisition": "clue",
        "source_acquisition": "predicted_loss",
        "acquisitions.predicted_loss.classes": "proportional",
    },
}
# Paper 2 (ALDA + DSBN): no target labels.
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
    **{name: {"policy": "single", **fields} for name, fields in LATER.items()},
    **{name: {"policy": "dual", **fields} for name, fields in DUAL.items()},
}
STARRED = ("mme", "s_rt", "s_act")  # also transductive in paper 1
_STAR = "_star"


def apply(
    config: Config,
    task: str,
    arg: str,
    recipes: Mapping[str, Recipe],
) -> Config:
    """Sets the fields of a preset and of its method's recipe; returns the config.

    config.name becomes "<task>_<preset>". Only `mme` is given target labels
    (data.shots_per_class); presets that end in "_star" are transductive.

    Args:
      config: has the fields that all presets of the task share.
      task: such as "digits".
      arg: "preset=<name>", the argument of get_config.
      recipes: fields by method, such as `recipes.DIGITS`.

    Raises:
      InputError: there is no such preset, or the argument is another one.
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
    if base in DUAL:  # these decide by labelled validation images
        config.data.val_per_class = config.data.val_per_class or 3
    if base in UNSUPERVISED and base != "source_only":
        config.model.batch_norm = True  # as in all networks of paper 2
    return config


def arguments(arg: str, default: Mapping[str, str]) -> dict[str, str]:
    """The values in an argument such as "preset=s_act,model.encoder=resnet50".

    Args:
      default: of every name that there may be.

    Raises:
      InputError: a part is not name=value, or there is no such name.
    """
    values = dict(default)
    for part in arg.split(",") if arg else ():
        name, equals, value = part.partition("=")
        if not (equals and name in default):
            valid = ", ".join(f"{known}=..." for known in default)
            raise errors.InputError(
                f"the argument of the config must be preset=<name>, not {part!r}; "
                f"valid: {valid}."
            )
        values[name] = value
    return values


def with_argument(arg: str, name: str, value: object) -> str:
    """The argument of a config with one more value, for `arguments`; the last wins."""
    return f"{arg},{name}={value}" if arg else f"{name}={value}"


def budget(
    config: Config,
    *,
    initial: int,
    per_round: int,
    purchases: int,
    source_per_round: int = 0,
    source_rounds: int = 4,
) -> None:
    """Sets the label budget: the same options for the policies `single` and `dual`.

    Args:
      initial: target labels bought at random at the start.
      per_round: B_t, target labels in a purchase.
      source_per_round: B_s, source samples that D_AcT chooses in an iteration; 0: so
        many that it chooses half of the source in total.
      source_rounds: number of iterations that choose source samples.
    """
    bought = {"initial": initial, "per_round": per_round, "purchases": purchases}
    config.policies.single.update(bought)
    config.policies.dual.update(
        bought, source_per_round=source_per_round, source_rounds=source_rounds
    )


def percents(config: Config, num_images: int) -> None:
    """Sets the label budget of the presets of LATER: five times 1 % of the target.

    Args:
      config: after `lengths`; with another preset it stays as it is.
      num_images: of the target.
    """
    if _of_later_papers(config):
        config.policies.single.update(per_round=round(num_images / 100), purchases=5)


def _of_later_papers(config: Config) -> bool:
    return config.method in [fields["method"] for fields in LATER.values()]


def lists(config: Config, folder: str, source: str, target: str) -> Config:
    """Sets MME's own protocol: list files fix T_l (3 a class), T_v and T_u = test.

    Args:
      config: has the preset "mme".
      folder: of the list files.
      source: domain, as in the names of the list files.
      target: likewise.
    """
    data = config.data
    data.source = f"{folder}/labeled_source_images_{source}.txt"
    data.labelled_list = f"{folder}/labeled_target_images_{target}_3.txt"
    data.val_list = f"{folder}/validation_target_images_{target}_3.txt"
    data.unlabeled_list = f"{folder}/unlabeled_target_images_{target}_3.txt"
    data.shots_per_class = 0
    config.train.steps = 50_000
    return config


def lengths(
    config: Config,
    *,
    alone: int,
    pretrain: int,
    unsupervised: int,
    short: int,
) -> Config:
    """Sets the numbers of iterations that the method and the policy need.

    Active presets with MME keep train.steps. Those of CLUE's code (aada, clue_mme) are
    pre-trained; round 0 is long and has no target labels, later rounds are short. They
    buy as many labels in total: their first ones are picked by the acquisition, too.
    The presets of LATER do the same without pre-training.

    Args:
      config: after `apply`.
      alone: iterations of the round, where there is only one.
      pretrain: iterations of pre-training, for methods that start from it.
      unsupervised: iterations of round 0, for the presets of CLUE's code and of LATER.
      short: iterations of their later rounds.
    """
    train, single = config.train, config.policies.single
    if config.policy == "fixed":
        train.steps = alone
    if config.method == "adda":
        config.pretrain.steps = pretrain
    if config.method in ("aada", "clue_mme"):
        config.pretrain.steps = pretrain
    if config.method in ("aada", "clue_mme") or _of_later_papers(config):
        train.steps, train.first_steps = short, unsupervised
        single.purchases += single.initial // single.per_round
        single.initial = 0
    return config
