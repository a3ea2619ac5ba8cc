"""Named points of (method x policy x acquisition), the rows of the papers' tables."""

import ml_collections

from dact_jax import errors, plugins

PRESETS = {
    "source_only": {"method": "source_only", "policy": "fixed"},
    "mme": {"method": "mme", "policy": "fixed"},
    "s_rt": {"method": "mme", "policy": "single", "acquisition": "random"},
    "s_act": {"method": "mme", "policy": "single", "acquisition": "k_center"},
}
_STAR = "_star"


def apply(
    config: ml_collections.ConfigDict, task: str, arg: str
) -> ml_collections.ConfigDict:
    """The config with a preset's fields, named "<task>_<preset>".

    `source_only` uses no target label. Only `mme` uses data.shots_per_class, or the
    labelled list. A name that ends in "_star" is transductive.

    Args:
      config: with the fields that the task's presets share.
      task: such as "digits".
      arg: "preset=<name>", what follows the colon of --config.

    Raises:
      InputError: another argument, or no such preset.
    """
    key, _, name = arg.partition("=")
    if key != "preset":
        raise errors.InputError(
            f"the argument of the config must be preset=<name>, not {arg!r}."
        )
    stars = tuple(preset + _STAR for preset in PRESETS if preset != "source_only")
    base = name.removesuffix(_STAR) if name in stars else name
    if base not in PRESETS:
        raise errors.InputError(
            f"there is no preset {name!r}; {plugins.nearest(name, (*PRESETS, *stars))}"
        )
    config.update(PRESETS[base])
    config.name = f"{task}_{name}"
    config.data.transductive = name in stars
    if base != "mme":
        config.data.shots_per_class = 0
    return config
