"""`python -m dact_jax.predict`: its files, its messages, and what it refuses."""

import csv
import json
import os
import pathlib

import numpy as np
import pytest

import dact_jax
from dact_jax import classifier, errors, predict, run_types
from dact_jax.data.readers import embeddings
from dact_jax.prediction import job, outcomes, validation
from dact_jax.prediction.job import Job
from dact_jax.rounds import workdir
from dact_jax.types import UNLABELED
from tests.prediction import colors
from tests.rounds.asking import campaigns

PHOTOS = ("--workdir=run", "--images=photos", "--output=x.csv")


def refused(capsys, *arguments):
    """The one sentence of a mistake."""
    with pytest.raises(SystemExit) as caught:
        predict.main(["predict", *arguments])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("dact_jax: ")


def table(path):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Images of known classes and others, for a network that tells colors apart."""
    folder = tmp_path / "photos"
    colors.write(folder / "red" / "1.png", "red")
    colors.write(folder / "red" / "pale.png", "red", 40)  # hard to tell
    colors.write(folder / "green" / "<b>=1\n.png", "red")  # a wrong label
    colors.write(folder / "blue" / "1.png", "blue")
    colors.write(folder / "\udcff.png", "green")
    (folder / "blue" / "bad.png").write_text("no image")
    (folder / "note.txt").write_text("no image either")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifier, "load", lambda *_, **__: colors.classifier())
    return folder


def test_a_folder_of_images(photos, capsys):
    predict.main(["predict", *PHOTOS, "--abstain=0.8", "--sort_into=sorted"])
    rows = {row["path"]: row for row in table("x.csv")}
    assert [*rows] == [
        "photos/blue/1.png",
        "photos/blue/bad.png",
        "photos/green/<b>=1\n.png",
        "photos/red/1.png",
        "photos/red/pale.png",
        "photos/\udcff.png",
        "photos/note.txt",
    ]
    first = rows["photos/red/1.png"]
    share = np.exp([colors.CERTAIN, 0, 0]) / (np.exp(colors.CERTAIN) + 2)
    assert (first["label"], first["true_label"], first["reason"]) == ("red", "red", "")
    assert float(first["confidence"]) == pytest.approx(share[0], rel=1e-5)
    assert float(first["margin"]) == pytest.approx(share[0] - share[1], rel=1e-5)
    pale = rows["photos/red/pale.png"]
    assert (pale["label"], pale["reason"]) == ("", "its confidence is below 0.8")
    assert 1 / 3 < float(pale["confidence"]) < 0.8
    bad = rows["photos/blue/bad.png"]
    assert (bad["label"], bad["confidence"], bad["margin"]) == ("", "", "")
    assert bad["reason"] == "it holds no image that Pillow knows"
    said = capsys.readouterr().out
    assert "Network: the last network of round 2 (iteration 30). " in said
    assert "Predicted 5 images in " in said
    assert "Labels: red 2, green 1, blue 1.\n" in said
    assert "Abstained: 1 of 5 images (20.0 %) have a confidence below 0.8" in said
    assert "known: 3 of 4 are right, 75.0 % (95 % interval 30.1 to 95.4 %).\n" in said
    assert "got a label: 2 of 3 are right" in said
    assert "Unreadable: 1 file or folder; the output gives the reasons.\n" in said
    assert "  photos/blue/bad.png: it holds no image that Pillow knows\n" in said
    assert "No images: 1 file or folder" in said
    assert "Sorted into sorted: 5 links, 1 of them in _unsure." in said
    found = {str(path) for path in pathlib.Path("sorted").glob("*/*")}
    assert found == {
        "sorted/red/1.png",
        "sorted/red/<b>=1\n.png",
        "sorted/blue/1.png",
        "sorted/green/\udcff.png",
        "sorted/_unsure/pale.png",
    }


def test_embeddings_and_what_is_kept_beside_the_table(photos):
    arguments = ["--embeddings=x.npz", "--probabilities", "--abstain=0.8"]
    predict.main(["predict", *PHOTOS[:2], "--output=x.jsonl", *arguments])
    rows = [json.loads(x) for x in pathlib.Path("x.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["confidence"] is not None]
    with np.load("x.npz") as archive:
        arrays = dict(archive)
    assert arrays["path"].tolist() == [row["path"] for row in rows]
    assert arrays["classes"].tolist() == ["red", "green", "blue"]
    labels = [*colors.CLASSES, None]
    assert [labels[k] for k in arrays["prediction"]] == [row["label"] for row in rows]
    shares = [[*row["probabilities"].values()] for row in rows]
    np.testing.assert_array_equal(arrays["probabilities"], np.array(shares, "f4"))
    expected = colors.classifier().embed(arrays["path"].tolist())
    np.testing.assert_allclose(arrays["features"], expected, rtol=1e-6)
    read = embeddings.load("x.npz", name="x")  # predictions count as no labels
    assert (read.label == UNLABELED).all()
    about = json.loads(pathlib.Path("x.jsonl.about.json").read_text())
    assert about["classes"] == ["red", "green", "blue"]
    assert about["network"] == {
        "network": "last",
        "round": 2,
        "step": 30,
        "finished": True,
    }
    counts = {"predicted": 5, "abstained": 1, "unreadable": 1, "right": 3}
    assert about | counts | {"known_labels": 4, "abstain_below": 0.8} == about
    assert sorted(os.listdir()) == ["photos", "x.jsonl", "x.jsonl.about.json", "x.npz"]


def test_stopped_it_leaves_nothing(photos):
    stop = run_types.Stop(asked=lambda: True)
    wanted = Job(pathlib.Path("run"), "photos", pathlib.Path("x.csv"))
    wanted = wanted._replace(embeddings=pathlib.Path("x.npz"))
    with pytest.raises(
        errors.StoppedError, match="after 4 of 6 images; nothing is wri"
    ):
        job.run(wanted, say=print, stop=stop)
    assert os.listdir() == ["photos"]


WRONG = {
    "nothing": ((), "give --workdir=, --images= and --output="),
    "ending": ((*PHOTOS[:2], "--output=x.txt"), "end in .csv, .jsonl or .parquet."),
    "exists": ((*PHOTOS[:2], "--output=old.csv"), "exists: name another"),
    "vectors": ((*PHOTOS, "--embeddings=x.npy"), "--embeddings=x.npy must end in .npz"),
    "full": ((*PHOTOS, "--sort_into=photos"), "--sort_into=photos is not empty"),
    "itself": (
        ("--workdir=run", "--images=old.csv", "--output=old.csv", "--overwrite"),
        "old.csv is what --images names",
    ),
    "no images": (("--images=no", *PHOTOS[::2]), "no data at 'no': give a folder"),
    "abstain": ((*PHOTOS, "--abstain=1.5"), "--abstain=1.5 must be a number in the r"),
    "network": ((*PHOTOS, "--network=first"), "--network=first"),
    "no run": ((*PHOTOS, "--calibrate"), "run is not the folder of a run"),
    "user": ((*PHOTOS, "--cache=~nobody-here/a"), "there is no user"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_sentence(case, photos, capsys, monkeypatch):
    if case == "no run":
        monkeypatch.undo()
        monkeypatch.chdir(photos.parent)
    pathlib.Path("old.csv").write_text("")
    before = sorted(os.listdir())
    arguments, part = WRONG[case]
    assert part in refused(capsys, *arguments)
    assert sorted(os.listdir()) == before


def test_overwrite(photos, capsys):
    pathlib.Path("x.csv.about.json").write_text("old")
    assert "x.csv.about.json exists: name another" in refused(capsys, *PHOTOS)
    pathlib.Path("x.csv").write_text("old")
    predict.main(["predict", *PHOTOS, "--overwrite"])
    assert len(table("x.csv")) == 7


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A campaign that waits for the labels of its second question, and the truth."""
    folder = tmp_path_factory.mktemp("campaign")
    truth = campaigns.write_domains(folder)
    made = campaigns.config(folder, oracle="human", **{"model.num_norms": 2})
    asked = dact_jax.campaign(made, folder / "run")
    question = asked.ask()
    with pytest.raises(
        errors.InputError, match=r"is not trained yet: .* it may ask for"
    ):
        dact_jax.load(folder / "run")
    asked.tell({id: truth[id] for id in question.ids})
    assert asked.ask().round == 1
    return folder, truth


def test_while_a_campaign_waits(campaign, tmp_path, capsys):
    folder, truth = campaign
    target = f"--images={folder / 'labelled.npz'}"
    output = tmp_path / "x.csv"
    given = [f"--workdir={folder / 'run'}", target, f"--output={output}"]
    predict.main(["predict", *given, "--probabilities"])
    rows, network = table(output), dact_jax.load(folder / "run")
    with np.load(folder / "labelled.npz") as arrays:
        expected = network.predict(arrays["features"])
        assert [row["path"] for row in rows] == arrays["path"].tolist()
    names = [f"p_{name}" for name in campaigns.CLASSES]
    shares = np.array([[row[name] for name in names] for row in rows], np.float32)
    np.testing.assert_allclose(shares, expected, rtol=1e-5)
    guesses = [campaigns.CLASSES[k] for k in expected.argmax(-1)]
    assert [row["label"] for row in rows] == guesses
    assert [row["true_label"] for row in rows] == [*truth.values()]
    right = sum(row["label"] == row["true_label"] for row in rows)
    said = capsys.readouterr().out
    assert (
        "the last network of round 0 (iteration 4). Images pass the batch norm" in said
    )
    assert "of the target (eval.branch=target)." in said
    assert f"known: {right} of 48 are right" in said
    assert "without the 3 images whose label the run was trained on: " in said
    assert " of 45 are right" in said


def test_calibrated_on_the_validation_labels_of_the_run(campaign, tmp_path, capsys):
    folder, _ = campaign
    target = f"--images={folder / 'unlabelled.npz'}"
    given = [f"--workdir={folder / 'run'}", target]
    predict.main(["predict", *given, f"--output={tmp_path / 'x.csv'}", "--calibrate"])
    predict.main(["predict", *given, f"--output={tmp_path / 'y.csv'}"])
    about = json.loads((tmp_path / "x.csv.about.json").read_text())["calibration"]
    assert about["labels"] == 6  # two of each class
    assert about["nll_after"] < about["nll_before"]
    said = capsys.readouterr().out
    assert (
        f"Calibrated: temperature {about['temperature']:.3g}, fitted on 6 valid" in said
    )
    network = dact_jax.load(folder / "run")
    with np.load(folder / "unlabelled.npz") as arrays:
        stored = network.prepare(arrays["features"])
    logits = network.sweep(stored).outputs["classifier"]
    expected = outcomes.of_logits(logits, temperature=about["temperature"])
    rows = table(tmp_path / "x.csv")
    confidence = np.array([row["confidence"] for row in rows], np.float32)
    np.testing.assert_allclose(confidence, expected.confidence, rtol=1e-5)
    assert [row["label"] for row in rows] == [
        row["label"] for row in table(tmp_path / "y.csv")
    ]


def test_calibration_is_refused_without_labels_or_with_other_data(
    campaign, tmp_path, capsys
):
    folder, _ = campaign
    target = folder / "labelled.npz"
    given = [f"--workdir={folder / 'run'}", f"--images={folder / 'unlabelled.npz'}"]
    given += [f"--output={tmp_path / 'x.csv'}", "--calibrate"]
    before = target.read_bytes()
    try:
        with np.load(folder / "labelled.npz") as arrays:
            changed = dict(arrays)
        changed["features"] = changed["features"] + np.float32(0.5)
        np.savez(target, **changed)
        assert "its target has changed since the run began" in refused(capsys, *given)
        target.unlink()
        said = refused(capsys, *given)
        assert "reads the data of the run" in said
        assert "labelled.npz" in said
    finally:
        target.write_bytes(before)
    assert not (tmp_path / "x.csv").exists()
    row = {"event": "round", "round": 0, "step": 4, "labels_val": 0, "seconds": 1.0}
    row |= {"test_accuracy": None, "val_accuracy": None}
    workdir.append(tmp_path, [row | {"labels_target": 3, "source_samples": 9}])
    with pytest.raises(errors.InputError, match="needs validation labels, and the run"):
        validation.check(tmp_path)
