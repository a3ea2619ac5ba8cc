"""What a run comes to as TensorBoard event files, if config.tensorboard is set."""

import contextlib
import importlib.util
import io
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from matplotlib import figure
from PIL import Image

from dact_jax import errors, run_types, storage, types
from dact_jax.reports.pictures import png

# (round, picks by side, target labels int32[N_t]) -> the picture; None: there is none.
DrawPicks = Callable[
    [int, Mapping[str, types.Picked], np.ndarray], figure.Figure | None
]
CURVES = ("learning_curve", "source_curve")  # .png, drawn with each report
_OF_ROUND = ("test_accuracy", "val_accuracy", "test_mean_class_accuracy")
_COUNTS = ("labels_target", "source_samples")
_COLORS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}  # channels by Pillow's mode
_DPI = 110


def require() -> None:
    """Checks that tensorboardX is installed.

    Raises:
      InputError: it is not installed.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise errors.InputError(
            "config.tensorboard=True needs tensorboardX: install it with "
            "`pip install tensorboardX`, or install dact_jax with its extra "
            "'tensorboard'."
        )


@contextlib.contextmanager
def event_writer(
    folder: pathlib.Path,
    lengths: Sequence[int],
    *,
    start: tuple[int, int] = (0, 0),
    draw_picks: DrawPicks = lambda number, picked, label: None,
) -> Iterator[run_types.Show]:
    """Writes events to folder/tensorboard, with steps counted over the whole run.

    These are scalars (train/: the losses of each chunk; eval/: accuracies during a
    round; round/: accuracies, labels and source samples) and images (curves/: the
    curves beside the report, after each round; picks/: the picked target images).

    Args:
      lengths: iterations of each round.
      start: (round, iterations done in it) of the checkpoint that a resumed run
        starts from; events of later steps are purged.
      draw_picks: the picture of a selection; where it raises an InputError, a warning
        takes the picture's place.

    Raises:
      InputError: tensorboardX is not installed.
    """
    require()

    def run_step(number: int, step: int) -> int:
        return sum(lengths[:number]) + step

    with _open(folder / "tensorboard", run_step(*start) + 1) as write:

        def scalars(group: str, values: Mapping[str, float | None], step: int) -> None:
            from tensorboardX import summary

            for name, value in values.items():
                if value is not None:
                    write(step, summary.scalar(f"{group}/{name}", value))

        def show_step(number: int, step: int, losses: Mapping[str, float]) -> None:
            scalars("train", losses, run_step(number, step))

        def show_evaluation(row: types.Row) -> None:
            values = {name: row[name] for name in ("test_accuracy", "val_accuracy")}
            scalars("eval", values, run_step(row["round"], row["step"]))

        def show_round(row: types.Row) -> None:
            step = run_step(row["round"], row["step"])
            names = (*_OF_ROUND, *_COUNTS)
            scalars("round", {name: row.get(name) for name in names}, step)
            for name in CURVES:
                if (folder / f"{name}.png").exists():
                    content = (folder / f"{name}.png").read_bytes()
                    write(step, _image(f"curves/{name}", content))

        def show_picks(
            number: int, picked: Mapping[str, types.Picked], label: np.ndarray
        ) -> None:
            try:
                drawn = draw_picks(number, picked, label)
            except errors.InputError as error:
                logging.warning("TensorBoard has no picture of picks: %s", error)
                return
            if drawn is not None:
                content = png.encode(drawn, dpi=_DPI)
                image = _image(f"picks/round_{number:02}", content)
                write(run_step(number, 0), image)

        yield run_types.Show(
            show_step, show_round, evaluation=show_evaluation, picks=show_picks
        )


@contextlib.contextmanager
def _open(place: pathlib.Path, first: int) -> Iterator[Callable[[int, Any], None]]:
    """A new event file; what it gives writes the summary of a step.

    Args:
      place: folder of the event files.
      first: events of this and later steps in older files are void.
    """
    # An extra. Its SummaryWriter writes in a thread, which dies of a full disk and
    # lets the run wait for it for ever.
    from tensorboardX import event_file_writer, record_writer
    from tensorboardX.proto import event_pb2

    with contextlib.ExitStack() as stack:
        with storage.naming(place):
            record_writer.directory_check(str(place))
            writer = event_file_writer.EventsWriter(str(place / "events"))

        def close() -> None:
            with storage.naming(place):
                writer.close()

        stack.callback(close)

        def write(step: int, **content: Any) -> None:
            with storage.naming(place):
                event = event_pb2.Event(wall_time=time.time(), step=step, **content)
                writer.write_event(event)
                writer.flush()

        begun = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        write(first, session_log=begun)
        yield lambda step, summary: write(step, summary=summary)


def _image(tag: str, content: bytes) -> Any:
    """The summary of a PNG file."""
    from tensorboardX.proto import summary_pb2

    with Image.open(io.BytesIO(content)) as opened:
        size, mode = opened.size, opened.mode
    image = summary_pb2.Summary.Image(
        width=size[0],
        height=size[1],
        colorspace=_COLORS[mode],
        encoded_image_string=content,
    )
    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, image=image)])
