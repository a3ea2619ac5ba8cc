"""What a run leaves to be read: report.md and pictures, in its folder."""

import pathlib
from collections.abc import Callable, Sequence

from dact_jax.configuration.defaults import Config
from dact_jax.reports import gallery, record, report, sweeps
from dact_jax.run_types import Experiment, Run

Reporter = Callable[..., None]  # what `make` returns


def make(
    config: Config,
    run: Run,
    folder: pathlib.Path,
    command: str,
    label_lines: Sequence[str],
) -> Reporter:
    """Writes the report from the rounds that are finished.

    Args:
      config: of the run.
      command: shell command that resumes or repeats the run; "" if it is not known.
      label_lines: sentences that say where the labels of the target went.
    """
    published: dict[str, list[tuple[int, float]]] = {}
    for name, labels, percent in config.reference:
        published.setdefault(name, []).append((labels, percent / 100))
    source, target = run.task.source.name, run.task.target.name

    def write() -> None:
        gathered = record.gather(
            folder,
            f"{config.name}: {source} to {target}, seed {config.seed}",
            reference=published,
            command=command,
            keep=run.evaluation.keep,
            labels=label_lines,
        )
        report.put(gathered)

    return write


def exist(folder: pathlib.Path) -> bool:
    """Whether the report was written."""
    return (folder / report.FILE).exists()


def draw(
    run: Run,
    experiment: Experiment,
    folder: pathlib.Path,
    write_report: Reporter,
    *,
    redraw: bool,
) -> list[str]:
    """The pictures of a finished run, and a report that shows them.

    Args:
      redraw: if False, existing pictures are kept.

    Returns:
      Names of the pictures that were drawn.
    """
    swept = sweeps.lazily(run, experiment)
    drawn = gallery.write(run, experiment, folder, swept=swept, redraw=redraw)
    if drawn or not report.shows_all(folder):
        write_report()
    return drawn
