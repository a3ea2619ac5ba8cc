"""Runs that were never trained: folders, data and outputs, to make pages of."""

import types

import numpy as np
import yaml
from PIL import Image

from dact_jax.queries import query
from dact_jax.queries.query import Item, Query
from dact_jax.reports import record, sweeps
from dact_jax.reports.page import details, page
from dact_jax.rounds import answers, evaluation, workdir
from dact_jax.run_types import Person
from dact_jax.types import SOURCE, TARGET, UNLABELED, Domain, Examples, Pools, Task

NASTY = ('<b>"x"</b>', "a\nb", "\u202etxt", "naïve 图片", "\udcff", "{{ 7 * 7 }}")


def names(count):
    """Ids of images, some of which try to be markup."""
    plain = [f"img {i:03d}" for i in range(count)]
    return [*NASTY, *plain][:count]


def task(folder, *, classes=("cat", "<i>dog</i>"), count=24, source=20, images="files"):
    """Two domains of tiny images: files, an array of pixels, or vectors."""
    rng = np.random.default_rng(0)

    def domain(name, number):
        label = (np.arange(number) % len(classes)).astype(np.int32)
        pixels = rng.integers(0, 256, (number, 8, 8, 3), np.uint8)
        paths = None
        if images == "files":
            paths = tuple(str(folder / f"{name}_{i}.png") for i in range(number))
            for path, image in zip(paths, pixels, strict=True):
                Image.fromarray(image).save(path)
        if images != "pixels":
            pixels = rng.normal(size=(number, 1, 1, 5)).astype(np.float32)
        train = Examples(pixels, label)
        ids = np.array(names(number))
        few = Examples(pixels[:0], label[:0])
        return Domain(
            name, train, few, train, ids, files=paths, test_id=ids, test_files=paths
        )

    return Task(domain("photo", source), domain("sketch", count), tuple(classes), None)


def run(made, *, rounds=2, person=False):
    """What pages read of a run."""
    asks = Person("0a1b2c3d", (), (), "", 0) if person else None
    policy = types.SimpleNamespace(num_rounds=rounds)
    return types.SimpleNamespace(task=made, person=asks, policy=policy)


def fill(folder, made, *, rounds=2, per_round=3, accuracy=(0.5, 0.75), **config):
    """Writes the record of a run: config.yaml, metrics.jsonl and picks.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"name": "x", "seed": 0, "method": "mme", "acquisition": "k_center"}
    content = {
        "config": {**fields, "data": {}, **config},
        "data": {"source": "sha256:a", "target": "sha256:b"},
        "classes": list(made.class_names),
        "image_shape": [8, 8, 3],
        "versions": {"python": "3"},
        "devices": ["cpu"],
    }
    (folder / workdir.CONFIG).write_text(yaml.safe_dump(content))
    ids, by = made.target.id.tolist(), content["config"]["acquisition"]
    for number in range(rounds):
        first = number * per_round
        picks = [
            workdir.Pick(number, i, "target", id, 0.5 + i, by, "0/9" * (number > 0))
            for i, id in enumerate(ids[first : first + per_round])
        ]
        workdir.append_picks(folder, picks)
        row = {
            "event": "round",
            "round": number,
            "step": 9,
            "labels_target": (number + 1) * per_round,
            "labels_val": 0,
            "source_samples": len(made.source.id),
            "test_accuracy": accuracy and accuracy[number],
            "val_accuracy": None,
            "test_images": 24 if accuracy else 0,
            "seconds": 1.0,
        }
        workdir.append(folder, [row])


def ask(folder, made, number, ids, *, given=(), wrong=()):
    """Writes a query, and the answers to some of its images."""
    first, second = made.class_names[:2]
    items = tuple(Item(id, id, "", first, 0.9, 1.0, "") for id in ids)
    place = query.place(folder, number)
    place.mkdir(parents=True)
    text = query.text(Query("0a1b2c3d", number, made.class_names, items))
    (place / query.FILE).write_text(text)
    lines = [
        answers.Answer(id, second if id in wrong else first, False, "", "page", first)
        for id in given
    ]
    answers.append(folder, lines)


def swept(made, *, confidence=2.0, embedding=4):
    """Sweeps of a network that takes every third image for the next class."""
    rng = np.random.default_rng(1)
    classes = len(made.class_names)

    def part(domain):
        side = made.source if domain == SOURCE else made.target
        count, label = len(side.train.label), np.asarray(side.train.label)
        logits = rng.normal(size=(count, classes), scale=0.1).astype(np.float32)
        said = (label + (np.arange(count) % 3 == 0)) % classes
        logits[np.arange(count), said] += confidence
        vectors = rng.normal(size=(count, embedding)).astype(np.float32)
        return sweeps.Part(np.arange(count), label, vectors, logits)

    parts = {domain: part(domain) for domain in (SOURCE, TARGET)}

    def test():
        rows = np.arange(len(made.target.test.label))
        return evaluation.Tested(rows, parts[TARGET].logits[rows], parts[TARGET].label)

    return sweeps.Sweeps(parts.__getitem__, lambda: parts[TARGET], test)


def experiment(made, picked):
    """The end of a run that has the labels of some rows of the target."""
    label = np.full(len(made.target.id), UNLABELED, np.int32)
    label[picked] = np.asarray(made.target.train.label)[picked]
    pools = Pools(np.ones(len(made.source.id), bool), label >= 0)
    return types.SimpleNamespace(pools=pools, label=label)


def text(folder, built, *, finished=True, with_pictures=True, **options):
    """The page of a folder."""
    gathered = record.gather(folder, 'x: <b>"photo"</b>', command="run", **options)
    found = None
    if finished:
        state = experiment(built.task, np.arange(6))
        found = details.gather(gathered, built, state, swept(built.task))
    path = page.write(gathered, built, found, with_pictures=with_pictures)
    return path.read_text(encoding="utf-8")
