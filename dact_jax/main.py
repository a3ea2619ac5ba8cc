"""`python -m dact_jax.main --config=configs/digits.py`: one run, begun or resumed."""

import contextlib
import itertools
import pathlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

import jax
import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from dact_jax import errors, run_types
from dact_jax.configuration import build, defaults
from dact_jax.reports import gallery, report, tensorboard, terminal
from dact_jax.rounds import actions, claim, pretraining, session, workdir
from dact_jax.run_types import Run, lengths

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "File with get_config(), such as configs/digits.py:preset=s_act."
)
_OVERRIDE = re.compile(r"(?:no)?config\.(.+)")
_HELP = {"help", "helpfull", "helpshort", "helpxml", "?"}
_WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the run; by default runs/<config.name>_seed<config.seed>."
)


def run(config: ml_collections.ConfigDict, folder: pathlib.Path, command: str) -> None:
    """Runs the experiment to its end, from its last checkpoint if it has one.

    Args:
      config: complete.
      folder: of the run.
      command: what the report says to repeat it.

    Raises:
      InputError: something is wrong with the config, the data or the folder.
      DivergedError: a loss became NaN; the last checkpoint stays.
    """
    if config.tensorboard:
        tensorboard.require()
    names = [device.device_kind for device in jax.devices()]
    identity = defaults.identity(config)
    claim.claim(folder, identity, data=None, devices=names)
    made, data = build.build(config)
    like = actions.template(made)
    claim.claim(folder, identity, data=data, devices=names)
    write_report = _reporter(config, made, folder, command)

    @contextlib.contextmanager
    def shows(start: tuple[int, int]) -> Iterator[run_types.Show]:
        steps = lengths(made)
        with contextlib.ExitStack() as stack:
            told = [stack.enter_context(terminal.make(steps, start=start))]
            if config.tensorboard:
                events = tensorboard.make(folder, steps, start=start)
                told.append(stack.enter_context(events))
            # A report after each round: a run that is stopped has one too.
            told.append(run_types.Show(_silent, lambda row: write_report()))
            yield terminal.join(*told)

    def stage_shows(
        start: tuple[int, int],
    ) -> contextlib.AbstractContextManager[run_types.Show]:
        assert made.pretraining is not None
        steps = lengths(made.pretraining.run)
        return terminal.make(steps, start=start, label="pre-training")

    def first(run: Run, begun: bool) -> Run:
        if run.pretraining is None:
            return run
        run, row = pretraining.run(run, folder, data, names, stage_shows)
        if not begun:
            workdir.append(folder, [row])
        return run

    done = session.run(made, folder, like, shows, first=first)
    markdown = folder / "report.md"
    if done.anew or not markdown.exists():
        write_report()
    drawn = _draw(config, made, done, folder)
    if drawn:
        write_report()
    if not done.anew:
        added = f"now with {', '.join(drawn)}" if drawn else "stays as it is"
        print(f"This run is finished; {folder} {added}.")
    print(terminal.summary(workdir.read(folder), markdown))


def _draw(
    config: ml_collections.ConfigDict,
    made: Run,
    done: session.Done,
    folder: pathlib.Path,
) -> list[str]:
    """Names of the pictures drawn. All else is saved by then: they can cost no run."""
    if not config.figures:
        return []
    return gallery.write(made, done.experiment, folder, redraw=done.anew)


def _reporter(
    config: ml_collections.ConfigDict, made: Run, folder: pathlib.Path, command: str
) -> Callable[[], None]:
    """Writes the report of the rounds that are finished."""
    source, target = made.task.source.name, made.task.target.name
    title = f"{config.name}: {source} to {target}, seed {config.seed}"
    published: dict[str, list[tuple[int, float]]] = {}
    for name, labels, percent in config.reference:
        published.setdefault(name, []).append((labels, percent / 100))

    def write() -> None:
        report.write(
            folder,
            title,
            reference=published,
            command=command,
            keep=made.evaluation.keep,
        )

    return write


def _silent(number: int, step: int, losses: Mapping[str, float]) -> None:
    del number, step, losses


def main(argv: Sequence[str]) -> None:
    """Runs what the flags ask for; a user's mistake ends it with one sentence."""
    del argv
    logging.set_verbosity(logging.WARNING)  # jax tells of every backend it lacks
    logging.get_absl_handler().setFormatter(None)  # a warning is its sentence alone
    config = _CONFIG.value
    name = f"{config.name}_seed{config.seed}"
    folder = pathlib.Path(_WORKDIR.value or pathlib.Path("runs", name))
    command = " ".join(["python -m dact_jax.main", *map(shlex.quote, sys.argv[1:])])
    try:
        run(config, folder, command)
    except (errors.InputError, errors.DivergedError) as error:
        _refuse(error)
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(errors.InputError(f"{error.filename}: {error.strerror}."))
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from the last checkpoint.")
        sys.exit(130)


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's parsing, with mistakes told in one sentence."""
    try:
        _check_config(argv)
        return flags.FLAGS(argv)
    except (flags.Error, errors.InputError) as error:
        _refuse(error)


def _check_config(argv: Sequence[str]) -> None:
    """Refuses what config_flags would answer with a traceback."""
    config = None
    for arg, after in itertools.zip_longest(argv[1:], argv[2:], fillvalue=""):
        name, equals, value = arg.lstrip("-").partition("=")
        if name == "config":
            config = defaults.load(value if equals else after)
        elif (field := _OVERRIDE.fullmatch(name)) and config is not None:
            defaults.check_field(field[1], config)
    if config is None and not _HELP & {arg.lstrip("-") for arg in argv}:
        raise errors.InputError("give --config=, such as --config=configs/digits.py")


def _refuse(error: Exception) -> NoReturn:
    print(f"dact_jax: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
