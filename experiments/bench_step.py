"""The speed of training iterations: methods and networks, beside PyTorch.

Makes: with --methods, a row for each method, network and batch, printed and written to
       --output; else milliseconds of an iteration of MME on this machine's processor,
       with either implementation of convolution, and their ratio.
Data:  none; images are random numbers.
Time:  1 min of processor time on 2 CPU cores, without --methods.

    python -m experiments.bench_step --side=28 --channels=1
    python -m experiments.bench_step --methods=source_only,mme,dann,alda \\
        --backbones=resnet50 --batches=32,128

A row has images/s, the utilization of the device (FLOP by XLA's cost analysis, over the
time and the peak that experiments/peaks.py knows; null where it knows none), the share
of the time in which the loop waits for its batches, the seconds until the first
iterations are done, and the peak of memory. Where torch is installed, the same
iterations are timed in it, alternately in the same process: on a GPU in channels_last,
autocast to bfloat16 and torch.compile, else in channels_last. `alda` is ALDA + DSBN.
The medians are shown.

The exit code is 1 if a row failed; its error is in the row.
"""

import statistics
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from absl.flags import FlagValues

from dact_jax import plugins
from dact_jax.configuration import build_stages, defaults
from dact_jax.models import lenet, model, precisions, resnet
from dact_jax.training import step
from dact_jax.types import Batch, Examples
from experiments import commands, runs, step_case, step_rows

ENCODERS = {"lenet": lenet.LeNet, "resnet18": resnet.resnet18}
IMPLEMENTATIONS = ("tiled", "stock")
NUM_CLASSES = 10
NUM_STEPS = 1000  # of the learning-rate schedule


def draw(flags: FlagValues) -> Batch:
    """Random batches as the loop reads them; images are float32[chunk, B, h, w, C]."""
    rng = np.random.default_rng(0)

    def images(count: int) -> np.ndarray:
        shape = (flags.chunk, count, flags.side, flags.side, flags.channels)
        return rng.standard_normal(shape, np.float32)

    label = rng.integers(0, NUM_CLASSES, (flags.chunk, flags.batch)).astype(np.int32)
    source, target = (Examples(images(flags.batch), label) for _ in range(2))
    return Batch(source, target, images(2 * flags.batch))


def make(implementation: str, flags: FlagValues) -> Callable[[Batch], None]:
    """A function that trains on the batches and waits for the result."""
    head = "cosine" if flags.encoder == "lenet" else "two_layer"
    method = plugins.load("methods", "mme", NUM_CLASSES, head=head)
    encoder = ENCODERS[flags.encoder](implementation=implementation)
    network = model.make_model(encoder, method.heads, 1)
    options = defaults.get_config().train
    sgd = build_stages.make_optimizer(options, len(method.losses))(NUM_STEPS)
    key = jax.random.key(0)
    shape = (flags.side, flags.side, flags.channels)
    state = step.init_state(network.init(key, shape), sgd)
    train_step = step.make_step(network, method, sgd, num_steps=NUM_STEPS)
    load: Callable = lambda resident, drawn, key: drawn  # noqa: E731
    advance = jax.jit(step.loop_steps(train_step, load))

    no_metrics = step.no_metrics(train_step, load)

    def train(batch: Batch) -> None:
        empty = no_metrics(state, (), batch, key)
        jax.block_until_ready(advance(state, empty, (), batch, key, 0, flags.chunk))

    return train


def compare_implementations(flags: FlagValues) -> None:
    """Times both implementations of convolution, and prints the medians."""
    batch = draw(flags)
    train = {name: make(name, flags) for name in IMPLEMENTATIONS}
    for compile_and_train in train.values():
        compile_and_train(batch)
    seconds: dict[str, list[float]] = {name: [] for name in IMPLEMENTATIONS}
    for _ in range(flags.repeats):
        for name in IMPLEMENTATIONS:
            started = time.perf_counter()
            train[name](batch)
            seconds[name].append(time.perf_counter() - started)
    median = {name: statistics.median(seconds[name]) for name in IMPLEMENTATIONS}
    for name in IMPLEMENTATIONS:
        print(f"{name}: {1000 * median[name] / flags.chunk:.1f} ms an iteration")
    print(f"stock / tiled: {median['stock'] / median['tiled']:.1f}")


@commands.command(
    __doc__,
    commands.choice("encoder", "lenet", tuple(ENCODERS), "Network of the comparison."),
    commands.integer(
        "side", 28, "Height and width in pixels; LeNet needs 16.", least=16
    ),
    commands.integer("channels", 1, "Channels of the images."),
    commands.integer(
        "batch",
        32,
        "Source images, and labelled target images; twice as many unlabelled.",
    ),
    commands.integer("chunk", 8, "Iterations in a call."),
    commands.integer("repeats", 7, "Timings of each implementation, or windows."),
    commands.words("methods", [], "Methods of the rows."),
    commands.words("backbones", list(step_case.SIDES), "Networks of the rows."),
    commands.words("batches", ["32"], "Images of each domain in a row."),
    commands.integer("pixels", 0, "Side of a row's images; 0: 32 or 224.", least=0),
    commands.choice(
        "precision", "auto", ("auto", *precisions.ALL), "Of a row: train.precision."
    ),
    commands.number("seconds", 2.0, "Of a window, at least."),
    commands.number("limit", 600.0, "Seconds of a row, after which it is ended."),
    commands.switch("alone", "Leave torch out."),
    commands.text("output", "runs/bench_step.json", "Rows as JSON lines."),
    runs.COMMIT,
)
def main(flags: FlagValues) -> None:
    """Compares both implementations, or measures the rows of methods."""
    if not flags.methods:
        compare_implementations(flags)
    elif step_rows.measure(flags):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv)
