"""A person as the oracle: equal labels give equal bits, whatever happens between."""

import pytest

from dact_jax import runner
from dact_jax.queries import query
from dact_jax.rounds import answers, workdir
from tests.rounds.asking import campaigns


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return folder, campaigns.write_domains(folder)


@pytest.fixture(scope="module")
def revealed(data):
    """The folder of the run whose labels the dataset gives."""
    folder, _ = data
    runner.run(campaigns.config(folder), folder / "revealed")
    return folder / "revealed"


def test_equal_labels_give_equal_bits(data, revealed, tmp_path):
    folder, truth = data
    made = campaigns.config(folder, oracle="human")
    result, queries = campaigns.finish(made, tmp_path, truth)
    assert campaigns.numbers(tmp_path) == campaigns.numbers(revealed)
    assert [(asked.round, len(asked.items)) for asked in queries] == [
        (0, 3),
        (1, 2),
        (2, 2),
    ]
    assert all(item.suggested == "" for item in queries[0].items)
    for item in queries[1].items:
        assert item.suggested in campaigns.CLASSES
        assert 1 / 3 <= item.confidence <= 1
        assert item.score is not None
    assert not result.missing
    assert len(answers.read(tmp_path)) == 7


def test_one_oracle_goes_on_where_the_other_stopped(data, revealed, tmp_path):
    folder, truth = data
    human = campaigns.config(folder, oracle="human")
    first = runner.run(human, tmp_path)
    campaigns.answer(tmp_path, first.query, truth)
    assert runner.run(human, tmp_path).query.round == 1
    runner.run(campaigns.config(folder), tmp_path)
    assert campaigns.numbers(tmp_path) == campaigns.numbers(revealed)


def test_a_target_without_any_label(data, tmp_path):
    folder, truth = data
    made = campaigns.config(folder, "unlabelled.npz")
    result, queries = campaigns.finish(made, tmp_path, truth)
    assert [asked.round for asked in queries] == [0, 1, 2]
    assert result.accuracies == [None, None, None]
    bought = {pick.id for pick in workdir.read_picks(tmp_path)}
    assert bought == {item.id for asked in queries for item in asked.items}
    assert (tmp_path / "report.md").read_text().count("unknown") >= 1


def test_a_query_is_left_as_it_is_while_answers_are_missing(data, tmp_path):
    folder, truth = data
    made = campaigns.config(folder, "unlabelled.npz")
    asked = runner.run(made, tmp_path).query
    place = query.place(tmp_path, 0)
    (place / "labels.csv").write_text("file_name,label,note\n")  # somebody edits it
    first, *others = (item.id for item in asked.items)
    campaigns.answer(tmp_path, asked, truth, ids=[first])
    again = runner.run(made, tmp_path)
    assert again.query == asked
    assert list(again.missing) == others
    assert (place / "labels.csv").read_text() == "file_name,label,note\n"
    partial = runner.run(made, tmp_path, accept_partial=True)
    assert partial.query.round == 1  # for which it waits all the same
    assert [pick.id for pick in partial.picks] == [first]
    assert partial.rows[-1]["labels_target"] == 1
