"""`python -m dact_jax.label` as a user calls it: what it refuses, and how it ends."""

import errno
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request

import pytest

from dact_jax import errors, label
from tests.labelling import asking


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        label.main(["label", *arguments])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("dact_jax: ")


def test_the_extra_is_named_where_it_lacks(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(label, "_NEEDED", ("starlette_none", "os", "uvicorn_none"))
    asking.write(tmp_path)
    assert refusal(capsys, f"--workdir={tmp_path}") == (
        "the labelling page needs starlette_none and uvicorn_none: "
        "pip install 'dact_jax[label]'"
    )


def test_the_tests_install_what_the_extra_does():
    with open("pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert set(extras["label"]) < set(extras["dev"])
    names = {re.match(r"\w+", package)[0] for package in extras["label"]}
    assert names == {*label._NEEDED}


@pytest.fixture
def installed():
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")


@pytest.fixture
def never_served(installed, monkeypatch):
    """What should be refused and is not fails, where it would wait for a signal."""
    from dact_jax.labelling import listening

    monkeypatch.setattr(listening, "served", None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "give --workdir="),
        (("--workdir=none",), "there is no folder none (--workdir)."),
        (("--workdir=empty",), "empty is not the folder of a run: it has no config.y"),
        (("--workdir=run",), "the run in run has asked nothing yet: run python -m da"),
        (("--workdir=~nobody-of-that-name",), "there is no user 'nobody-of-that-name"),
        (("--workdir=asked", "--port=x"), "--port"),
        (("--workdir=asked", "--port=70000"), "--port"),
        (("--workdir=asked", f"--host={64 * 'x'}.example"), "there is no such host"),
        (("--workdir=asked", "--host="), "--host= is empty"),
        (("--workdir=asked", "more"), "'more' is not a flag"),
        (("--workdir=damaged",), "query.json is not a query"),
        (("--workdir=table",), "labels.csv must begin with"),
    ],
)
def test_a_mistake_is_one_sentence(
    capsys, monkeypatch, tmp_path, never_served, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    for name in ("asked", "damaged", "table"):
        asking.write(tmp_path / name, count=1)
    (tmp_path / "damaged/queries/round_03/query.json").write_text('{"items": 1}')
    (tmp_path / "table/labels.csv").write_text("x\ny\n")
    assert sentence in refusal(capsys, *arguments)


def test_a_port_in_use_is_named_with_a_free_one(capsys, tmp_path, never_served):
    asking.write(tmp_path)
    with asking.taken() as port:
        line = refusal(capsys, f"--workdir={tmp_path}", f"--port={port}")
    found = re.fullmatch(r"port (\d+) is in use: give --port=(\d+).*", line)
    assert int(found[1]) == port
    assert int(found[2]) in {0, *range(port + 1, port + 20)}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (socket.gaierror(-2, "Name or service not known"), "there is no such host"),
        (OSError(errno.EACCES, "Permission denied"), "--port=80 needs more rights"),
        (OSError(errno.EADDRNOTAVAIL, "no"), "--host=h is no address of this machine"),
    ],
)
def test_what_the_system_refuses_is_told(monkeypatch, installed, error, sentence):
    from dact_jax.labelling import listening

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(errors.InputError, match=sentence):
        listening.bound("h", 80)


def test_a_run_that_asked_nothing_may_be_started(tmp_path):
    (tmp_path / "config.yaml").touch()
    label.check(tmp_path, train=True)
    with pytest.raises(errors.InputError, match="or give --train"):
        label.check(tmp_path, train=False)


@pytest.mark.parametrize(
    ("host", "number", "code"),
    [("127.0.0.1", signal.SIGINT, 130), ("0.0.0.0", signal.SIGTERM, 143)],
)
def test_a_signal_ends_it_with_a_sentence(tmp_path, installed, host, number, code):
    asking.write(tmp_path)
    # Whoever started the tests may ignore SIGINT.
    code_of_command = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from dact_jax import label; label.main(sys.argv)"
    )
    command = [sys.executable, "-c", code_of_command, f"--workdir={tmp_path}"]
    process = subprocess.Popen(
        [*command, "--port=0", f"--host={host}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        said = process.stdout.readline()
        assert "Ctrl-C" in process.stdout.readline()
        address = re.findall(r"http://\S+", said)[-1]
        assert ("?token=" in address) == (host == "0.0.0.0")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(address) as response:
            assert b"<title>Label images" in response.read()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    (line,) = err.strip().splitlines()
    assert line.startswith("dact_jax: the page is closed; every answer is in")


def test_pages_and_templates_are_in_the_wheel():
    """The folder of the package is packed whole; nothing excludes what is no code."""
    with open("pyproject.toml", "rb") as file:
        build = tomllib.load(file)["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["packages"] == ["dact_jax"]
    assert not {"exclude", "only-include"} & {*build, *build["targets"]["wheel"]}
    if git := shutil.which("git"):
        templates = pathlib.Path("dact_jax/reports/page/templates").iterdir()
        pages = ["dact_jax/labelling/page.html", *map(str, templates)]
        assert len(pages) > 5
        ignored = subprocess.run([git, "check-ignore", *pages], check=False)
        assert ignored.returncode != 0 or not os.path.isdir(".git")
