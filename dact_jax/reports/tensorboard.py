"""Losses and accuracies as TensorBoard event files, if config.tensorboard is set."""

import contextlib
import importlib.util
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dact_jax import errors, run_types, storage, types


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
    folder: pathlib.Path, lengths: Sequence[int], *, start: tuple[int, int] = (0, 0)
) -> Iterator[run_types.Show]:
    """Writes events to folder/tensorboard, with steps counted over the whole run.

    Args:
      lengths: iterations of each round.
      start: (round, iterations done in it) of the checkpoint that a resumed run
        starts from; events of later steps are purged.

    Raises:
      InputError: tensorboardX is not installed.
    """
    require()
    # An extra. Its SummaryWriter writes in a thread, which dies of a full disk and
    # lets the run wait for it for ever.
    from tensorboardX import event_file_writer, record_writer, summary
    from tensorboardX.proto import event_pb2

    place = folder / "tensorboard"

    def run_step(number: int, step: int) -> int:
        return sum(lengths[:number]) + step

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

        def write_scalar(name: str, value: float, step: int) -> None:
            write(step, summary=summary.scalar(name, value))

        def show_step(number: int, step: int, losses: Mapping[str, float]) -> None:
            for name, value in losses.items():
                write_scalar(f"train/{name}", value, run_step(number, step))

        def show_round(row: types.Row) -> None:
            for name in ("test_accuracy", "val_accuracy", "labels_target"):
                if row[name] is not None:
                    step = run_step(row["round"], row["step"])
                    write_scalar(f"round/{name}", row[name], step)

        begun = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        write(run_step(*start) + 1, session_log=begun)
        yield run_types.Show(show_step, show_round)
