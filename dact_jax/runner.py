"""`dact_jax.run`: a config in, a finished run in its folder out."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections

from dact_jax import devices, errors, paths
from dact_jax.configuration import build, defaults
from dact_jax.data import label_counts, left_out
from dact_jax.queries.query import Query
from dact_jax.reports import gallery, report, tensorboard, terminal, waiting
from dact_jax.rounds import checkpoint, claim, lock, session, workdir
from dact_jax.rounds.asking import person, question
from dact_jax.rounds.formats import trees
from dact_jax.rounds.oracle import Oracle
from dact_jax.rounds.workdir import Pick
from dact_jax.run_types import NEVER, Run, Show, Stop
from dact_jax.types import Row


class Result(NamedTuple):
    """A run that is finished, or waits for labels, as its folder records it."""

    rows: list[dict[str, Any]]  # of metrics.jsonl
    accuracies: list[float | None]  # test accuracy in [0, 1] after each round
    picks: list[Pick]  # of picks.csv
    workdir: pathlib.Path
    report: pathlib.Path  # report.md
    pictures: list[str]  # names of the pictures that were drawn now
    finished_before: bool  # nothing was left to do
    query: Query | None = None  # what a person has to label now; None: it is finished
    missing: tuple[str, ...] = ()  # ids of the images of it that have no label yet

    def __repr__(self) -> str:
        test = ["-" if a is None else f"{a:.3f}" for a in self.accuracies]
        waits = f", {len(self.missing)} labels missing" if self.query else ""
        return (
            f"Result(accuracies=[{', '.join(test)}], {len(self.rows)} rows, "
            f"{len(self.picks)} picks{waits}, workdir={str(self.workdir)!r})"
        )


def run(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike[str],
    *,
    progress: bool = False,
    command: str = "",
    stop: Stop = NEVER,
    accept_partial: bool = False,
) -> Result:
    """Runs an experiment to its end, from its last checkpoint if it has one.

    Where a person labels the images (`oracle`), it ends with the next query instead:
    call it again when labels.csv in the folder has the answers.

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

    Returns:
      What the folder records: rows, accuracies, picks and paths; and the query.

    Raises:
      InputError: the config, the data or the folder is wrong, in one sentence; or
        another process is running in the folder.
      DivergedError: a loss became NaN; the last checkpoint stays.
      OSError: a file could not be read or written; the last checkpoint stays.
      StoppedError: `stop` asked for it.
    """
    if not isinstance(config, ml_collections.ConfigDict):
        raise errors.InputError(
            f"config must be a ConfigDict, not {type(config).__name__}: "
            'use dact_jax.config("digits").'
        )
    defaults.check(config)
    config = defaults.expanded(config)
    folder = pathlib.Path(paths.expanded(workdir, "workdir"))
    if config.tensorboard:
        tensorboard.require()
    devices.check()
    identity = defaults.identity(config)
    _check_folders(config, folder)
    # Reading the data can take long.
    claim.check(folder, identity, defaults=defaults.initial())
    with lock.hold(folder):
        return _run(
            config,
            folder,
            identity,
            progress=progress,
            command=command,
            stop=stop,
            accept_partial=accept_partial,
        )


def _check_folders(config: ml_collections.ConfigDict, folder: pathlib.Path) -> None:
    """Rejects folders in which a run could not save, or would wait for itself."""
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
) -> Result:
    """A run in its folder, which this process holds."""
    question.check_files(folder)  # before the data are compared as a whole
    with waiting.during("reading the data") if progress else contextlib.nullcontext():
        built, data = build.build(config)
    hidden = None if built.person is None else built.person.num_hidden
    label_lines = label_counts.lines(built.task, built.given, num_hidden=hidden)
    if progress:
        terminal.show_lines(label_lines)
    write_report = _make_reporter(config, built, folder, command, label_lines)
    claim_for_data = _make_claim(built, data)
    claim_for_data(folder, identity)
    sides = {"source": built.task.source, "target": built.task.target}
    left_out.write(folder, {side: domain.left_out for side, domain in sides.items()})
    shows = _make_shows(config, folder, write_report, progress=progress)
    ask = _make_oracle(built, folder, accept_partial=accept_partial)
    markdown = folder / "report.md"
    try:
        done = session.run(
            built, folder, identity, claim_for_data, shows, stop=stop, ask=ask
        )
    except errors.AwaitingLabels as awaiting:
        if workdir.has_round(folder):
            write_report()
        result = _result(folder, markdown, [], finished_before=False)
        return result._replace(query=awaiting.query, missing=awaiting.missing)
    if not (done.finished_before and markdown.exists()):
        write_report()
    pictures: list[str] = []
    if config.figures:  # everything else is saved by now
        redraw = not done.finished_before
        with waiting.during("drawing") if progress else contextlib.nullcontext():
            pictures = gallery.write(built, done.experiment, folder, redraw=redraw)
    if pictures or not report.shows_all(folder):
        write_report()
    return _result(folder, markdown, pictures, finished_before=done.finished_before)


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
    return person.from_person(built, folder, accept_partial=accept_partial)


def has_checkpoint(
    config: ml_collections.ConfigDict, workdir: str | os.PathLike[str]
) -> bool:
    """Whether a run goes on in this folder, from its pre-training or later."""
    folder = pathlib.Path(workdir)
    shared = os.path.expanduser(config.pretrain.folder)
    stage = pathlib.Path(shared or folder / "pretrained")
    places = [folder, stage] if config.pretrain.steps else [folder]
    return any(checkpoint.exists(place / "checkpoints") for place in places)


def _result(
    folder: pathlib.Path,
    markdown: pathlib.Path,
    pictures: list[str],
    *,
    finished_before: bool,
) -> Result:
    rows = workdir.read(folder)
    return Result(
        rows=rows,
        accuracies=[row["test_accuracy"] for row in rows if row["event"] == "round"],
        picks=workdir.read_picks(folder),
        workdir=folder,
        report=markdown,
        pictures=pictures,
        finished_before=finished_before,
    )


def _make_shows(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    write_report: Callable[[], object],
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
            if not stage:
                if config.tensorboard:
                    events = tensorboard.event_writer(folder, lengths, start=start)
                    active.append(stack.enter_context(events))
                # A report after each round: a run that is stopped has one too.
                active.append(Show(round=report_round))
            yield terminal.combine(*active)

    return shows


def _make_reporter(
    config: ml_collections.ConfigDict,
    built: Run,
    folder: pathlib.Path,
    command: str,
    label_lines: Sequence[str],
) -> Callable[[], object]:
    """Writes report.md, from the rounds that are finished."""
    source, target = built.task.source.name, built.task.target.name
    published: dict[str, list[tuple[int, float]]] = {}
    for name, labels, percent in config.reference:
        published.setdefault(name, []).append((labels, percent / 100))
    return functools.partial(
        report.write,
        folder,
        f"{config.name}: {source} to {target}, seed {config.seed}",
        reference=published,
        command=command,
        keep=built.evaluation.keep,
        labels=label_lines,
    )
