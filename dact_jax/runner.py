"""`dact_jax.run`: a config in, a finished run in its folder out."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import ml_collections

from dact_jax import (
    compilation_cache as programs,
    devices,
    errors,
    paths,
    preparation,
    reporting,
    result,
)
from dact_jax.configuration import defaults
from dact_jax.data import label_counts, left_out
from dact_jax.processes import alike, group
from dact_jax.reporting import Reporter
from dact_jax.reports import tensorboard, terminal
from dact_jax.reports.pictures import picked_images
from dact_jax.result import Result
from dact_jax.rounds import checkpoint, claim, lock, session, workdir
from dact_jax.rounds.asking import given, intake, person, question
from dact_jax.rounds.formats import trees
from dact_jax.rounds.oracle import Oracle
from dact_jax.run_types import NEVER, Run, Show, Stop
from dact_jax.types import Row


def run(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike[str],
    *,
    progress: bool = False,
    command: str = "",
    stop: Stop = NEVER,
    accept_partial: bool = False,
    answers: Sequence[str | os.PathLike[str]] = (),
    compilation_cache: str | os.PathLike[str] = "",
) -> Result:
    """Runs an experiment to its end, from its last checkpoint if it has one.

    Where a person labels the images (`oracle`), it ends with the next query instead:
    call it again when the query is answered.

    Killed at any time and called again with the same arguments, it ends with the same
    numbers, bit for bit, as if it had not been killed (on the same machine).

    Args:
      config: such as `dact_jax.config("digits:preset=s_clue")`.
      workdir: the folder of the run; a new or empty one, or that of this very run.
      progress: whether to print a progress bar and one line per round.
      command: the shell command that repeats the run, for the report.
      stop: tells whether to save and stop between two iterations.
      accept_partial: whether to go on though labels of the open query are missing;
        those images go back to the pool.
      answers: files with answers, besides those in the folders of the queries.
      compilation_cache: folder of compiled programs, for later runs; "": one in the
        user's caches; "none": none are kept.

    Returns:
      What the folder records: rows, accuracies, picks and paths; and the query.

    Raises:
      InputError: the config, the data or the folder is wrong, in one sentence; or
        another process is running in the folder.
      DivergedError: a loss became NaN; the last checkpoint stays.
      OSError: a file could not be read or written; the last checkpoint stays.
      StoppedError: `stop` asked for it.
    """
    check_config(config)
    config = defaults.expanded(config)
    folder = pathlib.Path(paths.expanded(workdir, "workdir"))
    if config.tensorboard:
        tensorboard.require()
    devices.check()
    if jax.process_count() > group.size():
        raise errors.InputError(
            f"this is one of {jax.process_count()} processes of jax.distributed, and "
            "they have not met: start them by python -m dact_jax.main --distributed."
        )
    if group.is_first():  # it alone uses the folder
        check_folders(config, folder)
    config = preparation.decided(config, folder)
    identity = defaults.identity(config)
    held: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if group.is_first():
        # Reading the data can take long.
        claim.check(folder, identity, defaults=defaults.initial())
        held = lock.hold(folder)
    with programs.kept(compilation_cache), held:
        return _run(
            config,
            folder,
            identity,
            progress=progress and group.is_first(),
            command=command,
            stop=stop,
            accept_partial=accept_partial,
            answers=[pathlib.Path(paths.expanded(path, "answers")) for path in answers],
        )


def check_config(config: ml_collections.ConfigDict) -> None:
    """Checks the fields of a config, each by itself.

    Raises:
      InputError: it is no config, or a field is wrong.
    """
    if not isinstance(config, ml_collections.ConfigDict):
        raise errors.InputError(
            f"config must be a ConfigDict, not {type(config).__name__}: "
            'use dact_jax.config("digits").'
        )
    defaults.check(config)


def check_folders(config: ml_collections.ConfigDict, folder: pathlib.Path) -> None:
    """Checks that a run can save in its folders, and does not wait for itself.

    Raises:
      InputError: it cannot.
    """
    trees.check_path(folder)
    if stage := config.pretrain.folder:
        trees.check_path(pathlib.Path(stage))
        if pathlib.Path(stage).resolve() == folder.resolve():
            raise errors.InputError(
                f"pretrain.folder={stage} is the folder of the run itself: give "
                "another."
            )
        claim.check_writable(pathlib.Path(stage), flag="--config.pretrain.folder")


def _run(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    identity: Mapping[str, Any],
    *,
    progress: bool,
    command: str,
    stop: Stop,
    accept_partial: bool,
    answers: Sequence[pathlib.Path],
) -> Result:
    """A run in its folder, which this process holds."""
    if group.is_first():
        question.check_files(folder)  # before the data are compared as a whole
    built, data = preparation.make_run(config, folder, progress=progress, stop=stop)
    alike.check(data)
    local = devices.local_copy(built)  # for what process 0 does by itself
    hidden = None if built.person is None else built.person.num_hidden
    label_lines = label_counts.lines(built.task, built.given, num_hidden=hidden)
    if progress:
        terminal.show_lines(label_lines)
    write_report = reporting.make(config, local, folder, command, label_lines)
    claim_for_data = _make_claim(built, data)
    if group.is_first():
        claim_for_data(folder, identity)
        claim.record_others(folder, defaults.without_influence(config))
        new_lines = intake.take_in(local, folder, answers)
        if progress:
            terminal.show_lines(new_lines)
        sides = {"source": built.task.source, "target": built.task.target}
        left_out.write(folder, {side: data.left_out for side, data in sides.items()})
    shows = _make_shows(config, local, folder, write_report, progress=progress)
    ask = _make_oracle(local, folder, accept_partial=accept_partial)

    def waiting_for_labels() -> Result:
        if workdir.has_round(folder):
            write_report()
        return result.read(folder)

    try:
        done = session.run(
            built, folder, identity, claim_for_data, shows, stop=stop, ask=ask
        )
    except errors.AwaitingLabels as awaiting:
        found = result.from_first(waiting_for_labels)
        return found._replace(query=awaiting.query, missing=awaiting.missing)

    def finished() -> Result:
        experiment, before = devices.local_copy(done.experiment), done.finished_before
        if built.person is not None:
            given.warn_of_late(local, experiment, folder)
        draw = functools.partial(reporting.draw, local, experiment, redraw=not before)
        pictures = reporting.conclude(
            folder,
            write_report,
            draw if config.figures else None,
            finished_before=before,
            shows=progress,
        )
        return result.read(folder, pictures)

    found = result.from_first(finished)
    return found._replace(finished_before=done.finished_before)


def _make_claim(built: Run, data: Mapping[str, str]) -> session.Claim:
    """Makes a folder that of a run on these data."""
    return functools.partial(
        claim.claim,
        data=data,
        devices=[device.device_kind for device in jax.devices()],
        classes=built.task.class_names,
        image_shape=built.task.source.train.image.shape[1:],
        defaults=defaults.initial(),
    )


def _make_oracle(
    built: Run, folder: pathlib.Path, *, accept_partial: bool
) -> Oracle | None:
    """Asks a person; None where the dataset gives the labels."""
    if built.person is None:
        return None
    ask = person.from_person(built, folder, accept_partial=accept_partial)
    return person.in_all_processes(ask)


def has_checkpoint(
    config: ml_collections.ConfigDict, workdir: str | os.PathLike[str]
) -> bool:
    """Whether a run goes on in this folder, from its pre-training or later."""
    folder = pathlib.Path(workdir)
    shared = os.path.expanduser(config.pretrain.folder)
    stage = pathlib.Path(shared or folder / "pretrained")
    places = [folder, stage] if config.pretrain.steps else [folder]
    return any(checkpoint.exists(place / "checkpoints") for place in places)


def _make_shows(
    config: ml_collections.ConfigDict,
    built: Run,
    folder: pathlib.Path,
    write_report: Reporter,
    *,
    progress: bool,
) -> session.Shows:
    """What shows the progress of the run and of its pre-training."""

    def report_round(row: Row) -> None:
        del row  # it is in metrics.jsonl by now
        write_report()

    @contextlib.contextmanager
    def shows(
        stage: str, lengths: Sequence[int], start: tuple[int, int]
    ) -> Iterator[Show]:
        with contextlib.ExitStack() as stack:
            active = []
            if progress:
                bar = terminal.run_progress(lengths, start=start, label=stage)
                active.append(stack.enter_context(bar))
            if not stage and group.is_first():
                # A report after each round: a run that is stopped has one too.
                active.append(Show(round=report_round))
                if config.tensorboard:  # it shows the curves that the report drew
                    draw = functools.partial(picked_images.draw, built)
                    events = tensorboard.event_writer(
                        folder, lengths, start=start, draw_picks=draw
                    )
                    active.append(stack.enter_context(events))
            yield terminal.combine(*active)

    return shows
