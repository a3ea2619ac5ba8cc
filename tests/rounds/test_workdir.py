import json
import os
import shutil

import pytest
import yaml

from dact_jax import errors
from dact_jax.rounds import claim, workdir
from dact_jax.rounds.formats import manifest

CONFIG = {
    "method": "mme",
    "policies": {"single": {"per_round": 10, "shots": ()}, "fixed": {}},
    "train": {"learning_rate": 1e-5, "mean": (0.5, 0.25)},
}
DATA = {"source": "sha256:aa", "target": "sha256:bb"}
IDS = [
    "a, b.png",
    'she said "no".png',
    "zwölf/数字.png",
    "line\nend",
    "bare\rcr",
    " blank ",
    "=cmd|' /C calc'!A0",
    "'=quoted",
    "@a;-b\n+c",
    "\t=tab",
]


def claimed(folder, config=CONFIG, data=DATA):
    claim.claim(folder, config, data=data, devices=["cpu"])


def train(round_, step, loss=0.5):
    return {"event": "train", "round": round_, "step": step, "loss": loss}


def finished(round_):
    counts = {"labels_target": 2, "labels_val": 0, "source_samples": 9}
    accuracies = {"test_accuracy": 0.5, "val_accuracy": None}
    row = {"event": "round", "round": round_, "step": 20, "seconds": 1.5}
    return {**row, **counts, **accuracies}


PRETRAINED = {**finished(0), "event": "pretrain", "round": -1}


def pick(round_, order, id_="x", side="target"):
    return workdir.Pick(round_, order, side, id_, 0.1 + order, "k_center", "0/20")


def whole_run(folder, rounds=3):
    """What a run of 20 steps a round writes, in its order."""
    workdir.append_picks(folder, [pick(0, 0), pick(0, 1, "a,b")])
    for round_ in range(rounds):
        for step in (10, 20):
            workdir.append(folder, [train(round_, step, 0.1 * (round_ + step))])
        workdir.append(folder, [finished(round_)])
        workdir.append_picks(folder, [pick(round_ + 1, 0, f"é{round_}", "source")])


def test_numbers_round_trip_exactly(tmp_path):
    rows = [train(0, 1, 0.1 + 0.2), train(0, 2, 5e-324), train(1, 2**53 + 1, -0.0)]
    workdir.append(tmp_path, rows[:1])
    workdir.append(tmp_path, rows[1:])
    found = workdir.read(tmp_path)
    assert found == rows
    assert str(found[2]["loss"]) == "-0.0"
    lines = (tmp_path / workdir.METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_refused_and_nothing_is_written(tmp_path, bad):
    with pytest.raises(ValueError, match=r"loss is (nan|inf) in the row"):
        workdir.append(tmp_path, [train(0, 1), train(0, 2, bad)])
    with pytest.raises(ValueError, match="not JSON compliant"):
        workdir.append(tmp_path, [{**train(0, 1), "nested": [bad]}])
    assert workdir.read(tmp_path) == []


def test_picks_round_trip(tmp_path):
    picks = [pick(0, order, id_) for order, id_ in enumerate(IDS)]
    picks.append(picks[0]._replace(score=1 / 3, checkpoint="", side="source"))
    workdir.append_picks(tmp_path, picks[:2])
    workdir.append_picks(tmp_path, picks[2:])
    assert workdir.read_picks(tmp_path) == picks
    text = (tmp_path / workdir.PICKS).read_text()
    assert text.startswith("round,order,side,id,score,acquisition,checkpoint\n")
    assert text.count("acquisition") == 1


@pytest.mark.parametrize("name", [workdir.METRICS, workdir.PICKS])
def test_a_kill_at_any_byte_loses_only_the_last_line(tmp_path, name):
    read = {workdir.METRICS: workdir.read, workdir.PICKS: workdir.read_picks}[name]
    workdir.append(
        tmp_path,
        [{**train(0, i), "event": "other", "note": text} for i, text in enumerate(IDS)],
    )
    workdir.append_picks(tmp_path, [pick(0, i, text) for i, text in enumerate(IDS)])
    whole = (tmp_path / name).read_bytes()
    rows = read(tmp_path)
    counts = []
    for size in range(len(whole) + 1):
        (tmp_path / name).write_bytes(whole[:size])
        found = read(tmp_path)
        assert found == rows[: len(found)]
        counts.append(len(found))
    assert counts == sorted(counts)
    assert (counts[0], counts[-2], counts[-1]) == (0, len(IDS) - 1, len(IDS))


@pytest.mark.parametrize("at", [None, 0, 1, 2])
def test_rewound_and_gone_on_equals_never_killed(tmp_path, at):
    """Rounds of rows and picks; `at` is the last that a checkpoint came after."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    whole_run(whole)
    rows, picks = workdir.read(whole), workdir.read_picks(whole)
    written = None
    for number in range(3 if at is not None else 0):
        workdir.append(killed, [row for row in rows if row["round"] == number])
        workdir.append_picks(killed, [pick for pick in picks if pick.round == number])
        if at == number:
            written = workdir.extent(killed)
    for name, cut in ((workdir.METRICS, b'{"event": "tr'), (workdir.PICKS, b'3,0,"so')):
        with (killed / name).open("ab") as file:
            file.write(cut)
    workdir.rewind(killed, written)
    assert workdir.extent(killed) == (written or (0, 0))
    last = -1 if at is None else at
    assert workdir.read(killed) == [row for row in rows if row["round"] <= last]
    stay = [pick for pick in picks if pick.round <= last]
    assert workdir.read_picks(killed) == stay
    # What a run that goes on from there writes: all that is not there yet.
    workdir.append(killed, [row for row in rows if row["round"] > last])
    workdir.append_picks(killed, [pick for pick in picks if pick.round > last])
    assert (killed / workdir.PICKS).read_bytes() == (whole / workdir.PICKS).read_bytes()


def test_rewind_of_a_fresh_folder_leaves_it_so(tmp_path):
    workdir.rewind(tmp_path, None)
    workdir.append_picks(tmp_path, [pick(0, 0)])
    assert workdir.read(tmp_path) == []
    assert workdir.read_picks(tmp_path) == [pick(0, 0)]


def test_before_the_first_checkpoint_first_labels_and_pretraining_are_written_again(
    tmp_path,
):
    workdir.append(tmp_path, [PRETRAINED])
    workdir.append_picks(tmp_path, [pick(0, 0), pick(0, 1)])
    workdir.rewind(tmp_path, None)
    assert workdir.extent(tmp_path) == (0, 0)


@pytest.mark.parametrize("more", [train(0, 10), finished(0), pick(1, 0)])
def test_a_record_without_its_checkpoints_is_not_overwritten(tmp_path, more):
    workdir.append(tmp_path, [PRETRAINED])
    workdir.append_picks(tmp_path, [pick(0, 0)])
    if isinstance(more, workdir.Pick):
        workdir.append_picks(tmp_path, [more])
    else:
        workdir.append(tmp_path, [more])
    before = contents(tmp_path)
    with pytest.raises(errors.InputError, match="checkpoints holds no checkpoint"):
        workdir.rewind(tmp_path, None)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", [workdir.METRICS, workdir.PICKS])
@pytest.mark.parametrize("keep", [0.5, 0, None])
def test_lost_rows_are_told_and_nothing_is_dropped(tmp_path, name, keep):
    """As an earlier version's checkpoint knows it, by length alone."""
    whole_run(tmp_path)
    written = workdir.extent(tmp_path)
    size = (tmp_path / name).stat().st_size
    if keep is None:
        (tmp_path / name).unlink()
    else:
        os.truncate(tmp_path / name, int(size * keep))
    before = contents(tmp_path)
    for check in (workdir.rewind, workdir.require):
        with pytest.raises(errors.InputError) as caught:
            check(tmp_path, written, flag="--here")
        assert str(caught.value) == (
            f"{tmp_path / name} has lost rows: it holds {int(size * (keep or 0))} "
            f"bytes, and held {size} when the last checkpoint was saved; restore it, "
            "or give another --here."
        )
    assert contents(tmp_path) == before


def sealed(folder, number=7):
    """A checkpoint that knows the record as it is now."""
    place = folder / workdir.CHECKPOINTS / str(number)
    place.mkdir(parents=True)
    manifest.seal(place, [folder / workdir.METRICS, folder / workdir.PICKS])


def with_crlf(content):
    return content.replace(b"\n", b"\r\n")


def with_broken_line(content):
    return content.replace(b"20", b"2O", 1)


@pytest.mark.parametrize("name", [workdir.METRICS, workdir.PICKS])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content[:-1], "has lost rows: it holds"),
        (lambda content: content[: len(content) // 2], "has lost rows: it holds"),
        (lambda content: b"", "has lost rows: it holds 0 bytes"),
        (None, "has lost rows: it holds 0 bytes"),
        (with_crlf, "was changed: its first"),
        (with_broken_line, "was changed: its first"),
        (lambda content: content[:-2] + b"5\n", "was changed: its first"),
        (lambda content: content[1:] + b"\n", "was changed: its first"),
    ],
)
def test_a_record_that_is_not_what_a_checkpoint_knows_is_told(
    tmp_path, name, change, told
):
    claimed(tmp_path)
    whole_run(tmp_path)
    sealed(tmp_path)
    claim.check(tmp_path, CONFIG)
    path = tmp_path / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    before = contents(tmp_path)
    with pytest.raises(errors.InputError) as caught:
        claim.check(tmp_path, CONFIG, flag="--there")
    assert str(caught.value).startswith(f"{path} {told}")
    assert str(caught.value).endswith("restore it, or give another --there.")
    assert contents(tmp_path) == before


def test_what_was_written_after_the_checkpoint_is_not_looked_at(tmp_path):
    claimed(tmp_path)
    whole_run(tmp_path)
    sealed(tmp_path)
    with (tmp_path / workdir.METRICS).open("ab") as file:
        file.write(b'\r\n{"event": "tr')
    claim.check(tmp_path, CONFIG)


def test_the_newest_checkpoint_that_has_digests_is_asked(tmp_path):
    claimed(tmp_path)
    whole_run(tmp_path)
    sealed(tmp_path, 7)
    (tmp_path / workdir.CHECKPOINTS / "9999").mkdir()
    (tmp_path / workdir.PICKS).unlink()
    with pytest.raises(errors.InputError, match="lost rows"):
        claim.check(tmp_path, CONFIG)
    shutil.rmtree(tmp_path / workdir.CHECKPOINTS)
    claim.check(tmp_path, CONFIG)  # nothing to compare with; `rewind` looks again


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("field", sorted(finished(0)))
def test_a_row_without_a_field_is_told(tmp_path, field):
    row = finished(0)
    del row[field]
    workdir.append(tmp_path, [train(0, 10), row])
    with pytest.raises(errors.InputError) as caught:
        workdir.read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / workdir.METRICS}, line 2 is not a row of metrics: it has no "
        f"{field!r}; restore the file."
    )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({**finished(0), "seconds": None}, "its 'seconds' is 'None'"),
        ({**finished(0), "labels_target": True}, "its 'labels_target' is 'True'"),
        ({**finished(0), "test_accuracy": "high"}, "its 'test_accuracy' is 'high'"),
        (
            {**finished(0), "labels_per_class": {"cat": "1"}},
            "its 'labels_per_class.cat' is",
        ),
        (
            {**finished(0), "labels_per_class": [1]},
            r"its 'labels_per_class' is '\[1\]'",
        ),
        ({**finished(0), "test_mean_class_accuracy": 0.5}, "it has no 'test_at_best"),
        ({**train(0, 1), "loss": "nan"}, "its 'loss' is 'nan'"),
        ({**train(0, 1), "event": "select", "accuracy_source": 0.5}, "it has no 'acc"),
        ({**train(0, 1), "event": "eval"}, "it has no 'test_accuracy'"),
        ({**train(0, 1), "event": "pretrain"}, "it has no 'test_accuracy'"),
        ({**finished(0), "test_accuracy": 1.5}, "its 'test_accuracy' is 1.5"),
        ({**finished(0), "val_accuracy": -0.1}, "its 'val_accuracy' is -0.1"),
        ({**finished(0), "test_images": -1}, "its 'test_images' is -1"),
        ({**finished(0), "seconds": 1e300}, r"its 'seconds' is 1e\+300"),
        ({**finished(0), "labels_target": 10**99}, "its 'labels_target' is 1000"),
        ({**finished(0), "round": -2}, "its 'round' is -2"),
    ],
)
def test_a_value_that_cannot_be_reported_is_told(tmp_path, row, told):
    workdir.append(tmp_path, [row])
    with pytest.raises(errors.InputError, match=f"line 1 is not a row.*: {told}") as e:
        workdir.read(tmp_path)
    assert "\n" not in str(e.value)


def test_columns_of_other_policies_are_theirs(tmp_path):
    row = {**train(0, 1), "event": "select", "line": "buy", "chosen": [1, "a"]}
    workdir.append(tmp_path, [row])
    assert workdir.read(tmp_path) == [row]


def test_broken_lines_are_named(tmp_path):
    good = '{"event": "train", "round": 0, "step": 1}'
    for broken in ("nonsense", "{}", "[1]"):
        (tmp_path / workdir.METRICS).write_text(f"{good}\n{broken}\n{good}\n")
        with pytest.raises(errors.InputError, match=r"\.jsonl, line 2 is not a row"):
            workdir.read(tmp_path)
    workdir.append_picks(tmp_path, [pick(0, 0)])
    with (tmp_path / workdir.PICKS).open("a") as file:
        file.write("one,0,target,x,0.5,random,\n0,1,target,x,0.5,random,\n")
    with pytest.raises(
        errors.InputError, match=r"picks\.csv, pick 2 is not round,order"
    ):
        workdir.read_picks(tmp_path)
    (tmp_path / workdir.PICKS).write_text("junk\n0,1,target,x,0.5,random,\n")
    with pytest.raises(errors.InputError, match="must begin with the line round,order"):
        workdir.read_picks(tmp_path)


def test_before_the_data_are_read_the_config_is_compared_alone(tmp_path):
    folder = tmp_path / "run"
    claim.check(folder, {"seed": 1})
    assert not folder.exists()
    claim.claim(folder, {"seed": 1}, data={"source": "a"}, devices=[])
    claim.check(folder, {"seed": 1})
    with pytest.raises(errors.InputError, match=r"seed=1.* 2"):
        claim.check(folder, {"seed": 2})


def test_claim_writes_what_a_run_was_made_with(tmp_path):
    folder = tmp_path / "runs" / "a"
    claimed(folder)
    found = yaml.safe_load((folder / workdir.CONFIG).read_text())
    assert found["config"]["train"] == {"learning_rate": 1e-5, "mean": [0.5, 0.25]}
    assert found["data"] == DATA
    assert found["devices"] == ["cpu"]
    assert set(found["versions"]) >= {"dact_jax", "jax", "orbax-checkpoint", "python"}
    assert [path.name for path in folder.iterdir()] == [workdir.CONFIG]


def test_the_same_config_is_let_in_and_changes_nothing(tmp_path):
    claimed(tmp_path)
    before = (tmp_path / workdir.CONFIG).read_bytes()
    claim.claim(tmp_path, CONFIG, data=DATA, devices=["gpu", "gpu"])
    assert (tmp_path / workdir.CONFIG).read_bytes() == before


def changed(**policy):
    return {**CONFIG, "policies": {**CONFIG["policies"], **policy}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            changed(single={"per_round": 20, "shots": ()}),
            "was started with policies.single.per_round=10, this run has 20: "
            "give another --workdir or the old value.",
        ),
        (
            changed(dual={"top": 1}),
            "policies.dual.top=(not set), this run has 1: ",
        ),
        (
            {**CONFIG, "method": "dann", "train": {}, "size": 3},
            "method=mme, this run has dann; "
            "train.learning_rate=1e-05, this run has (not set); "
            "train.mean=[0.5, 0.25], this run has (not set); and 1 more: ",
        ),
    ],
)
def test_another_config_is_refused_by_name(tmp_path, config, words):
    claimed(tmp_path)
    with pytest.raises(errors.InputError) as caught:
        claimed(tmp_path, config)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_other_data_are_refused_by_name(tmp_path):
    claimed(tmp_path)
    with pytest.raises(errors.InputError, match="target=sha256:bb"):
        claimed(tmp_path, data={**DATA, "target": "sha256:cc"})


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(errors.InputError, match="not the folder of a run"):
        claimed(tmp_path)
    with pytest.raises(errors.InputError, match="not the folder of a run"):
        claimed(tmp_path / "thesis.tex")


def test_a_claim_that_was_killed_can_be_repeated(tmp_path):
    (tmp_path / f"{workdir.CONFIG}.tmp").write_text("config: {me")
    claimed(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [workdir.CONFIG]


@pytest.mark.parametrize("text", ["config: {", "other: 1\n", "- 1\n", ""])
def test_a_config_written_by_hand_is_refused(tmp_path, text):
    (tmp_path / workdir.CONFIG).write_text(text)
    with pytest.raises(errors.InputError, match=r"config\.yaml is not"):
        claimed(tmp_path)


def nine_fold(levels):
    """A value of 9 ** levels parts in a few lines."""
    lines = ["config: {}", "data: {}", "a0: &a0 [1,1,1,1,1,1,1,1,1]"]
    for k in range(levels):
        lines.append(f"a{k + 1}: &a{k + 1} [{','.join([f'*a{k}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (nine_fold(12), "aliases"),
        ("config: " + "[" * 20_000 + "]" * 20_000, "levels"),
        ("config: " + "{a: " * 20_000 + "}" * 20_000, "levels"),
        ("\n".join(" " * k + "a:" for k in range(500)), "levels"),
        ("config: {seed: " + "1:" * 3000 + "1}", "digits"),
        ("config: {seed: 0x" + "f" * 9000 + "}", "digits"),
        ("config: {seed: !!int ''}", "config.yaml"),
        ("config: {seed: !!bool maybe}", "config.yaml"),
        ("config: {seed: 2001-99-99}", "config.yaml"),
        ("config: {seed: !!timestamp x}", "config.yaml"),
        ("config: {[1]: 1}", "config.yaml"),
        ("config: !!python/object/apply:os.system [true]", "config.yaml"),
        ("config: \x00", "config.yaml"),
        ("#" * (2**22 + 1), "bytes"),
    ],
)
def test_a_config_that_would_take_memory_or_time_is_refused(tmp_path, text, words):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(errors.InputError, match=words) as caught:
        claim.check(tmp_path, CONFIG)
    assert str(caught.value).isprintable()
