"""A person is asked for first labels that an acquisition has chosen."""

import json

import pytest

from dact_jax import plugins, runner
from dact_jax.queries import query
from tests.rounds.asking import campaigns

FIRST = {
    "policies.single.start": "acquisition",
    "policies.single.purchases": 1,
    "pretrain.steps": 4,
    "pretrain.batch": 4,
}


def test_a_person_is_asked_by_the_pretrained_network_and_the_run_is_the_same(tmp_path):
    truth = campaigns.write_domains(tmp_path)
    by_data = campaigns.config(tmp_path, **FIRST, oracle="dataset")
    expected, _ = campaigns.finish(by_data, tmp_path / "a", truth)
    by_person = campaigns.config(tmp_path, **FIRST, oracle="human")
    result, queries = campaigns.finish(by_person, tmp_path / "b", truth)
    assert campaigns.numbers(tmp_path / "b") == campaigns.numbers(tmp_path / "a")
    assert [(asked.round, len(asked.items)) for asked in queries] == [(0, 3), (1, 2)]
    assert all(item.suggested and item.score for item in queries[0].items)
    picks = result.picks[:3]
    assert [item.id for item in queries[0].items] == [pick.id for pick in picks]
    assert {pick.checkpoint for pick in picks} == {"pretrained"}
    assert result.accuracies == expected.accuracies
    page = result.report.with_suffix(".html").read_text(encoding="utf-8")
    assert "chosen by margin." in page  # none at random


def test_an_untrained_classifier_suggests_nothing(tmp_path, monkeypatch):
    truth = campaigns.write_domains(tmp_path)
    k_center = plugins.module("acquisitions", "k_center")
    monkeypatch.setattr(k_center, "READS", ("input",), raising=False)
    changes = {**FIRST, "acquisition": "k_center", "pretrain.steps": 0}
    config = campaigns.config(tmp_path, "unlabelled.npz", **changes)
    config.data.val_per_class = 0
    asked = runner.run(config, tmp_path / "run").query
    assert [item.suggested for item in asked.items] == [""] * 3
    # The first pick has no score: with nothing labelled it is far from nothing.
    assert [item.score is None for item in asked.items] == [True, False, False]
    place = query.place(tmp_path / "run", 0) / query.FILE
    json.loads(place.read_text(), parse_constant=pytest.fail)  # Infinity is no JSON
    again = runner.run(config, tmp_path / "run").query
    assert again == asked
    campaigns.answer(tmp_path / "run", asked, truth, skip=(asked.items[0].id,))
    later = runner.run(config, tmp_path / "run").query
    assert later.round == 1
    assert all(item.suggested for item in later.items)
