"""Tiny runs on vectors whose labels a table gives, where a person is asked."""

import json

import numpy as np

import dact_jax
from dact_jax import runner
from dact_jax.rounds import answers

CLASSES = ("cat", "dog", "Ärger")
NUM_SOURCE, NUM_TARGET = 60, 48


def write_domains(folder):
    """Writes source.npz, labelled.npz and unlabelled.npz; returns the true labels."""
    centers = np.random.default_rng(0).normal(size=(3, 8)) * 2

    def draw(count, seed):
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 3, count)
        values = centers[label] + rng.normal(size=(count, 8))
        return values.astype(np.float32), np.array(CLASSES)[label]

    features, label = draw(NUM_SOURCE, 1)
    np.savez(folder / "source.npz", features=features, label=label)
    features, label = draw(NUM_TARGET, 2)
    ids = np.array([f"t/{row}.png" for row in range(NUM_TARGET)])
    np.savez(folder / "labelled.npz", features=features, label=label, path=ids)
    np.savez(folder / "unlabelled.npz", features=features, path=ids)
    return dict(zip(ids.tolist(), label.tolist(), strict=True))


def config(folder, target="labelled.npz", **changes):
    """Two purchases after the first labels: 3, 2 and 2."""
    made = dact_jax.config("embeddings:preset=s_act")
    fields = {
        "data.source": str(folder / "source.npz"),
        "data.target": str(folder / target),
        "data.val_per_class": 2,
        "policies.single.initial": 3,
        "policies.single.per_round": 2,
        "policies.single.purchases": 2,
        "acquisition": "margin",
        "model.widths": (8,),
        "train.steps": 4,
        "train.chunk": 2,
        "train.save_every": 2,
        "train.batch_source": 4,
        "train.batch_target": 4,
        "train.batch_unlabeled": 4,
        "train.eval_batch": 16,
        "figures": False,
    }
    made.update_from_flattened_dict({**fields, **changes})
    return made


def answer(folder, query, truth, *, ids=None, skip=(), origin=answers.PAGE):
    """Appends the true labels of a query's images, or of some of them."""
    given = [
        answers.Answer(
            id=item.id,
            label="" if item.id in skip else truth[item.id],
            skip=item.id in skip,
            when="2026-01-31T12:00:00Z",
            origin=origin,
            suggested=item.suggested,
        )
        for item in query.items
        if ids is None or item.id in ids
    ]
    answers.append(folder, given)


def finish(made, folder, truth, **options):
    """Runs to the end, answering all that is asked; the result and the queries."""
    queries = []
    while (result := runner.run(made, folder, **options)).query is not None:
        queries.append(result.query)
        answer(folder, result.query, truth)
    return result, queries


def numbers(folder):
    """metrics.jsonl without seconds, and picks.csv: what equal runs have in common."""
    rows = [
        {
            name: value
            for name, value in json.loads(line).items()
            if "seconds" not in name
        }
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]
    return rows, (folder / "picks.csv").read_text()
