"""Damaged files end as values or as one sentence; the long form is `-m tests.fuzz`."""

import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from dact_jax import errors
from tests.fuzz import __main__ as command, campaign, mutations, readers, seeds

EXAMPLES = 400
SUFFIXES = sorted({seed.name.rpartition(".")[2] for seed in seeds.seeds()})


@pytest.fixture
def case():
    return campaign.Case("0/0", seeds.seeds()[0], b"content", "source")


def test_every_seed_is_read(tmp_path):
    """So that a fault comes from the damage, and every reader gets past the start."""
    named = set()
    for number, seed in enumerate(seeds.seeds()):
        for reader in seed.readers.split():
            place = tmp_path / f"{number}{reader}"
            path = seeds.write(seed, seed.content, place)
            refused = seed.name.startswith(("two_", "claimed")) or reader == "claim"
            refused |= seed.name.endswith(("bzip2.npz", "lzma.npz"))
            if refused:  # numpy does not write it; two networks; another run's folder
                with pytest.raises(errors.InputError):
                    readers.READERS[reader](path)
            else:
                readers.READERS[reader](path)
            named.add(reader)
    assert named == set(readers.READERS)


@hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(strategies.randoms(use_true_random=False))
def test_damaged_files(tmp_path_factory, random):
    case = campaign.make("by hypothesis", random)
    folder = tmp_path_factory.mktemp("case")
    fault = campaign.check(case, readers.READERS[case.reader], folder)
    assert fault is None, f"{fault.place}\n{fault.detail}"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_is_of_many_kinds_and_can_be_repeated(suffix):
    seed = next(s for s in seeds.seeds() if s.name.endswith(f".{suffix}"))
    numbers = [f"{suffix}/{count}" for count in range(40)]

    def damaged(number):
        random = mutations.Random(number)
        return mutations.mutated(seed.name, seed.content, random, [b"other"])

    contents = [damaged(number) for number in numbers]
    assert contents == [damaged(number) for number in numbers]
    assert len(set(contents)) > 25


def slow(path):
    while path:
        pass


def large(path):
    del path
    return np.zeros(2**18)


def refuse(message):
    def read(path):
        raise errors.InputError(message.format(path=path))

    return read


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda path: {}[path], "test_fuzz"),
        (slow, "SlowError"),
        (large, "takes 2 MiB"),
        (refuse(""), "empty"),
        (refuse("{path}\nis wrong."), None),
        (refuse("it is wrong."), "does not name"),
        (refuse("{path} is wrong."), None),
    ],
)
def test_what_counts_as_a_fault(read, words, case, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "SECONDS", 0.2)
    monkeypatch.setattr(campaign, "MEMORY", 2**20)
    fault = campaign.check(case, read, tmp_path)
    assert (fault is None) == (words is None)
    assert words is None or words in fault.place


def test_the_long_form_counts_and_keeps_faults(tmp_path, capfd):
    """A process of its own; a fault is made by the memory that it may take."""
    command.main(["tests.fuzz", "--cases=25", f"--output={tmp_path}"])
    assert "25 cases in" in capfd.readouterr().out
    kept = command.keep(
        campaign.Fault("x.py:1 KeyError", campaign.make("0/1"), "why"), tmp_path
    )
    assert kept.read_bytes() == campaign.make("0/1").content
    assert (
        "--only=0/1" in pathlib.Path(tmp_path, "x.py_1_KeyError/fault.txt").read_text()
    )
