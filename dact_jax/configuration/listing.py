"""What there is to choose: configs, presets, plug-ins and fields, one line each."""

import ast
from collections.abc import Iterable, Mapping

from dact_jax import plugins
from dact_jax.configuration import defaults, files, presets
from dact_jax.configuration.defaults import Config
from dact_jax.configuration.fields import Field

_WIDEST = 30  # a longer name gets a line of its own


def text(config: Config) -> str:
    """Sections for `--help`: names, and fields with their values in a config."""
    sections = [("Configs (--config=NAME or a file of yours)", _configs())]
    sections.append(("Presets (--config=NAME:preset=PRESET)", _presets()))
    for family, field in defaults.CHOSEN.items():
        about = {name: plugins.about(family, name) for name in plugins.names(family)}
        sections.append((f"{family.capitalize()} (--config.{field}=NAME)", about))
    sections.append(("Fields (--config.FIELD=VALUE)", _fields(config)))
    return "\n\n".join("\n".join(_section(*section)) for section in sections)


def _configs() -> Mapping[str, str]:
    def about(name: str) -> str:
        tree = ast.parse(files.resolve(name).read_text(encoding="utf-8"))
        return (ast.get_docstring(tree) or "").partition("\n")[0]

    return {name: about(name) for name in files.names()}


def _presets() -> Mapping[str, str]:
    about = {
        name: ", ".join(f"{field}={value}" for field, value in recipe.items())
        for name, recipe in presets.PRESETS.items()
    }
    for name in presets.STARRED:
        about[f"{name}_star"] = f"{name}, adapted to the images that it is tested on"
    return about


def _fields(config: Config) -> Mapping[str, str]:
    values = defaults.leaves(config)
    return {
        f"{name}={values[name]!r}": _about(field)
        for name, field in defaults.declared().items()
        if name in values
    }


def _about(field: Field) -> str:
    """What a field is, and its values if they can be listed and are not named there."""
    if all(str(value) in field.about for value in field.kind.values):
        return field.about
    return f"{field.about}: {', '.join(map(str, field.kind.values))}"


def _section(title: str, about: Mapping[str, str]) -> Iterable[str]:
    """The lines of a section; a blank line where the first part of a name changes."""
    width = min(_WIDEST, max(map(len, about), default=0))
    part = ""
    yield f"{title}:"
    for name, line in about.items():
        before, part = part, name.partition("=")[0].rpartition(".")[0].partition(".")[0]
        if part != before:
            yield ""
        if len(name) > width:
            yield f"  {name}"
            yield f"  {'':{width}}  {line}"
        else:
            yield f"  {name:{width}}  {line}"
