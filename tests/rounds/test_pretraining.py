"""The stage on the source alone: what a run gets of it, its cache, its resumes."""

import concurrent.futures
import contextlib
import functools
import pathlib
import shutil

import jax
import numpy as np
import pytest

from dact_jax import errors, run_types, runner
from dact_jax.configuration import build
from dact_jax.rounds import actions, checkpoint, claim, lock, session, workdir
from dact_jax.run_types import lengths
from dact_jax.types import SOURCE
from tests import toy

pytestmark = pytest.mark.usefixtures("built_once")

# Two norm rows, evaluations between, and the best weights go on: all that is stored.
CHANGES = {
    "model.num_norms": 2,
    "pretrain.steps": 8,
    "train.first_steps": 6,
    "eval.every": 2,
    "eval.keep": "best_val",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the data, and of the runs that several tests read."""
    return tmp_path_factory.mktemp("pretraining")


def _config(folder, preset="s_act", **changes):
    return toy.vector_config(folder, preset, **{**CHANGES, **changes})


def _run(config, place):
    runner.run(config, place, command="command")
    return place


@pytest.fixture(scope="module")
def whole(folder):
    """A run that nothing stopped."""
    return _run(_config(folder), folder / "whole")


@pytest.fixture(scope="module")
def anew(folder):
    """The same, but every round begins from the pretrained weights."""
    return _run(_config(folder, **{"train.carry_weights": False}), folder / "anew")


def _silent(stage, lengths, start):
    return contextlib.nullcontext(run_types.Show())


def _prepare(config, place):
    """The run after its pre-training in `place`, that stage's variables, its row."""
    made, data = build.build(config)
    take = functools.partial(claim.claim, data=data, devices=["cpu"])
    ready, row = session.pretrain(made, place, take, _silent)
    stage = made.pretraining
    kept = pathlib.Path(stage.folder) if stage.folder else place / "pretrained"
    store = checkpoint.open_store(kept / "checkpoints")
    trained = store.restore(actions.template(stage.run)).train.variables
    return ready, trained, row


def _rows(place):
    """All rows without the seconds, which no two runs share."""
    rows = workdir.read(place)
    return [
        {k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows
    ]


def _contents(place):
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def _same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def _every_row_is_the_sources(rows, trained):
    for new, old in zip(jax.tree.leaves(rows), jax.tree.leaves(trained), strict=True):
        assert new.shape == (2, *old.shape[1:])
        np.testing.assert_array_equal(new, np.repeat(old[SOURCE][None], 2, 0))


def test_the_run_starts_from_the_pretrained_weights(folder, whole):
    made, trained, _ = _prepare(_config(folder), whole)
    start = made.train
    _same(start.variables.params, trained.params)
    _every_row_is_the_sources(start.variables.norm, trained.norm)
    _every_row_is_the_sources(start.variables.stats, trained.stats)
    moments = jax.tree.leaves(trained.stats)
    assert all(np.abs(np.asarray(leaf) - leaf[0, 0]).max() > 0 for leaf in moments)
    assert start.step == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(start.opt_state))


def test_training_goes_on_from_there(folder, whole):
    """At a learning rate of 0 the weights stay those, to the end of the last round."""
    shared = {"pretrain.folder": str(whole / "pretrained"), "train.learning_rate": 0.0}
    config = _config(folder, **shared)
    still = _run(config, folder / "still")
    made, trained, _ = _prepare(config, still)
    store = checkpoint.open_store(still / "checkpoints")
    done = store.restore(actions.template(made))
    assert done.round == 2
    _same(done.train.variables.params, trained.params)
    _every_row_is_the_sources(done.train.variables.norm, trained.norm)
    assert not (still / "pretrained").exists()


def test_the_loss_predictor_starts_from_there_too(folder, tmp_path):
    made, trained, row = _prepare(_config(folder, "d_act"), tmp_path)
    start = made.loss_predictor.run.train
    _same(start.variables.params["encoder"], trained.params["encoder"])
    assert set(start.variables.params) == {"encoder", "classifier", "predicted_loss"}
    _same(start.variables.norm, trained.norm)
    _same(start.variables.stats, trained.stats)
    assert row["source_pool"] == 60  # whose labels it all read, says the ledger


def test_the_folder_of_another_run_is_refused_without_waiting_for_it(
    folder, whole, tmp_path, monkeypatch
):
    def waits(folder):
        raise AssertionError("it waits")

    monkeypatch.setattr(lock, "_PATIENCE", 0)
    monkeypatch.setattr(lock, "_in_use", waits)
    config = _config(folder, **{"pretrain.folder": str(whole)})
    told = f"{whole} was started with .* give another --config.pretrain.folder"
    with lock.hold(whole), pytest.raises(errors.InputError, match=told):
        runner.run(config, tmp_path / "run")


def test_it_sees_the_source_alone(folder):
    made, _ = build.build(_config(folder))
    stage = made.pretraining.run
    assert lengths(stage) == [8]
    assert lengths(made) == [6, 8]
    assert (stage.schedule.sizes.target, stage.schedule.sizes.unlabeled) == (0, 0)
    assert set(stage.train.variables.params) == {"encoder", "classifier"}
    norms = [
        *stage.train.variables.norm.values(),
        *stage.train.variables.stats.values(),
    ]
    assert all(len(leaf) == 1 for leaf in jax.tree.leaves(norms))
    assert not actions.template(stage).pools.target.any()
    assert stage.task.source is made.task.source
    assert stage.key != made.key  # its draws are not those of round 0


def test_the_record_has_its_accuracy(folder, whole):
    made, trained, _ = _prepare(_config(folder), whole)
    rows = [row for row in workdir.read(whole) if row["event"] == "pretrain"]
    assert rows == workdir.read(whole)[:1]
    row = rows[0]
    assert (row["round"], row["step"], row["labels_target"]) == (-1, 8, 0)
    stage, test = made.pretraining.run, made.task.target.test
    features, _ = stage.model.encode(trained, test.image[None], (0,), train=False)
    guess = stage.model.head(trained, "classifier", features)[0].argmax(-1)
    assert row["test_accuracy"] == np.mean(np.asarray(guess) == test.label)
    assert row["test_images"] == len(test.label)
    (own,) = (r for r in workdir.read(whole / "pretrained") if r["event"] == "round")
    assert {**own, "event": "pretrain", "round": -1} == row


def test_what_is_finished_is_only_read(folder, whole):
    before = _contents(whole)
    _run(_config(folder), whole)
    _, _, row = _prepare(_config(folder), whole)
    assert _contents(whole) == before
    assert row == workdir.read(whole)[0]


def test_its_bar_has_its_name(folder, tmp_path, capsys):
    runner.run(_config(folder), tmp_path, progress=True)
    lines = capsys.readouterr().out.splitlines()
    compiled = [line for line in lines if line.endswith("compiling the training step")]
    assert compiled[0].startswith("pre-training: ")
    lines = [line for line in lines if line not in compiled]
    assert [line.split()[0] for line in lines[:2]] == ["Source", "Target"]
    lines = lines[2:]
    assert [line.split(":")[0] for line in lines] == [
        "pre-training",
        "round 0",
        "round 1",
    ]


def _killed(config, place, monkeypatch, event, at, within):
    """A run that dies once such a row of a folder of that name is written."""
    write = workdir.append

    def append(folder, rows):
        write(folder, rows)
        for row in rows:
            written = (row["event"], (row["round"], row["step"]))
            if folder.name == within and written == (event, at):
                raise toy.Killed

    with monkeypatch.context() as patch:
        patch.setattr(workdir, "append", append)
        with pytest.raises(toy.Killed):
            runner.run(config, place, command="command")


def test_stopped_in_pretraining_it_goes_on_bit_for_bit(
    folder, whole, tmp_path, monkeypatch
):
    config, place = _config(folder), tmp_path / "killed"
    _killed(config, place, monkeypatch, "train", (0, 6), "pretrained")
    assert not (place / "metrics.jsonl").exists() or not workdir.read(place)
    saved = {path.name for path in (place / "pretrained" / "checkpoints").iterdir()}
    assert "2" in saved  # of iteration 4: it goes on from there, not from the start
    _, expected, _ = _prepare(config, whole)
    _, trained, _ = _prepare(config, place)
    _same(trained, expected)
    assert _rows(place / "pretrained") == _rows(whole / "pretrained")
    _run(config, place)
    assert _rows(place) == _rows(whole)


@pytest.mark.parametrize("carry", [True, False])
def test_killed_after_pretraining_and_started_again_it_is_the_same_run(
    folder, request, tmp_path, monkeypatch, carry
):
    whole = request.getfixturevalue("whole" if carry else "anew")
    config, place = _config(folder, **{"train.carry_weights": carry}), tmp_path / "run"
    stops = [
        ("pretrain", (-1, 8)),  # before any checkpoint of the run itself
        ("train", (0, 6)),  # at the end of round 0: round 1 begins after a resume
        ("eval", (1, 6)),  # between two checkpoints of round 1
        ("round", (1, 8)),
    ]
    for event, at in stops:
        _killed(config, place, monkeypatch, event, at, "run")
    before = _contents(place / "pretrained")
    _run(config, place)
    assert _rows(place) == _rows(whole)
    picks = (place / "picks.csv").read_bytes()
    assert picks == (whole / "picks.csv").read_bytes()
    assert _contents(place / "pretrained") == before


def test_a_round_may_begin_from_the_pretrained_weights(folder, anew):
    made, _, _ = _prepare(_config(folder, **{"train.carry_weights": False}), anew)
    act = actions.bind(made, None, anew, run_types.Show())
    moved = jax.tree.map(lambda leaf: leaf + 1, made.train)
    _same(act.restart(moved), made.train)


def test_two_methods_with_one_classifier_share_a_folder(folder, tmp_path):
    shared = {"pretrain.folder": str(tmp_path / "shared")}
    first, trained, row = _prepare(_config(folder, "alda", **shared), tmp_path / "a")
    before = _contents(tmp_path / "shared")
    dann = {"model.num_norms": 1, "eval.keep": "last", **shared}
    second, same, again = _prepare(_config(folder, "dann", **dann), tmp_path / "b")
    assert _contents(tmp_path / "shared") == before
    _same(trained, same)
    assert row == again
    for made in (first, second):
        for name in ("encoder", "classifier"):
            _same(made.train.variables.params[name], trained.params[name])
    assert "discriminator" in second.train.variables.params

    with pytest.raises(errors.InputError, match=r"heads\.classifier=Linear.*Cosine"):
        _prepare(_config(folder, **shared), tmp_path / "c")
    assert _contents(tmp_path / "shared") == before


def test_two_runs_that_start_at_once_share_one_pretraining(folder, whole, tmp_path):
    """The second waits for the first; both end as if they had run alone."""
    config = _config(folder, **{"pretrain.folder": str(tmp_path / "shared")})
    places = [tmp_path / name for name in "ab"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in pool.map(functools.partial(_run, config), places):
            pass
    for place in places:
        assert _rows(place) == _rows(whole)
    assert _rows(tmp_path / "shared") == _rows(whole / "pretrained")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 1),
        ("pretrain.learning_rate", 0.5),
        ("pretrain.steps", 10),
        ("pretrain.momentum", 0.5),
        ("train.gamma", 0.5),
        ("model.widths", (4,)),
    ],
)
def test_another_pretraining_is_refused_by_its_field(folder, whole, field, value):
    changes = {"pretrain.folder": str(whole / "pretrained"), field: value}
    before = _contents(whole)
    with pytest.raises(errors.InputError) as caught:
        _prepare(_config(folder, **changes), folder / "other")
    assert f"{field}=" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert _contents(whole) == before


def test_what_it_does_not_see_may_differ(folder, whole):
    changes = {
        "pretrain.folder": str(whole / "pretrained"),
        "model.num_norms": 1,
        "train.momentum": 0.5,
        "train.weight_decay": 0.1,
        "train.alpha": 1.0,  # of another schedule
        "train.batch_source": 16,
        "train.batch_target": 16,
    }
    before = _contents(whole)
    made, trained, _ = _prepare(_config(folder, **changes), folder / "other")
    _same(made.train.variables, trained)
    assert _contents(whole) == before


def test_adda_keeps_the_pretrained_encoder_beside_its_own(folder, tmp_path):
    config = _config(folder, "adda", **{"eval.keep": "last", "pretrain.steps": 4})
    made, trained, _ = _prepare(config, tmp_path)
    params = made.train.variables.params
    frozen = params["source_encoder"]
    _same(params["encoder"], trained.params["encoder"])
    _same(params["classifier"], trained.params["classifier"])
    _same(frozen["params"], {"encoder": trained.params["encoder"]})
    _every_row_is_the_sources(frozen["norm"], trained.norm)
    _every_row_is_the_sources(frozen["stats"], trained.stats)


def test_adda_needs_it(folder):
    with pytest.raises(errors.InputError, match=r"'adda' .* set pretrain\.steps"):
        build.build(_config(folder, "adda", **{"pretrain.steps": 0}))


def test_a_stage_that_diverges_says_which_and_what_helps(folder):
    unbounded = {"model.batch_norm": False, "model.num_norms": 1}
    rate = {"pretrain.learning_rate": 1e6, "pretrain.steps": 40}
    config = _config(folder, "source_only", **unbounded, **rate)
    with pytest.raises(
        errors.DivergedError, match=r"in pre-training, .*pretrain\.learn"
    ):
        _run(config, folder / "diverged")


def test_a_finished_stage_without_its_row_is_refused(folder, whole):
    config = _config(folder, **{"pretrain.folder": str(folder / "rowless")})
    shutil.copytree(whole / "pretrained", folder / "rowless")
    (folder / "rowless" / workdir.METRICS).unlink()
    with pytest.raises(errors.InputError, match=r"rowless.* has lost rows"):
        _run(config, folder / "needs_row")
