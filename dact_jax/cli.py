"""`dact-jax <command> ...`: the same as `python -m dact_jax.<command> ...`."""

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import flags

from dact_jax import errors

# Name of a module with `main(argv)` -> what it does.
COMMANDS = {
    "main": "run an experiment, or resume it: --config=configs/digits.py",
    "select": "pick the rows of an array to label next: --features=x.npy --budget=100",
}
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


def exit_with(error: Exception) -> NoReturn:
    """Ends the program with one sentence and exit code 2.

    Raises:
      Exception: the error itself, if a user cannot correct it.
    """
    mistake = isinstance(error, flags.Error)
    sentence = str(error) if mistake else errors.sentence(error)
    if sentence is None:
        raise error
    print(f"dact_jax: {sentence}", file=sys.stderr)
    sys.exit(2)


def listing() -> str:
    """The commands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  dact-jax {name:{width}}  {does}" for name, does in COMMANDS.items()]
    return "\n".join(
        ["Commands (each answers --help):", *lines, "Documentation: README.md, docs/"]
    )
