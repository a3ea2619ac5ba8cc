"""Fingerprints of the code that a row depends on: the column `code` of a row.

A fingerprint is of a module and all that it imports, without comments, docstrings and
blank lines, so it changes with every change that may change a number, and with some
that do not. Modules that only show, ask or keep rows are left out. What a row depends
on besides, its data and the versions of packages, it does not tell.
"""

import ast
import functools
import hashlib
import io
import pathlib
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dact_jax.configuration import defaults
from dact_jax.configuration.defaults import Config
from experiments import machine

_PACKAGES = ("dact_jax", "experiments", "configs")
_LEFT_OUT = tuple(  # they show, ask or keep; no number depends on them
    [f"dact_jax.{name}" for name in ("reports", "labelling", "queries", "exporting")]
    + [f"dact_jax.{name}" for name in ("prediction", "cli", "signals")]
    + [f"experiments.{name}" for name in ("commands", "published", "runs", "machine")]
    + [f"experiments.{name}" for name in ("fingerprints", "choices_page")]
    + [f"experiments.acquisitions_{name}" for name in ("page", "stats")]
)
_RUN = (  # what every run does
    "dact_jax.configuration.build",
    "dact_jax.rounds.actions",
    "dact_jax.rounds.loop",
    "dact_jax.rounds.pretraining",
    "dact_jax.methods.source_only",  # of pre-training
    "dact_jax.policies.fixed",
)

# Tables of times and of memory, which no second run repeats -> their modules.
TIMED: Mapping[str, Sequence[str]] = {
    "cpu_step": (
        "experiments.bench_cpu_step",
        "experiments.cpu_step_process",
        "experiments.cpu_step_torch",
    ),
    "herding": ("experiments.bench_herding", "experiments.herding_process"),
    "input": (
        "experiments.bench_input",
        "experiments.input_process",
        "experiments.input_step",
        "experiments.input_memory",
    ),
    "pool_scale": ("experiments.pool_scale", "experiments.pool_scale_process"),
    "selection": ("experiments.bench_selection", "experiments.selection_process"),
    "selection_pairs": ("experiments.selection_pairs", "experiments.selection_process"),
    "startup": ("experiments.startup", "experiments.startup_watch", "dact_jax.main"),
}


def of_timed(name: str) -> str:
    """The fingerprint of a table of times, experiments/results/<name>.json."""
    return of(TIMED[name])


def of_run(config: Config, spec: str, module: str) -> str:
    """The fingerprint of a run, with the plug-ins that its config names.

    Args:
      config: of the run.
      spec: its config file, such as "configs/digits.py:preset=alda" or "tiny".
      module: that makes the row, such as "experiments.choices".
    """
    return of(modules_of_run(config, spec, module))


def modules_of_run(config: Config, spec: str, module: str) -> list[str]:
    """The modules that a run begins with: `of` follows their imports."""
    used = defaults.in_use(config)
    plugins = [f"dact_jax.{family}.{name}" for family in used for name in used[family]]
    file = pathlib.PurePath(spec.partition(":")[0]).stem
    return [module, f"configs.{file}", *_RUN, *plugins]


def of(modules: Iterable[str], root: pathlib.Path = machine.ROOT) -> str:
    """16 hexadecimal digits of the modules and of all that they import.

    Args:
      modules: dotted names; those that the tree lacks are left out.
      root: of the tree.
    """
    return _of(tuple(modules), root)


@functools.cache
def _of(modules: tuple[str, ...], root: pathlib.Path) -> str:
    waiting, seen = [*modules], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen and _file(root, name) is not None:
            seen.add(name)
            waiting += _read(root, name)[1]
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name}\n{_read(root, name)[0]}\n".encode())
    return digest.hexdigest()[:16]


def exists(module: str, root: pathlib.Path) -> bool:
    """Whether a tree has a module."""
    return _file(root, module) is not None


def _file(root: pathlib.Path, name: str) -> pathlib.Path | None:
    place = root.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _read(root: pathlib.Path, name: str) -> tuple[str, tuple[str, ...]]:
    """The code of a module, and the modules of `_PACKAGES` that it imports."""
    path = _file(root, name)
    assert path is not None
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    return code(text, tree), tuple(_imports(root, tree))


def _imports(root: pathlib.Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if _file(root, name) else node.module for name in inner]
        for name in found:
            inside = any(f"{name}.".startswith(f"{out}.") for out in _LEFT_OUT)
            if name.partition(".")[0] in _PACKAGES and not inside:
                yield name


def code(text: str, tree: ast.Module | None = None) -> str:
    """The text of a module without comments, docstrings and blank lines."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            number, column = token.start
            lines[number - 1] = lines[number - 1][:column]
    for node in ast.walk(tree or ast.parse(text)):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
            continue
        first = body[0].value
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            assert first.end_lineno is not None
            for number in range(first.lineno, first.end_lineno + 1):
                lines[number - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())
