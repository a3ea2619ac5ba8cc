"""`python -m dact_jax.main --config=configs/digits.py`: one run, started or resumed."""

import os

# XLA's own log, such as its alarm about slow compilation, is not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before jax is imported

import itertools
import pathlib
import re
import shlex
import sys
from collections.abc import Iterator, Sequence

from absl import app, flags
from ml_collections import config_dict, config_flags

from dact_jax import classifier, cli, dry_run, errors, runner, signals
from dact_jax.configuration import defaults, files, listing
from dact_jax.processes import flags as process_flags, group, joining
from dact_jax.reports import asking, terminal
from dact_jax.reports.page import page
from dact_jax.result import Result
from dact_jax.rounds import claim

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config file or a packaged config, such as digits:preset=s_act."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the run; by default runs/<config.name>_seed<config.seed>."
)
_ANSWERS = flags.DEFINE_list(
    "answers", [], "Files with answers, besides those in the folders of the queries."
)
_ACCEPT_PARTIAL = flags.DEFINE_bool(
    "accept_partial",
    False,
    "Go on though labels are missing; those images may be asked again later.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Read everything, say what would be done and how long, and stop."
)
cli.define_compilation_cache()
_WORKDIR_GIVEN = re.compile(r"--?workdir(=|$)")
_OVERRIDE = re.compile(r"(?:no)?config\.(.+)")
_LESS_MEMORY = (
    "lower train.batch_source, train.batch_target, train.batch_unlabeled, "
    "train.eval_batch or data.size, or give less data"
)
_HELP = {"help", "helpshort", "helpfull", "helpxml", "h", "?"}


def main(argv: Sequence[str]) -> None:
    """Runs what the flags ask for; a user's mistake ends it with one sentence.

    Args:
      argv: the program's name and the flags.
    """
    if {arg.lstrip("-") for arg in argv[1:] if arg.startswith("-")} & _HELP:
        try:
            print(_help(argv))
        except errors.InputError as error:
            cli.exit_with(error)
        return
    command = " ".join(["python -m dact_jax.main", *map(shlex.quote, argv[1:])])
    app.run(lambda _: _execute(command), argv=list(argv), flags_parser=_parse)


def _execute(command: str) -> None:
    cli.quiet_libraries()
    cli.print_anything()
    given = os.path.expanduser(_WORKDIR.value)  # `run` refuses an unknown user
    config = _CONFIG.value
    if config is None:
        config = _recorded(given)
    name = f"{config.name}_seed{config.seed}"
    folder = pathlib.Path(given or pathlib.Path("runs", name))
    programs = flags.FLAGS.compilation_cache

    def next_time() -> str:
        if not group.is_first():  # the folder need not be here
            return "the same command in all processes goes on from the last checkpoint"
        try:
            goes_on = runner.has_checkpoint(config, folder)
        except OSError:
            return "the folder of the run cannot be read, so give another --workdir"
        if goes_on:
            return "the same command goes on from the last checkpoint"
        return "there is no checkpoint yet, so the same command starts anew"

    def last_words() -> str:
        words = f"stopped; {next_time()}."
        group.fail(f"it was {words}", group.LOST)
        return words

    with signals.handled(last_words) as stop:
        try:
            place = process_flags.place(dry_run=_DRY_RUN.value)
            if _DRY_RUN.value:
                lines = dry_run.run(config, folder, compilation_cache=programs)
                print("\n".join(lines), flush=True)
                return
            wait = process_flags.join_seconds()
            with joining.joined(place, _facts(config, folder), seconds=wait):
                done = runner.run(
                    config,
                    folder,
                    progress=True,
                    command=command,
                    stop=stop,
                    accept_partial=_ACCEPT_PARTIAL.value,
                    answers=_ANSWERS.value,
                    compilation_cache=programs,
                )
                if group.is_first():
                    _conclude(done, folder)
        except OSError as error:
            cli.exit_with(error, then=next_time())
        except errors.StoppedError:
            raise
        except Exception as error:
            memory = errors.is_out_of_memory(error)
            cli.exit_with(error, then=_LESS_MEMORY if memory else "")


def _facts(config: config_dict.ConfigDict, folder: pathlib.Path) -> dict[str, str]:
    """What must be equal in all processes of a run, by the name that a user knows."""
    return {
        **claim.versions(),
        **{f"--config.{k}": repr(v) for k, v in defaults.leaves(config).items()},
        "--workdir": str(folder),
        "--answers": ",".join(_ANSWERS.value),
        "--accept_partial": str(_ACCEPT_PARTIAL.value),
    }


def _recorded(folder: str) -> config_dict.ConfigDict:
    """The config of the run in a folder, which goes on."""
    try:
        if not (pathlib.Path(folder) / "config.yaml").exists():
            raise errors.InputError(
                f"{folder} holds no run to go on with: give --config=, such as "
                "--config=configs/digits.py."
            )
        return classifier.recorded_config(folder)
    except (errors.InputError, OSError) as error:
        cli.exit_with(error)


def _conclude(done: Result, folder: pathlib.Path) -> None:
    if done.query is not None:
        print(asking.next_step(done.query, done.missing, folder), flush=True)
        return
    if done.finished_before:
        drawn = ", ".join(done.pictures)
        state = f"now has {drawn}" if drawn else "is unchanged"
        print(f"This run was finished before; {folder} {state}.")
    print(terminal.summary(done.rows, done.report))
    shown = done.report.with_name(page.FILE)
    print(
        f"Page: {shown}" if shown.exists() else "No page could be written.", flush=True
    )


def _help(argv: Sequence[str]) -> str:
    """The flags, and what there is to choose in the config that is named, if any."""
    named = [value for name, value in _values(argv) if name == "config"]
    config = defaults.get_config()
    if named:
        path, argument = files.located(named[-1], _overrides(argv))
        config = files.load(":".join(filter(None, [str(path), argument])))
    return "\n".join(
        [
            __doc__,
            "",
            "  --config=FILE[:preset=NAME]   a config file, or the name of a packaged",
            "                                config",
            "  --config.FIELD=VALUE          any field: --config.train.steps=100",
            "  --workdir=DIR                 folder of the run; by default",
            "                                runs/<config.name>_seed<config.seed>",
            "  --answers=FILE[,FILE]         answers of a person, in any form that",
            "                                docs/labelling.md shows",
            "  --dry_run                     read everything, say what would be done",
            "                                and in what time, and stop",
            "  --compilation_cache=DIR       folder of compiled programs, for later",
            "                                starts; by default one in your caches;",
            "                                'none': keep none",
            "  --accept_partial              go on though labels are missing that were",
            "                                asked for (docs/labelling.md)",
            "  --distributed                 one of several processes, as SLURM, Cloud",
            "                                TPU, Kubernetes or Open MPI says; or with",
            "                                --coordinator=HOST:PORT --num_processes=N",
            "                                --process_id=K (docs/scaling.md)",
            "  --join_seconds=300            in which all processes must have come",
            "",
            "The same command resumes a run that was stopped. More on fields and",
            "presets: docs/configs.md; what a run leaves: docs/run_folder.md.",
            "",
            listing.text(config),
        ]
    )


def _values(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(name, value) of each flag, as --name=value or as --name value."""
    for arg, after in itertools.zip_longest(argv[1:], argv[2:], fillvalue=""):
        if arg.startswith("-"):
            name, equals, value = arg.lstrip("-").partition("=")
            yield name, value if equals else after


def _overrides(argv: Sequence[str]) -> dict[str, str]:
    """The values of --config.FIELD=VALUE, as they are written, by field."""
    found = ((_OVERRIDE.fullmatch(name), value) for name, value in _values(argv))
    return {match[1]: value for match, value in found if match}


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's parsing; a mistake is answered with one sentence."""
    before = sys.argv
    try:
        sys.argv = _checked(flags.FLAGS.read_flags_from_files(list(argv)))
        program, *rest = flags.FLAGS(sys.argv)
        if rest:
            name = rest[0] if "=" in rest[0] else "name=value"
            raise errors.InputError(f"{rest[0]!r} is no flag: write --{name}.")
        return [program]
    except (flags.Error, errors.InputError) as error:
        cli.exit_with(error)
    finally:
        sys.argv = before  # config_flags reads it


def _checked(argv: Sequence[str]) -> list[str]:
    """The flags with the path of the config file in place of its name.

    Raises:
      InputError: what config_flags would answer with a traceback.
    """
    config, checked, overrides = None, list(argv), _overrides(argv)
    for place, (arg, after) in enumerate(
        itertools.zip_longest(argv[1:], argv[2:], fillvalue=""), start=1
    ):
        if not arg.startswith("-"):
            continue
        name, equals, value = arg.lstrip("-").partition("=")
        if name == "config":
            spec = value if equals else after
            path, argument = files.located(spec, overrides)
            spec = ":".join(filter(None, [str(path), argument]))
            config = files.load(spec)
            checked[place] = f"--config={spec}" if equals else arg
            if not equals and place + 1 < len(checked):
                checked[place + 1] = spec
        elif field := _OVERRIDE.fullmatch(name):
            if config is None:
                raise errors.InputError(f"write --config= before --{name}.")
            defaults.check_field(field[1], config)
            negated = name.startswith("no")
            if equals:
                defaults.check_text(field[1], value)
            elif not (negated or isinstance(defaults.leaves(config)[field[1]], bool)):
                defaults.check_text(field[1], after)
    if config is None and not any(_WORKDIR_GIVEN.match(arg) for arg in argv[1:]):
        raise errors.InputError(
            "give --config=, such as --config=configs/digits.py; or --workdir= of a "
            "run, to go on with it."
        )
    return checked


if __name__ == "__main__":
    main(sys.argv)
