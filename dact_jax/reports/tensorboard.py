"""Losses and accuracies as TensorBoard event files, if the user asks for them."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from dact_jax import errors, run_types, types


def require() -> None:
    """Refuses to go on without tensorboardX.

    Raises:
      InputError: it is not installed.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise errors.InputError(
            "config.tensorboard=True needs tensorboardX: pip install tensorboardX, or "
            "dact_jax with its extra 'tensorboard'."
        )


@contextlib.contextmanager
def make(
    folder: pathlib.Path, lengths: Sequence[int], *, start: tuple[int, int] = (0, 0)
) -> Iterator[run_types.Show]:
    """Writes into folder/tensorboard; the step is that of the whole run.

    Args:
      folder: of the run.
      lengths: iterations of each round.
      start: (round, iterations done in it) that a resumed run goes on from; what lies
        beyond is purged.

    Raises:
      InputError: tensorboardX is not installed.
    """
    require()
    import tensorboardX  # an extra

    def place(number: int, step: int) -> int:
        return sum(lengths[:number]) + step

    writer = tensorboardX.SummaryWriter(
        str(folder / "tensorboard"), purge_step=place(*start) + 1
    )

    def show_step(number: int, step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            writer.add_scalar(f"train/{name}", value, place(number, step))

    def show_round(row: types.Row) -> None:
        for name in ("test_accuracy", "val_accuracy", "labels_target"):
            if row[name] is not None:
                at = place(row["round"], row["step"])
                writer.add_scalar(f"round/{name}", row[name], at)

    with contextlib.closing(writer):
        yield run_types.Show(show_step, show_round)
