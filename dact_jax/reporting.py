"""What a run leaves to be read: report.md, report.html and pictures, in its folder."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Sequence

from dact_jax.configuration import build_stages
from dact_jax.configuration.defaults import Config
from dact_jax.reports import gallery, record, report, sweeps, waiting
from dact_jax.reports.page import details, page
from dact_jax.reports.sweeps import Sweeps
from dact_jax.run_types import Experiment, Run

Reporter = Callable[..., None]  # what `make` returns


def make(
    config: Config,
    run: Run,
    folder: pathlib.Path,
    command: str,
    label_lines: Sequence[str],
) -> Reporter:
    """Writes both reports from the rounds that are finished.

    With the experiment and the sweeps of a finished run, the page shows what its final
    network makes of single images.

    Args:
      config: of the run.
      command: shell command that resumes or repeats the run; "" if it is not known.
      label_lines: sentences that say where the labels of the target went.
    """
    published: dict[str, list[tuple[int, float]]] = {}
    for name, labels, percent in config.reference:
        published.setdefault(name, []).append((labels, percent / 100))
    source, target = run.task.source.name, run.task.target.name
    with_pictures = bool(config.figures)

    def write(
        experiment: Experiment | None = None, swept: Sweeps | None = None
    ) -> None:
        gathered = record.gather(
            folder,
            f"{config.name}: {source} to {target}, seed {config.seed}",
            reference=published,
            command=command,
            keep=run.evaluation.keep,
            labels=label_lines,
            precision=build_stages.precision(config),
        )
        found = None
        if experiment is not None and swept is not None:
            found = details.gather(gathered, run, experiment, swept)
        report.put(gathered)
        page.write(gathered, run, found, with_pictures=with_pictures)

    return write


def exist(folder: pathlib.Path) -> bool:
    """Whether both reports were written.

    A page that an earlier version did not write is not missed where nothing may be
    written.
    """
    if not (folder / report.FILE).exists():
        return False
    return (folder / page.FILE).exists() or not os.access(folder, os.W_OK)


def conclude(
    folder: pathlib.Path,
    write_report: Reporter,
    draw: Callable[[pathlib.Path, Reporter], list[str]] | None,
    *,
    finished_before: bool,
    shows: bool,
) -> list[str]:
    """Writes what a finished run leaves to be read, as far as it is not there.

    Args:
      draw: `draw` for the run; None: it leaves no pictures.
      shows: whether to show that pictures are drawn.

    Returns:
      Names of the pictures that were drawn.
    """
    if not (finished_before and exist(folder)):
        write_report()
    if draw is not None:  # everything else is saved by now
        with waiting.during("drawing") if shows else contextlib.nullcontext():
            return draw(folder, write_report)
    if not report.shows_all(folder):
        write_report()
    return []


def draw(
    run: Run,
    experiment: Experiment,
    folder: pathlib.Path,
    write_report: Reporter,
    *,
    redraw: bool,
) -> list[str]:
    """The pictures of a finished run, and reports that show them.

    Args:
      redraw: if False, existing pictures are kept.

    Returns:
      Names of the pictures that were drawn.
    """
    swept = sweeps.lazily(run, experiment)
    drawn = gallery.write(run, experiment, folder, swept=swept, redraw=redraw)
    complete = page.is_complete(folder) or not os.access(folder, os.W_OK)
    if drawn or not (report.shows_all(folder) and complete):
        write_report(experiment, swept)
    return drawn
