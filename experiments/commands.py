"""The command line of an experiment: its flags, --help, and errors of one sentence.

An experiment is a module with a `main` that `command` decorates. The module's docstring
is what --help shows first. The flags are not absl's global ones, so many experiments
can be imported into one process.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from dact_jax import cli, errors

_HELP = {"help", "helpshort", "helpfull", "h", "?"}


class Flag(NamedTuple):
    define: Callable[..., Any]  # such as flags.DEFINE_string
    name: str
    default: Any  # None: the flag is required
    about: str
    options: Mapping[str, Any] = {}


def text(name: str, default: str | None, about: str) -> Flag:
    """A flag with a string, such as a path."""
    return Flag(flags.DEFINE_string, name, default, about)


def integer(name: str, default: int, about: str, *, least: int = 1) -> Flag:
    """A flag with an integer that is at least `least`."""
    return Flag(flags.DEFINE_integer, name, default, about, {"lower_bound": least})


def number(name: str, default: float, about: str) -> Flag:
    """A flag with a positive number."""
    return Flag(flags.DEFINE_float, name, default, about, {"lower_bound": 0.0})


def choice(name: str, default: str, valid: Sequence[str], about: str) -> Flag:
    """A flag with one of several words."""
    return Flag(flags.DEFINE_enum, name, default, about, {"enum_values": list(valid)})


def words(name: str, default: Sequence[str], about: str) -> Flag:
    """A flag with words that commas separate."""
    return Flag(flags.DEFINE_list, name, list(default), about)


def switch(name: str, about: str) -> Flag:
    """A flag that is off by default."""
    return Flag(flags.DEFINE_bool, name, False, about)


def command(
    doc: str | None, *flags_: Flag
) -> Callable[[Callable[[flags.FlagValues], None]], Callable[[Sequence[str]], None]]:
    """Decorates the `main` of an experiment, which takes the values of its flags.

    The decorated function takes the program's name and its arguments. --help prints
    `doc` and the flags, and exits with code 0 before any work. An error that the user
    can correct is printed as one sentence, and the exit code is 2.

    Args:
      doc: the docstring of the module.
      flags_: the flags of the experiment.
    """

    def decorate(
        work: Callable[[flags.FlagValues], None],
    ) -> Callable[[Sequence[str]], None]:
        @functools.wraps(work)
        def main(argv: Sequence[str]) -> None:
            values = _define(flags_)
            given = [a.lstrip("-") for a in argv[1:] if a.startswith("-")]
            if _HELP & {*given}:
                print(f"{doc}\n{values.get_help()}")
                sys.exit(0)
            try:
                _parse(values, argv)
                work(values)
            except Exception as error:
                cli.exit_with(error)

        return main

    return decorate


def selected(value: str, known: Sequence[str], flag: str) -> list[str]:
    """The names in a flag's value, which semicolons separate; "" means all.

    Args:
      known: the valid names, in order.
      flag: the flag's name, for the error message.

    Raises:
      InputError: a name is not valid.
    """
    names = [name.strip() for name in value.split(";") if name.strip()]
    for name in names:
        if name not in known:
            suggestion = errors.suggestion(name, known)
            raise errors.InputError(f"--{flag} has no {name!r}; {suggestion}")
    return names or list(known)


def _define(flags_: Sequence[Flag]) -> flags.FlagValues:
    values = flags.FlagValues()
    for flag in flags_:
        flag.define(
            flag.name,
            flag.default,
            help=flag.about,
            flag_values=values,
            required=flag.default is None,
            **flag.options,
        )
    return values


def _parse(values: flags.FlagValues, argv: Sequence[str]) -> None:
    _, *arguments = values(argv)
    if arguments:
        raise errors.InputError(f"{arguments[0]!r} is not a flag: write --name=value.")
