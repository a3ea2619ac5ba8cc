"""Ask and tell from Python: the same folder and the same bits as the command."""

import sys
import threading

import pytest
from absl.testing import flagsaver

import dact_jax
from dact_jax import errors, main, runner
from dact_jax.queries import query
from dact_jax.reports.page import page
from dact_jax.rounds import answers, workdir
from tests.rounds.asking import campaigns

pytestmark = pytest.mark.usefixtures("built_once")


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


def test_ask_and_tell_give_the_bits_of_the_dataset(data, revealed, tmp_path):
    folder, truth = data
    made = campaigns.config(folder, oracle="human")
    campaign = dact_jax.campaign(made, tmp_path)
    first = campaign.ask()
    assert (first.round, len(first.ids), first.missing) == (0, 3, first.ids)
    assert first.class_names == campaigns.CLASSES
    assert first.suggested == ("", "", "")
    campaign.tell({id: truth[id] for id in first.ids})
    asked = []

    def go_on():  # outside the main thread, where a notebook's widgets are
        while (question := campaign.ask()) is not None:
            asked.append(question)
            campaign.tell({id: truth[id] for id in question.ids})

    thread = threading.Thread(target=go_on)
    thread.start()
    thread.join()
    assert [question.round for question in asked] == [1, 2]
    for question in asked:
        assert set(question.suggested) <= set(campaigns.CLASSES)
        assert all(1 / 3 <= p <= 1 for p in question.confidences)
        assert None not in question.scores
    assert campaigns.numbers(tmp_path) == campaigns.numbers(revealed)
    assert campaign.classifier().class_names == campaigns.CLASSES
    assert len(campaign.result().picks) == len(answers.read(tmp_path)) == 7


def test_one_oracle_goes_on_where_the_other_stopped(data, revealed, tmp_path):
    folder, truth = data
    human = campaigns.config(folder, oracle="human")
    first = runner.run(human, tmp_path)
    campaigns.answer(tmp_path, first.query, truth)
    assert not (tmp_path / page.FILE).exists()  # no round is finished
    assert runner.run(human, tmp_path).query.round == 1
    said = (tmp_path / page.FILE).read_text()
    assert "round 1 waits for the labels of 2 images" in said
    runner.run(campaigns.config(folder), tmp_path)
    assert campaigns.numbers(tmp_path) == campaigns.numbers(revealed)


@pytest.mark.filterwarnings("ignore:the load_module")  # of config_flags
def test_a_target_without_labels_through_the_command(
    data, tmp_path, monkeypatch, capsys
):
    folder, truth = data
    made = campaigns.config(folder, "unlabelled.npz")
    asked = runner.run(made, tmp_path).query
    monkeypatch.setattr(
        main.app, "run", lambda execute, argv, flags_parser: execute(flags_parser(argv))
    )
    monkeypatch.setattr(main.cli, "quiet_libraries", lambda: None)

    def command(*arguments):
        """--workdir alone says which run goes on."""
        monkeypatch.setattr(sys, "argv", ["main", f"--workdir={tmp_path}", *arguments])
        with flagsaver.flagsaver():
            main.main(sys.argv)
        return " ".join(capsys.readouterr().out.split())

    first, *others = (item.id for item in asked.items)
    mine = tmp_path / "mine.csv"
    mine.write_text(f"id,label\n{first},{truth[first]}\n", encoding="utf-8")
    said = command(f"--answers={mine}")
    assert "1 new answer was read from mine.csv." in said
    assert f"2 of 3 labels in {tmp_path}" in said
    assert f"still missing ({others[0]}, {others[1]}); answer in the browser" in said
    said = command("--accept_partial")
    assert "round 0: trained with 1 target labels bought, 0 for validation" in said
    assert "Round 1: 2 images wait for their labels in" in said  # and not without
    assert [pick.id for pick in workdir.read_picks(tmp_path)] == [first]
    result, queries = campaigns.finish(made, tmp_path, truth)
    assert [one.round for one in queries] == [1, 2]
    assert result.accuracies == [None, None, None]
    assert "Where the labels came from" in result.report.read_text()


@pytest.fixture
def asked(data, tmp_path):
    """A campaign in whose folder a query is written, without a run."""
    folder, _ = data
    items = tuple(query.Item(id, id, "", "", None, None, "") for id in ("a1", "a2"))
    wanted = query.Query("0a1b2c3d", 0, ("cat", "dog"), items)
    query.place(tmp_path, 0).mkdir(parents=True)
    (query.place(tmp_path, 0) / query.FILE).write_text(query.text(wanted))
    return dact_jax.campaign(campaigns.config(folder), tmp_path)


@pytest.mark.parametrize(
    ("labels", "skip", "message"),
    [
        ({"a3": "cat"}, [], "'a3' is no image that was asked for; valid: 'a1'"),
        ({"a1": "cat", "a2": "dgo"}, [], "'dgo' of 'a2' is no class; .*'dog'"),
        ({"a1": 1}, [], "the label 1 of 'a1' is no class; .*'cat', 'dog'"),
        ({"a1": "cat"}, ["a1"], "'a1' has a label and is in skip"),
        ({"a1": "cat"}, ["a9"], "'a9' is no image"),
        ({}, "a1", r"skip must be a list of ids: use \['a1'\]"),
    ],
)
def test_what_cannot_be_told_is_refused_whole(asked, labels, skip, message):
    with pytest.raises(errors.InputError, match=message):
        asked.tell(labels, skip=skip)
    assert answers.read(asked.workdir) == []


def test_told_labels_and_skips_are_on_the_disk(asked):
    asked.tell({"a1": "dog"}, skip=["a2"])
    asked.tell()
    given = [(one.id, one.label, one.skip) for one in answers.read(asked.workdir)]
    assert given == [("a1", "dog", False), ("a2", "", True)]


def test_a_campaign_needs_a_config(tmp_path):
    with pytest.raises(errors.InputError, match="config must be a ConfigDict"):
        dact_jax.campaign("digits", tmp_path)
