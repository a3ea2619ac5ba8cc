"""The default config, and the checks of its fields by what is declared of each.

Fields are declared in `fields`, `data_fields`, `model_fields` and `training_fields`;
the options of a plug-in are declared by the plug-in.
"""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import ml_collections

from dact_jax import errors, kinds, paths, plugins
from dact_jax.configuration import data_fields, fields, model_fields, training_fields
from dact_jax.configuration.fields import Field

Config: TypeAlias = ml_collections.ConfigDict

CHOSEN = {"methods": "method", "acquisitions": "acquisition", "policies": "policy"}
PRETRAIN_METHOD = "source_only"  # whose losses pre-training minimizes
STAGE_POLICY = "fixed"  # of pre-training and the loss predictor: one round
# As absl reads them on the command line.
_SWITCH = {**dict.fromkeys(("true", "t", "1"), True)}
_SWITCH |= dict.fromkeys(("false", "f", "0"), False)
_WITHOUT_INFLUENCE = (
    *("tensorboard", "figures", "reference"),  # what is shown
    *("oracle", "queries.image_root"),  # who is asked: equal labels give equal numbers
    *("train.save_minutes", "pretrain.folder"),
    "data.max_pixels",  # the fingerprint tells what was read
    "data.cache_dir",  # kept pixels are those of decoding
)
_BEFORE = {"train.precision": "float32"}  # where it is not what the default does
_ALIASES = ("source", "target")  # short names of data.source and data.target


_SECTIONS: Mapping[str, Mapping[str, Field]] = {
    "data": data_fields.DATA,
    "model": model_fields.MODEL,
    "train": training_fields.TRAIN,
    "pretrain": training_fields.PRETRAIN,
    "loss_predictor": training_fields.LOSS_PREDICTOR,
    "eval": model_fields.EVAL,
    "queries": fields.QUERIES,
}


def get_config() -> Config:
    """The default experiment; a file in configs/ changes some of its fields.

    The options of each method, acquisition and policy are fields under its name, such
    as `methods.mme.weight`; their defaults are those of its `make`.
    """
    config = Config()
    for family in CHOSEN:
        config[family] = {name: {} for name in plugins.names(family)}
    for name, field in declared().items():
        *sections, last = name.split(".")
        place = config
        for section in sections:
            if section not in place:
                place[section] = Config()
            place = place[section]
        place[last] = field.default
    for name in _ALIASES:  # one field with two names
        config.data[name] = config.get_ref(name)
    return config


def initial() -> dict[str, Any]:
    """By dotted name, what was done before there was such a field."""
    return {name: field.default for name, field in declared().items()} | _BEFORE


def declared() -> dict[str, Field]:
    """All fields by dotted name, with default, kind and one line about each."""
    found = dict(fields.GENERAL)
    for section, inner in _SECTIONS.items():
        found |= {f"{section}.{name}": field for name, field in inner.items()}
    for family in CHOSEN:
        for name in plugins.names(family):
            options = plugins.declared(family, name)
            for option, default in plugins.options(family, name).items():
                kind, about = options[option]
                found[f"{family}.{name}.{option}"] = Field(default, kind, about)
    return found


def in_use(config: Config) -> dict[str, list[str]]:
    """The plug-ins that a run of the config uses, by family.

    Raises:
      InputError: there is no such policy.
    """
    used = {family: [config[field]] for family, field in CHOSEN.items()}
    loss_predictor = plugins.loss_predictor(config.policy)
    if loss_predictor is not None:
        used["methods"].append(loss_predictor)
        used["acquisitions"].append(config.source_acquisition)
    return used


def identity(config: Config) -> dict[str, Any]:
    """What makes two runs the same: the config without fields that have no influence.

    These are the options of plug-ins that are not in use, what is only shown, who is
    asked for labels, the folder of pre-training, and the short names of data.source
    and data.target.
    """
    values = config.to_dict()
    used = in_use(config)
    if plugins.loss_predictor(config.policy) is None:
        del values["loss_predictor"], values["source_acquisition"]
    for family, names in used.items():
        values[family] = {name: values[family].get(name, {}) for name in names}
    for field in (*_WITHOUT_INFLUENCE, *_ALIASES):
        section, _, name = field.rpartition(".")
        del (values[section] if section else values)[name]
    return {name: value for name, value in values.items() if name != "queries"}


def without_influence(config: Config) -> dict[str, Any]:
    """Values by dotted name of the fields that may differ when a run goes on."""
    values = leaves(config)
    return {name: values[name] for name in _WITHOUT_INFLUENCE}


def check(config: Config) -> None:
    """Checks names and values of all fields, each by itself.

    Raises:
      InputError: a field is not declared, with the most similar name that is; a value
        is not of its field's kind or names no plug-in; or a field with two names has
        two values.
    """
    known = declared()
    given = leaves(config)
    for field in known:
        if field not in given and field not in _ALIASES:
            raise errors.InputError(f"config lacks the field {field!r}.")
    for field, value in given.items():
        if field not in known:
            raise _unknown(field, known)
        kinds.check(field, value, known[field].kind)
    for family, field in [*CHOSEN.items(), ("acquisitions", "source_acquisition")]:
        if given[field] not in plugins.names(family):
            near = errors.suggestion(given[field], plugins.names(family))
            raise errors.InputError(f"there is no {field} {given[field]!r}; {near}")
    for name in _ALIASES:  # a config made from a dict has both
        long = given.get(f"data.{name}")
        if given.get(name, long) != long:
            raise errors.InputError(
                f"config.{name}={given[name]!r} and config.data.{name}={long!r} are "
                "one field: give both the same value."
            )


def check_text(field: str, text: str) -> None:
    """Checks the value of a field as it is written on the command line.

    Tuples are not checked: what a text means there, the parser of flags decides.

    Raises:
      InputError: the value is not of the field's kind.
    """
    known = declared().get(field)
    if known is None or not isinstance(known.default, bool | int | float | str):
        return
    value: Any = text
    if isinstance(known.default, bool):
        value = _SWITCH.get(text.lower(), text)
    elif not isinstance(known.default, str):
        value = _number(text)
    kinds.check(field, value, known.kind)


def _number(text: str) -> float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def expanded(config: Config) -> Config:
    """The config with home folders in place of "~" in every path.

    Raises:
      InputError: a path begins with the name of a user that does not exist.
    """
    copy = config.copy_and_resolve_references()
    values = leaves(copy)
    for field, known in declared().items():
        if known.kind.path and values.get(field):
            path = paths.expanded(values[field], field)
            copy.update_from_flattened_dict({field: path})
    return copy


def check_field(field: str, config: Config) -> None:
    """Checks that the config has a field of this dotted name.

    Raises:
      InputError: it has none; the message suggests the most similar name.
    """
    known = leaves(config)
    if field not in known:
        raise _unknown(field, known)


def check_value(field: str, value: Any) -> None:
    """Checks the value of a field, if a field of that name is declared.

    Raises:
      InputError: the value is not of the field's kind.
    """
    known = declared()
    if field in known:
        kinds.check(field, value, known[field].kind)


def leaves(config: Config) -> dict[str, Any]:
    """Values of the config by dotted name, such as {"train.steps": 300}."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            found |= {f"{name}.{inner}": leaf for inner, leaf in leaves(value).items()}
        else:
            found[name] = value
    return found


def _unknown(field: str, known: Collection[str]) -> errors.InputError:
    near = errors.suggestion(field, tuple(known))
    return errors.InputError(f"config has no field {field!r}; {near}")
