"""HTML pages from templates: escaped, and allowed to load and run nothing else.

Jinja2 is imported where it is used, so that commands start sooner.
"""

import base64
import functools
import hashlib
import importlib.resources
import re
from typing import TYPE_CHECKING, Any

from dact_jax import errors
from dact_jax.reports.sections.content import Table

if TYPE_CHECKING:
    import jinja2
    import markupsafe

_NUMBER = re.compile(
    r"[-+]?\d[\d.]*(e[-+]?\d+)?( %)?( ± [\d.]+)?|-"
)  # as cells show them
_PACKAGE, _FOLDER = "dact_jax.reports.page", "templates"


def render(name: str, *, script: str = "", **values: Any) -> str:
    """A page.

    Args:
      name: of the template, such as "report.html".
      script: name of the file of its script; "" for none.
      **values: what the template shows. Texts are escaped, and characters that cannot
        be printed are shown as escapes.
    """
    from markupsafe import Markup

    style = _source("style.css")
    code = _source(script) if script else ""
    page = _environment().get_template(name)
    return page.render(
        style=Markup(style),
        script=Markup(code),
        policy=policy(style, code),
        **values,
    )


def numeric_columns(table: Table) -> set[int]:
    """The columns of a table that hold numbers, and nothing else."""
    return {
        number
        for number, column in enumerate(zip(*table.rows, strict=True))
        if all(_NUMBER.fullmatch(str(cell)) for cell in column)
    }


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy that allows this style and script, and `data:`."""
    scripts = f"script-src {_digest(script)}; " if script else ""
    return (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; {scripts}"
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _environment() -> "jinja2.Environment":
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, _FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["numeric_columns"] = numeric_columns
    made.filters["units"] = _units
    made.filters["breakable"] = _breakable
    return made


def _printable(value: Any) -> Any:
    """A value as it is shown: names of files may hold anything."""
    if isinstance(value, str) and not hasattr(value, "__html__"):  # no markup
        return "\n".join(map(errors.printable, value.split("\n")))
    return value


def _units(text: str) -> "markupsafe.Markup":
    """A sentence in which a number is never apart from its %."""
    import markupsafe

    escaped = str(markupsafe.escape(_printable(text)))
    return markupsafe.Markup(re.sub(r"(?<=\d) %", "&nbsp;%", escaped))


def _breakable(name: str) -> "markupsafe.Markup":
    """A name of a file that may be broken after / and _, where it has no blank."""
    import markupsafe

    escaped = str(markupsafe.escape(_printable(name)))
    return markupsafe.Markup(re.sub(r"([/_])(?=\w)", r"\1<wbr>", escaped))


@functools.cache
def _source(name: str) -> str:
    place = importlib.resources.files(_PACKAGE) / _FOLDER / name
    return place.read_text(encoding="utf-8")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
