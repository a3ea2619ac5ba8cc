"""One process of `bench_cpu_step`: times calls of one contestant when it is told to.

Makes: a JSON object in a line when it is ready, and after each line of its input one
       with the seconds of an iteration.
Data:  none; images are random numbers.
Time:  that of the job.

It is run as a file, with the folder of any version of the package as PYTHONPATH, and
imports nothing of `experiments` but the contestant in torch, which lies beside it.
"""

import json
import pathlib
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

NUM_STEPS = 1000  # of the learning-rate schedule


def draw(job: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Random batches: images float32[chunk, B, side, side, C], label int32[chunk, B].

    There are twice as many unlabelled images as source or labelled target images.
    """
    rng = np.random.default_rng(0)
    shape = (job["side"], job["side"], job["channels"])
    counts = {"source": 1, "target": 1, "unlabeled": 2}
    batch = {
        name: rng.standard_normal(
            (job["chunk"], count * job["batch"], *shape), np.float32
        )
        for name, count in counts.items()
    }
    label = rng.integers(0, job["classes"], (job["chunk"], job["batch"]))
    return {**batch, "label": label.astype(np.int32)}


def make_ours(
    job: Mapping[str, Any], batch: Mapping[str, np.ndarray]
) -> Callable[[], None]:
    """A function that does the iterations of a call in one loop, as a run does."""
    import jax

    from dact_jax import plugins
    from dact_jax.configuration import build, build_stages, defaults
    from dact_jax.models import model
    from dact_jax.training import step
    from dact_jax.types import Batch, Examples

    config = defaults.get_config()
    config.model.encoder = job["encoder"]
    config.data.crop = job["side"]
    config.train.learning_rate = job["learning_rate"]
    head = "cosine" if job["encoder"] == "lenet" else "two_layer"
    method = plugins.load("methods", "mme", job["classes"], head=head)
    network = model.make_model(build.make_encoder(config), method.heads, 1)
    sgd = build_stages.make_optimizer(config.train, len(method.losses))(NUM_STEPS)
    key = jax.random.key(0)
    shape = (job["side"], job["side"], job["channels"])
    state = step.init_state(network.init(key, shape), sgd)
    one_step = step.make_step(network, method, sgd, NUM_STEPS)
    load: Callable = lambda resident, drawn, key: drawn  # noqa: E731
    advance = jax.jit(step.loop_steps(one_step, load), donate_argnums=0)
    source, target = (
        Examples(batch[name], batch["label"]) for name in ("source", "target")
    )
    drawn = jax.device_put(Batch(source, target, batch["unlabeled"]))
    empty = step.no_metrics(one_step, load)(state, (), drawn, key)
    kept = [state]

    def train() -> None:
        kept[0], losses = advance(kept[0], empty, (), drawn, key, 0, job["chunk"])
        if not all(np.isfinite(loss).all() for loss in losses.values()):
            raise SystemExit(f"the losses are not finite: {losses}")

    return train


def make_torch(
    job: Mapping[str, Any], batch: Mapping[str, np.ndarray]
) -> Callable[[], None]:
    """The same in torch."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import cpu_step_torch  # type: ignore[import-not-found]

    return cpu_step_torch.make(job, batch)


def main(argv: list[str]) -> None:
    """Makes the contestant, reports, and times a call for each line of the input."""
    if "--help" in argv:
        print(__doc__)
        sys.exit(0)
    job = json.loads(argv[1])
    make = make_torch if job["contestant"] == "torch" else make_ours
    started = time.perf_counter()
    train = make(job, draw(job))
    train()  # compiles
    first = time.perf_counter() - started
    train()  # the second call may still touch new memory
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first_s": first, "memory_mb": memory}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        train()
        seconds = (time.perf_counter() - started) / job["chunk"]
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv)
