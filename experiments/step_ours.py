"""dact_jax's side of `bench_step`: the training loop of a run, on random images."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import keys
from dact_jax.configuration import build, build_data, build_stages, defaults
from dact_jax.configuration.defaults import Config
from dact_jax.run_types import Run, Schedule
from dact_jax.training import feeding, loop, step
from dact_jax.training.feeding import Chunk
from dact_jax.types import (
    UNLABELED,
    Batch,
    BatchSizes,
    Domain,
    Examples,
    Method,
    Model,
    Pools,
    Task,
    TrainState,
)
from experiments import step_case
from experiments.step_case import NUM_CLASSES, Case

NUM_STEPS = 10**6  # of the learning-rate schedule, and more than are ever done


class Window(NamedTuple):
    """Iterations that were timed without a break."""

    seconds: float  # of an iteration
    waiting: float  # share of the time in which the loop waited for its batches


class Ours:
    """The loop of a case; it goes on where the last window ended."""

    def __init__(self, case: Case, chunk: int) -> None:
        self.case, self.chunk = case, chunk
        self.run, self.state = _make_run(case, chunk)
        self.fit = loop.make_fit(self.run)
        self.done = 0
        count = len(self.run.task.source.train.label)
        self.pools = Pools(np.ones(count, bool), np.arange(count) % 2 == 0)
        label = np.asarray(self.run.task.target.train.label)
        self.label = np.where(self.pools.target, label, UNLABELED).astype(np.int32)

    def train(self, iterations: int) -> Window:
        """Does a chunk that is not timed, and then at least so many iterations."""
        waited = [0.0]
        chunks = feeding.draw_chunks(
            self.run, self.pools, self.label, self.run.key, self.done, NUM_STEPS
        )
        done = np.zeros((loop.MAX_METRICS, self.chunk), np.float32)
        watched = _watched(chunks, waited)
        began, first = time.perf_counter(), self.done + self.chunk
        for progress in self.fit(self.state, watched, self.run.key, NUM_STEPS, done):
            self.state = progress.state
            if not progress.complete:
                continue
            self.done += self.chunk
            if self.done == first:
                began, waited[0] = time.perf_counter(), 0.0
            elif self.done >= first + iterations:
                break
        seconds = time.perf_counter() - began
        return Window(seconds / (self.done - first), waited[0] / seconds)


def _watched(chunks: Iterator[Chunk], waited: list[float]) -> Iterator[Any]:
    """The chunks, while the seconds until they come are added up in waited[0]."""

    def watch(items: Iterator[Any]) -> Iterator[Any]:
        while True:
            began = time.perf_counter()
            item = next(items, None)
            waited[0] += time.perf_counter() - began
            if item is None:
                return
            yield item

    for chunk in watch(chunks):
        yield chunk._replace(pieces=watch(chunk.pieces))


def _config(case: Case) -> Config:
    config = defaults.get_config()
    config.method = case.method
    config.update_from_flattened_dict(
        {
            "data.size": case.side,
            "data.crop": case.side,
            "data.channels": case.channels,
            "data.mean": (0.5,) * case.channels,
            "data.std": (0.5,) * case.channels,
            "model.encoder": case.backbone,
            "model.num_norms": case.norms,
            "model.batch_norm": case.batch_norm,
            "train.precision": case.precision,
            **{
                f"methods.{case.method}.{name}": value
                for name, value in step_case.options(case).items()
            },
        }
    )
    return config


def _network(config: Config) -> tuple[Method, Model]:
    method = build.make_method(config, NUM_CLASSES)
    return method, build.make_network(config, build.make_encoder(config), method)


def _make_run(case: Case, chunk: int) -> tuple[Run, TrainState]:
    """What the loop needs of a run, with its pools on the devices."""
    config = _config(case)
    method, network = _network(config)
    optimizer = build_stages.make_optimizer(config.train, len(method.losses))
    key = keys.root(0)
    variables = network.init(key, (case.side, case.side, case.channels))
    if method.prepare is not None:
        variables = method.prepare(variables)
    domains = []
    for seed, name in enumerate(("source", "target")):
        image, label = step_case.pool(case, seed)
        examples = Examples(jnp.asarray(image), label)
        ids = np.arange(len(label)).astype(str)
        domains.append(Domain(name, examples, examples, examples, ids))
    classes = tuple(map(str, range(NUM_CLASSES)))
    schedule = Schedule(
        steps=NUM_STEPS,
        first_steps=NUM_STEPS,
        progress_steps=0,
        sizes=BatchSizes(*case.sizes),
        chunk=chunk,
        save_every=NUM_STEPS,
        save_minutes=0.0,
        carry_weights=True,
        carry_optimizer=False,
    )
    unused: Any = None
    run = Run(
        task=Task(*domains, classes, None),
        method=method,
        model=network,
        optimizer=optimizer,
        policy=unused,
        acquisition="",
        source_acquisition="",
        schedule=schedule,
        evaluation=unused,
        augment=build_data.make_augment(config),
        prepare=unused,
        forward=unused,
        key=key,
        train=unused,
        given=np.zeros(0, bool),
    )
    return run, build_stages.make_state(variables, optimizer, NUM_STEPS)


def flops(case: Case) -> float | None:
    """FLOP of an iteration by XLA's cost analysis; None where it has none.

    They are those of XLA's own convolutions: what our formulation on CPU multiplies
    beside them is no work of the model.
    """
    config = _config(case)
    config.model.convolution = "stock"
    method, network = _network(config)
    optimizer = build_stages.make_optimizer(config.train, len(method.losses))(NUM_STEPS)
    shape = (case.side, case.side, case.channels)

    def initial() -> TrainState:
        variables = network.init(keys.root(0), shape)
        if method.prepare is not None:
            variables = method.prepare(variables)
        return step.init_state(variables, optimizer)

    def examples(count: int) -> Examples:
        label = jax.ShapeDtypeStruct((count,), np.int32)
        return Examples(jax.ShapeDtypeStruct((count, *shape), np.float32), label)

    source, target, unlabeled = case.sizes
    batch = Batch(
        examples(source),
        examples(target) if target else None,
        examples(unlabeled).image if unlabeled else None,
    )
    one_step = step.make_step(network, method, optimizer, NUM_STEPS)
    lowered = jax.jit(one_step).lower(jax.eval_shape(initial), batch, keys.root(0))
    analysis = lowered.cost_analysis()
    return None if not analysis else analysis.get("flops")


def peak_memory() -> int | None:
    """Bytes of the device that were in use at once; None where it does not count."""
    statistics = jax.local_devices()[0].memory_stats()
    return None if statistics is None else statistics.get("peak_bytes_in_use")
