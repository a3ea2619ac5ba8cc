"""`python -m dact_jax.label --workdir=DIR`: answer a run's questions in the browser."""

import os

# XLA's own log, such as its alarm about slow compilation, is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before jax is imported

import functools
import importlib.util
import pathlib
import secrets
import shlex
import sys
import webbrowser
from collections.abc import Sequence

from absl import flags

from dact_jax import cli, errors, paths, signals
from dact_jax.labelling import session as sessions, training
from dact_jax.queries import query as queries

_HOST, _PORT = "127.0.0.1", 8000
_NEEDED = ("starlette", "uvicorn")
_CONFIG = "config.yaml"


def run(
    folder: pathlib.Path,
    *,
    host: str = _HOST,
    port: int = _PORT,
    train: bool = False,
    open_browser: bool = False,
    programs: str = "",
) -> None:
    """Shows the page until a signal ends the process.

    Args:
      folder: of the run, which has a query.
      host: name or address to listen at; a token is needed unless only this machine
        reaches it.
      port: 0 for any free one.
      train: whether the page starts the next round once all is answered.
      open_browser: whether to open the page in this machine's browser.
      programs: folder of compiled programs for `train`, as in `dact_jax.run`.

    Raises:
      InputError: the folder, the host or the port is wrong, or a package is missing.
    """
    require()
    from dact_jax.labelling import guard, listening, server

    check(folder, train=train)
    session = sessions.Session(folder)
    session.state()  # a damaged file is told here, not in the browser
    workdir = f"--workdir={folder}"
    trainer = training.Trainer(
        _command(workdir, programs) if train else [],
        session.is_answered,
        session.version,
        ahead=True,
    )
    listener = listening.bound(host, port)
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(24) if listening.is_open(host) else ""
    shown = shlex.join(["python", "-m", "dact_jax.main", workdir])
    app = server.make_app(
        session, trainer, guard.rules(host, token, port), command=shown
    )

    def last_words() -> str:
        saved = "; the round that ran has been stopped" if trainer.stop() else ""
        return f"the page is closed{saved}; every answer is in {folder / 'labels.csv'}."

    with signals.handled(last_words), listening.served(app, listener) as thread:
        addresses = listening.addresses(host, port, token)
        print(f"Label the images at {' or '.join(addresses)}", flush=True)
        print("Ctrl-C closes the page; no answer is lost.", flush=True)
        trainer.prepare()
        trainer.arm()
        if open_browser:
            webbrowser.open(addresses[-1])
        while thread.is_alive():
            thread.join(1.0)


def _command(workdir: str, programs: str) -> list[str]:
    """What trains the next round, and begins when a line arrives."""
    command = [sys.executable, "-m", "dact_jax.warm_start", workdir]
    if programs:
        from dact_jax import compilation_cache  # it imports jax, which is slow

        compilation_cache.check(programs)
        command.append(f"--{compilation_cache.FLAG}={programs}")
    return command


def require() -> None:
    """Checks that what the page needs is installed.

    Raises:
      InputError: it is not.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.InputError(
            f"the labelling page needs {' and '.join(missing)}: "
            "pip install 'dact_jax[label]'"
        )


def check(folder: pathlib.Path, *, train: bool) -> None:
    """Checks that there is something to answer in a folder.

    Raises:
      InputError: it is not the folder of a run, or the run has asked nothing yet.
    """
    if not folder.is_dir():
        raise errors.InputError(f"there is no folder {folder} (--workdir).")
    if queries.written(folder):
        return
    if not (folder / _CONFIG).is_file():
        raise errors.InputError(
            f"{folder} is not the folder of a run: it has no {_CONFIG}; give the "
            "--workdir of python -m dact_jax.main."
        )
    if not train:
        raise errors.InputError(
            f"the run in {folder} has asked nothing yet: run python -m dact_jax.main "
            f"--workdir={shlex.quote(str(folder))} until it asks, or give --train."
        )


def _define_flags() -> flags.FlagValues:
    """New flags for each call, which keep no value of an earlier one."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    text("workdir", "", "Folder of the run whose questions are answered.")
    text("host", _HOST, "Where to listen; others than this machine need a token.")
    flags.DEFINE_integer(
        "port",
        _PORT,
        "Port to listen at; 0: any free one.",
        lower_bound=0,
        upper_bound=65535,
        flag_values=values,
    )
    switch("open", False, "Open the page in the browser.")
    switch("train", False, "Start the next round once all is answered.")
    cli.define_compilation_cache(values)
    switch("help", False, "Show this.")
    return values


def main(argv: Sequence[str]) -> None:
    """Runs the command; a user's error ends it with one sentence and exit code 2."""
    cli.print_anything()
    values = _define_flags()
    try:
        if not cli.parse(values, argv, str(__doc__)):
            return
        if not values.workdir:
            raise errors.InputError(
                "give --workdir=, the folder of a run that asks for labels."
            )
        run(
            pathlib.Path(paths.expanded(values.workdir, "--workdir")),
            host=values.host,
            port=values.port,
            train=values.train,
            open_browser=values.open,
            programs=values.compilation_cache,
        )
    except Exception as error:
        cli.exit_with(error)


if __name__ == "__main__":
    main(sys.argv)
