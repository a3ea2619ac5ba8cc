"""`dact-jax <command> ...`: the same as `python -m dact_jax.<command> ...`."""

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import flags, logging

from dact_jax import errors

# Name of a module with `main(argv)` -> what it does.
COMMANDS = {
    "compare": "compare methods over seeds: RUN RUN ... --output=compare.html",
    "main": "run an experiment, or resume it: --config=configs/digits.py",
    "export": "write a run's network for other programs: --workdir=DIR --output=DIR",
    "embed": "turn images into vectors: --images=photos --output=x.npz",
    "label": "answer a run's questions in the browser: --workdir=DIR",
    "predict": "label images by a run's network: --workdir=DIR --images=photos ...",
    "select": "pick the rows of an array to label next: --features=x.npy --budget=100",
}
_COMPILATION_CACHE = (
    "Folder of compiled programs, for later starts; by default one in your caches; "
    "'none': keep none."
)
_HELP = ("-h", "--help", "-help", "help")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; without one it lists the commands.

    Args:
      argv: the program's name, the command, and its flags; `sys.argv` by default.
    """
    program, *arguments = sys.argv if argv is None else argv
    if not arguments or arguments[0] in _HELP:
        print(listing())
        return
    name, *options = arguments
    if name not in COMMANDS:
        near = errors.suggestion(name, COMMANDS)
        exit_with(errors.InputError(f"there is no command {name!r}; {near}"))
    module = importlib.import_module(f"dact_jax.{name}")
    module.main([f"{program} {name}", *options])


def quiet_libraries() -> None:
    """Logs warnings only, each as its sentence alone."""
    logging.set_verbosity(logging.WARNING)  # jax logs every backend that it lacks
    logging.get_absl_handler().setFormatter(None)


def exit_with(error: Exception, *, then: str = "") -> NoReturn:
    """Ends the program with one sentence and exit code 2.

    Args:
      then: what to do next, a clause for the end of the sentence.

    Raises:
      Exception: the error itself, if a user cannot correct it.
    """
    mistake = isinstance(error, flags.Error)
    sentence = str(error) if mistake else errors.sentence(error)
    if sentence is None:
        raise error
    if then:
        sentence = f"{sentence.rstrip('.')}; {then}."
    with contextlib.suppress(OSError):  # nobody reads it, or its file is full
        print(f"dact_jax: {sentence}", file=sys.stderr, flush=True)
    _discard_output()
    sys.exit(2)


def _discard_output() -> None:
    """Lets the program end without a word if what it printed cannot be written."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def print_anything() -> None:
    """Lets names be printed that the terminal's encoding lacks: they are escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # it is another thing in a notebook
        sys.stdout.reconfigure(errors="backslashreplace")


def parse(
    values: flags.FlagValues,
    argv: Sequence[str],
    about: str,
    *,
    others: list[str] | None = None,
) -> bool:
    """Reads the flags of a command that has a flag --help.

    Args:
      values: its flags; they hold what was given afterwards.
      about: its docstring, for --help.
      others: takes the words that are no flags; None: there may be none.

    Returns:
      Whether to go on: False once the help is printed.

    Raises:
      InputError: a value is of a wrong kind, or a word is no flag.
      flags.Error: there is no such flag.
    """
    try:
        _, *arguments = values(argv)
    except flags.IllegalFlagValueError as error:
        raise errors.InputError(_illegal_value(error, values)) from None
    if values.help:
        print(f"{about}\n{values.get_help()}")
        return False
    if others is not None:
        others += arguments
    elif arguments:
        raise errors.InputError(f"{arguments[0]!r} is not a flag: write --name=value.")
    return True


def _illegal_value(error: flags.IllegalFlagValueError, values: flags.FlagValues) -> str:
    """One sentence that says what is valid; absl's does not for a malformed integer."""
    assignment = str(error).removeprefix("flag ").partition(": ")[0]
    name = assignment.removeprefix("--").partition("=")[0]
    valid = values[name].parser.syntactic_help
    return f"{assignment} must be {valid}." if valid else f"{error}."


def define_compilation_cache(values: flags.FlagValues = flags.FLAGS) -> None:
    """The flag of every command that compiles."""
    flags.DEFINE_string("compilation_cache", "", _COMPILATION_CACHE, flag_values=values)


def listing() -> str:
    """The commands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  dact-jax {name:{width}}  {does}" for name, does in COMMANDS.items()]
    return "\n".join(
        ["Commands (each answers --help):", *lines, "Documentation: README.md, docs/"]
    )
