"""A person is asked for first labels that an acquisition has chosen."""

import json

import pytest

from dact_jax import plugins, runner
from dact_jax.queries import query
from tests.rounds.asking import campaigns

FIRST = {
    "policies.single.start": "acquisition",
    "policies.single.purchases": 0,
    "pretrain.steps": 4,
    "pretrain.batch": 4,
}


def test_a_person_is_asked_by_the_pretrained_network(tmp_path):
    truth = campaigns.write_domains(tmp_path)
    config = campaigns.config(tmp_path, **FIRST, oracle="human")
    result, (asked,) = campaigns.finish(config, tmp_path / "run", truth)
    assert (asked.round, len(asked.items)) == (0, 3)
    assert all(item.suggested and item.score for item in asked.items)
    assert [item.id for item in asked.items] == [pick.id for pick in result.picks]
    assert {pick.checkpoint for pick in result.picks} == {"pretrained"}
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
    skip = asked.items[0].id
    campaigns.answer(tmp_path / "run", asked, truth, skip=(skip,))
    result = runner.run(config, tmp_path / "run")
    assert result.query is None
    assert [pick.id for pick in result.picks] == [i.id for i in asked.items[1:]]
