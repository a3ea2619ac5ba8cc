"""Losses and accuracies as TensorBoard event files, if config.tensorboard is set."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from dact_jax import errors, run_types, types


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
    import tensorboardX  # an extra

    def run_step(number: int, step: int) -> int:
        return sum(lengths[:number]) + step

    writer = tensorboardX.SummaryWriter(
        str(folder / "tensorboard"), purge_step=run_step(*start) + 1
    )

    def show_step(number: int, step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            writer.add_scalar(f"train/{name}", value, run_step(number, step))

    def show_round(row: types.Row) -> None:
        for name in ("test_accuracy", "val_accuracy", "labels_target"):
            if row[name] is not None:
                step = run_step(row["round"], row["step"])
                writer.add_scalar(f"round/{name}", row[name], step)

    with contextlib.closing(writer):
        yield run_types.Show(show_step, show_round)
