"""Who may import whom, and what every public function owes its reader."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = "dact_jax"

# Module or package -> what it may import of dact_jax, from the ground up. A package
# stands for all modules in it, which may import one another. `dact_jax/<folder>/
# __init__.py` says what each takes and gives.
GROUND = (
    "types errors storage cells run_types keys devices processes ops kinds paths "
    "compilation_cache plugins array_files vectors labelled_rows"
)
ROOMS = "geometry models data embedding training methods acquisitions policies"
LAYERS = {
    "types errors storage cells": "",
    "run_types keys devices ops": "types errors storage",
    "processes": "types errors devices",
    "kinds paths array_files vectors labelled_rows": "types errors vectors",
    "compilation_cache plugins": "errors storage paths kinds",
    "geometry": "types errors keys devices vectors labelled_rows",
    "models": "types errors keys ops array_files",
    "data": "types errors storage cells keys paths array_files vectors labelled_rows",
    "embedding": "types errors storage devices array_files data models",
    "training": "types errors run_types keys devices processes vectors data",
    "methods": "types errors kinds keys ops models",
    "acquisitions": "types errors kinds keys ops vectors geometry",
    "policies": "types errors kinds keys",
    "queries": "types errors storage cells data",
    "rounds": f"{GROUND} data models training queries",
    "reports labelling": f"{GROUND} data training rounds queries",
    "configuration": f"{GROUND} {ROOMS} queries",
    "result preparation reporting": f"{GROUND} data models embedding rounds queries "
    "reports configuration",
    "runner classifier": f"{GROUND} models data embedding training rounds queries "
    "reports configuration preparation result reporting",
    "campaigns dry_run_plan dry_run prediction exporting": f"{GROUND} data embedding "
    "models training queries rounds reports configuration result preparation runner "
    "classifier dry_run_plan prediction",
    "cli signals": "errors run_types",
    "select_methods": f"{GROUND} {ROOMS} reports",
    "main select embed label predict export compare": f"{GROUND} {ROOMS} result runner "
    "classifier reports dry_run configuration cli signals select_methods queries "
    "labelling rounds prediction exporting",
    "__main__ warm_start": "cli main",
}
# Library -> the only modules that may import it.
OUTSIDE = {
    "flax": "types models methods configuration exporting",
    "ml_collections": "configuration main runner classifier campaigns preparation "
    "dry_run dry_run_plan exporting",
    "orbax": "rounds.formats.trees",
    "tensorflow": "",  # slow to import, and never required
    "torch": "exporting.torch_format exporting.torch_parts",  # it may be missing
}
PRINTS = "cli main select embed label predict export compare"
VAGUE = ("utils", "util", "common", "base", "helpers", "helper", "misc")
FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 280, 50, 16
FAMILIES = "methods acquisitions policies"  # of plug-ins: one more is one more file

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(root):
    """Dotted name below the package ("" is the package itself) -> syntax tree."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def inside(module, names):
    """Whether the module is one of the blank-separated names, or in such a package."""
    return any(f"{module}.".startswith(f"{name}.") for name in names.split())


def imports(tree, known):
    """(line, full name) of every imported module, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            for alias in node.names:
                full = f"{source}.{alias.name}"
                module = full.removeprefix(f"{PACKAGE}.")
                yield node.lineno, full if module in known else source


def layer_faults(name, tree, known):
    room = name.split(".")[0] if "." in name else ""  # its own folder
    allowed = next((LAYERS[layer] for layer in LAYERS if inside(name, layer)), None)
    if name == "":
        allowed = "campaigns classifier configuration geometry runner"
    if allowed is None:
        yield f"{name}: add it to LAYERS in tests/test_layers.py, with its imports"
        return
    for line, full in imports(tree, known):
        library = full.split(".")[0]
        if full.startswith("."):
            yield f"{name}:{line} imports {full}: write {PACKAGE}.… in full"
        elif library == PACKAGE and not inside(
            full[len(PACKAGE) + 1 :], f"{allowed} {room}"
        ):
            yield f"{name}:{line} imports {full}; it may import: {allowed or 'nothing'}"
        elif library in OUTSIDE and not inside(name, OUTSIDE[library]):
            yield (
                f"{name}:{line} imports {library}; only these may: "
                f"{OUTSIDE[library] or 'none'}"
            )


def print_faults(name, tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            yield f"{name}:{node.lineno} prints; only these may: {PRINTS}"


def size_faults(name, tree, num_lines):
    if num_lines > FILE_LINES:
        yield f"{name} has {num_lines} lines, more than {FILE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, Function):
            length = len(set(code_lines(node)))
            if length > FUNCTION_LINES:
                yield f"{name}:{node.lineno} {node.name} has {length} lines of code"


def code_lines(node):
    """Lines where something begins, without functions in it: those count by themselves.

    So neither docstrings and comments nor closures make a function long.
    """
    if hasattr(node, "lineno"):
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function):
            yield from code_lines(child)


def reader_faults(name, tree):
    """Public functions, and methods of public classes, without docstring or types."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{name}:{node.lineno} {node.name} has no docstring"
            yield from annotation_faults(f"{name}:{node.lineno}", node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from class_faults(f"{name}:{node.lineno}", node)


def class_faults(where, node):
    functions = [item for item in node.body if isinstance(item, Function)]
    for item in functions:
        yield from annotation_faults(f"{where} {node.name}", item)
        declared = ast.unparse(item.body[0]) == "..."  # a Protocol
        field = [ast.unparse(by) for by in item.decorator_list] == ["property"]
        hidden = item.name.startswith("_") or item.name == "setup" or field
        if not (declared or ast.get_docstring(node if hidden else item)):
            owner = "the class" if hidden else item.name
            yield f"{where} {node.name}.{item.name}: {owner} has no docstring"


def annotation_faults(where, node):
    args = node.args
    every = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
    for arg in filter(None, every):
        if arg.annotation is None and arg.arg not in ("self", "cls"):
            yield f"{where} {node.name}: {arg.arg} has no annotation"
    if node.returns is None:
        yield f"{where} {node.name}: the result has no annotation"


def report(faults):
    faults = list(faults)
    assert not faults, "\n" + "\n".join(faults)


TREES = modules(ROOT / PACKAGE)
ALSO = [
    path for name in ("configs", "experiments") for path in (ROOT / name).glob("*.py")
]


def test_imports_go_down():
    report(fault for name in TREES for fault in layer_faults(name, TREES[name], TREES))


def test_table_holds_no_module_that_is_gone():
    allowed = " ".join([*LAYERS.values(), *OUTSIDE.values(), *LAYERS, PRINTS]).split()
    report(f"{name} is in the table only" for name in {*allowed} - {*TREES})


def test_the_table_rises_from_the_ground():
    def faults():
        known = []
        for layer, allowed in LAYERS.items():
            known.append(layer)  # modules of a package may import one another
            for name in allowed.split():
                if not inside(name, " ".join(known)):
                    yield f"{layer} may import {name}, which comes after it"

    report(faults())


def test_only_commands_print():
    others = (name for name in TREES if not inside(name, PRINTS))
    report(fault for name in others for fault in print_faults(name, TREES[name]))


def test_public_functions_have_docstrings_and_types():
    report(fault for name in TREES for fault in reader_faults(name, TREES[name]))


def test_files_and_functions_are_short():
    def faults():
        for path in [*(ROOT / PACKAGE).rglob("*.py"), *ALSO]:
            text = path.read_text(encoding="utf-8")
            name = str(path.relative_to(ROOT))
            yield from size_faults(name, ast.parse(text), len(text.splitlines()))

    report(faults())


def test_no_folder_is_crowded():
    def faults():
        for folder in {path.parent for path in (ROOT / PACKAGE).glob("*/**/*.py")}:
            count = len(list(folder.glob("*.py")))
            if count > FOLDER_FILES and folder.name not in FAMILIES.split():
                yield f"{folder.name} has {count} files, more than {FOLDER_FILES}"

    assert len(LAYERS) <= 24
    report(faults())


def test_names_say_what_a_module_holds():
    names = [*TREES, *(path.stem for path in ALSO)]
    report(f"{n} is a vague name" for n in names if {*n.split(".")} & {*VAGUE})


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("acquisitions.x", "from dact_jax import ops, select", "dact_jax.select; it"),
        ("geometry.x", "import dact_jax.ops as o", ":1 imports dact_jax.ops; it may"),
        ("methods.x", "from dact_jax.training.step import Step", "training.step; it"),
        ("methods.x", "from dact_jax.training import step", "training.step; it may"),
        ("methods.x", "from dact_jax.training import *", "dact_jax.training; it may"),
        (
            "rounds.x",
            "def f():\n    from dact_jax.reports import report",
            "rounds.x:2 imports dact_",
        ),
        ("types", "from dact_jax.keys import key", "dact_jax.keys; it may import: no"),
        ("data.x", "from . import files", "imports .: write dact_jax.… in full"),
        ("data.x", "import dact_jax", "imports dact_jax; it may import: types"),
        ("", "from dact_jax import types", "types; it may import: campaigns class"),
        ("training.x", "from flax import linen", "imports flax; only these may: types"),
        ("reports.x", "import orbax.checkpoint", "orbax; only these may: rounds.form"),
        ("data.x", "import tensorflow as tf", "tensorflow; only these may: none"),
        ("policies.x", "import ml_collections", "ml_collections; only these may: con"),
        ("models.x", "from dact_jax.methods import mme", "methods.mme; it may import"),
        ("training.x", "from dact_jax.rounds import loop", "rounds.loop; it may"),
        ("configuration.x", "from dact_jax.rounds import loop", "rounds.loop; it may"),
        ("brand_new", "", "brand_new: add it to LAYERS in tests/test_layers.py"),
        ("stepping.x", "", "stepping.x: add it to LAYERS"),
    ],
)
def test_a_wrong_import_is_seen(name, source, fault):
    (found,) = layer_faults(name, ast.parse(source), TREES)
    assert fault in found


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("acquisitions.x", "from dact_jax import keys, ops\nimport jax, numpy as np"),
        ("methods.x", "from dact_jax.models import heads\nimport flax.linen as nn"),
        ("methods.x", "from dact_jax.models.heads import Cosine"),
        ("data.x", "from dact_jax.data import pixels\nimport tensorflow_datasets"),
        ("rounds.formats.trees", "import orbax.checkpoint as ocp"),
        ("", "import importlib.metadata"),
    ],
)
def test_a_right_import_is_let_through(name, source):
    assert list(layer_faults(name, ast.parse(source), TREES)) == []


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ('def f(x: int) -> int:\n    "Doc."', []),
        ("def f(x: int) -> int:\n    return x", ["f has no docstring"]),
        ('def f(x, *, y) -> int:\n    "Doc."', ["x has no ann", "y has no ann"]),
        ('def f(*a, **k) -> int:\n    "Doc."', ["a has no ann", "k has no ann"]),
        ('def f():\n    "Doc."', ["the result has no annotation"]),
        ("def _f(x):\n    return x", []),
        ("class C:\n    def f(self) -> int: ...", []),
        ("class C:\n    def f(self) -> int:\n        return 1", ["C.f: f has no doc"]),
        (
            'class C:\n    "Doc."\n    def __call__(self, x) -> int:\n        1',
            ["x has no"],
        ),
        ("class C:\n    def setup(self) -> None:\n        1", ["the class has no doc"]),
        (
            "class C:\n    @property\n    def x(self) -> int:\n        1",
            ["class has no"],
        ),
        ('class C:\n    "Doc."\n    @property\n    def x(self) -> int:\n        1', []),
        ("class _C:\n    def f(self):\n        pass", []),
    ],
)
def test_a_function_that_tells_too_little_is_seen(source, faults):
    found = list(reader_faults("m", ast.parse(source)))
    assert len(found) == len(faults)
    assert all(fault in text for fault, text in zip(faults, found, strict=True))


def test_prints_and_sizes_are_seen():
    inner = "    def g():\n" + "        # why\n\n        y = (\n1)\n" * 24
    tree = ast.parse("def f():\n    print(1)\n" + "    x = 1\n" * 49 + inner)
    assert list(print_faults("m", tree)) == [f"m:2 prints; only these may: {PRINTS}"]
    assert list(size_faults("m", tree, 281)) == [
        "m has 281 lines, more than 280",
        "m:1 f has 51 lines of code",
    ]
