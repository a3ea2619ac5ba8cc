"""What README and docs/ say is true: links, commands, examples, the import order."""

import ast
import functools
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dact_jax
from dact_jax import plugins
from dact_jax.configuration import files
from dact_jax.types import Acquisitions, Evidence, Lab
from tests import pages, test_layers, toy

TEXTS = {str(path): path.read_text(encoding="utf-8") for path in pages.PAGES}
COMMANDS = [(page, c) for page, text in TEXTS.items() for c in pages.commands(text)]
ARCHITECTURE = TEXTS["docs/architecture.md"]
SWITCHES = (
    *("page", "table", "overwrite", "operations", "train", "dry_run"),
    *("probabilities", "calibrate"),
)
OPTIONS = ("methods", "acquisitions", "policies")
ENDINGS = ("json", "safetensors", "onnx", "stablehlo")

# Asks each command for --help, one after another, and prints the flags that it lists.
LISTING = """
import contextlib, importlib, io, json, re, sys

listing = {}
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    if not hasattr(module, "main"):
        module = importlib.import_module(f"{name}.__main__")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        try:
            module.main([name, "--help"])
        except SystemExit as stop:
            assert not stop.code, f"{name} --help exits with {stop.code}"
    text = shown.getvalue()
    assert module.__doc__ in text, f"{name} --help does not say what it does"
    # The docstring quotes flags, which need not exist.
    listing[name] = re.findall(
        r"--(?:\\[no\\])?(\\w+)", text.replace(module.__doc__, "")
    )
    assert listing[name], f"{name} --help shows no flag"
print(json.dumps(listing))
"""


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_anchors_exist(page):
    for _, target in pages.links(TEXTS[page]):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = pathlib.Path(page).parent / name if name else pathlib.Path(page)
        assert path.exists(), target
        if anchor:
            assert anchor in pages.anchors(path.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", [page for page in TEXTS if page != "README.md"])
def test_a_page_begins_with_its_title_and_one_line_about_it(page):
    title, blank, summary, after = TEXTS[page].splitlines()[:4]
    assert re.fullmatch(r"# \S.*", title)
    assert (blank, after) == ("", "")
    assert re.match(r"\w", summary)
    assert summary.endswith(".")


@pytest.mark.parametrize("page", TEXTS)
def test_every_file_and_test_that_is_named_exists(page):
    # The first cell of a table's row may name a field, such as `test_accuracy`.
    text = re.sub(r"^\| `\w+` \|", "|", TEXTS[page], flags=re.MULTILINE)
    for name in re.findall(r"`((?:\w+/)*test_\w+)`", text):
        assert pathlib.Path("tests", f"{name}.py").is_file(), name
    for name in re.findall(
        r"(?:configs|experiments|dact_jax)/[\w/]+\.\w+", TEXTS[page]
    ):
        assert pathlib.Path(name).is_file(), name


@pytest.fixture(scope="module")
def known_flags():
    """Module -> names of its flags, of every command that a page names."""
    named = {command.program for _, command in COMMANDS}
    ours = "dact_jax.", "experiments.", "tests."
    modules = sorted(module for module in named if module.startswith(ours))
    done = subprocess.run(
        [sys.executable, "-c", LISTING, *modules],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_command_starts(known_flags):
    for page, (program, arguments) in COMMANDS:
        where = f"{page}: {program} {' '.join(arguments)}"
        if program == "pip":
            _check_install(arguments, where)
        elif program == "venv":
            assert arguments == [".venv"], where
        elif program == "pytest":
            assert arguments == [], where
        else:
            assert program in known_flags, where
            if program == "dact_jax.compare":  # takes folders, too
                arguments = [word for word in arguments if word.startswith("-")]
            _check_flags(known_flags[program], arguments, where)


def _check_install(arguments, where):
    command, *packages = (word for word in arguments if word != "-e")
    assert command == "install", where
    with open("pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for package in packages:
        name, _, extra = package.rstrip("]").partition("[")
        if name in (".", "dact_jax"):
            assert not extra or {*extra.split(",")} <= {*extras}, where


def _check_flags(known, arguments, where):
    config = None
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        assert argument.startswith("--"), where
        if name == "help":
            continue
        if name == "config":
            config = files.load(value)
        if name.startswith("config."):
            files.override(config, name.removeprefix("config."), _literal(value))
        else:
            assert name in known, where
            assert equals or name in SWITCHES, where


def _literal(value):
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def test_every_option_that_is_named_exists():
    """Such as `policies.dual.trial`, or `dual.trial` in docs/protocol.md."""
    config = files.load("tiny")
    families = {name: family for family in OPTIONS for name in plugins.names(family)}
    for page, text in TEXTS.items():
        for family, name, option in re.findall(
            r"`(?:--config\.)?(?:(methods|acquisitions|policies)\.)?(\w+)\.(\w+)[`=]",
            text,
        ):
            if option in ENDINGS:
                continue  # a file, such as model.json
            if family:
                assert option in config[family][name], f"{page}: {name}.{option}"
            elif name in families:
                known = plugins.options(families[name], name)
                assert option in known, f"{page}: {name}.{option}"
            elif name in config:
                assert option in config[name], f"{page}: {name}.{option}"


@pytest.mark.parametrize("page", TEXTS)
def test_python_compiles_and_names_what_dact_jax_has(page):
    for block in pages.blocks(TEXTS[page], "python"):
        for node in ast.walk(ast.parse(block.text)):
            name = node.value if isinstance(node, ast.Attribute) else None
            if isinstance(name, ast.Name) and name.id == "dact_jax":
                assert node.attr in dir(dact_jax)


def _example(heading):
    """The names that the example below a heading of docs/architecture.md defines."""
    _, section = ARCHITECTURE.split(f"\n## {heading}\n")
    names: dict = {}
    exec(pages.blocks(section.split("\n## ")[0], "python")[0].text, names)
    return names


def test_the_example_of_a_method(key):
    method = _example("Add a method")["make"](3, weight=0.5)
    network = toy.network(method, toy.Flat())
    variables = network.init(key, (16, 16, 1))
    values = []
    for loss in method.losses:
        compiled = jax.jit(functools.partial(loss, network))
        value, (variables, metrics) = compiled(
            variables, toy.batch(key), key, jnp.float32(0)
        )
        values.append(float(value))
    assert 0 < metrics["entropy"] <= 0.5 * np.log(3)
    assert np.isfinite(values).all()
    assert jax.tree.leaves(variables.params)


LOGITS = np.array([[5, 0], [0.2, 0], [0, 9], [0.1, 0]], np.float32)


def test_the_example_of_an_acquisition(key):
    acquire = _example("Add an acquisition")["make"]()
    evidence = Evidence(np.zeros((4, 2), np.float32), {"classifier": LOGITS}, None)
    picked = acquire(evidence, np.array([False, False, False, True]), 2, key)
    assert picked.row.tolist() == [1, 0]
    assert picked.row.dtype == np.int32
    assert picked.score.dtype == np.float32


def test_the_example_of_a_policy(key):
    labelled = np.array([True, False, False, False])
    buyable = np.array([True, True, True, False])
    acquire = plugins.load("acquisitions", "entropy")
    policy = _example("Add a policy")["make"](
        Acquisitions(acquire, acquire), labelled, per_round=1
    )
    evidence = Evidence(np.zeros((4, 2), np.float32), {"classifier": LOGITS}, None)
    lab = Lab(sweep=lambda variables, domain: evidence, buyable=buyable)
    first = policy.init(lab, 5, 4, key)
    assert first.picked["target"].row.tolist() == [0]
    second = policy.select(lab, None, first.pools, first.memory, key)
    assert second.picked["target"].row.tolist() == [1]
    assert second.pools.target.tolist() == [True, True, False, False]
    assert second.pools.source.all()
    assert (policy.num_rounds, policy.num_selections) == (2, 1)


def test_the_example_of_a_data_source():
    load = _example("Add a data source")["load"]
    data = load(size=16, channels=3, per_class=7)
    assert data.image.shape == (14, 16, 16, 3)
    assert data.image.dtype == np.uint8
    assert data.label.tolist() == 7 * [0] + 7 * [1]
    assert len(set(data.id)) == 14
    # Both shapes are as wide, so a square has more white in it: 4 / pi times.
    white = (data.image[:, ..., 0] > 127).mean((1, 2))
    assert 1.1 < white[7:].mean() / white[:7].mean() < 1.5
    np.testing.assert_array_equal(
        load(size=16, per_class=7).image, load(size=16, per_class=7).image
    )


def test_the_import_order_is_that_of_the_code():
    (picture,) = (b.text for b in pages.blocks(ARCHITECTURE, "text"))
    floors = [re.split(" {3,}", line)[0] for line in picture.splitlines()]
    place = {name: i for i, floor in enumerate(floors) for name in floor.split()}
    rows = [(row.split(), other.split()) for row, other in test_layers.LAYERS.items()]
    assert set(place) == {name for names, _ in rows for name in names}
    for names, allowed in rows:
        for name, other in itertools.product(names, allowed):
            if name != other:
                assert place[other] >= place[name] + (other not in names), name


def test_every_folder_is_described():
    folders = [p.parent.name for p in pathlib.Path("dact_jax").glob("*/__init__.py")]
    for folder in folders:
        assert f"| `{folder}` |" in ARCHITECTURE, folder
        assert f"  {folder}/ " in TEXTS["README.md"], folder
