"""`--dry_run`: tells what a run would do, and leaves none behind."""

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import dact_jax
from dact_jax import dry_run, dry_run_plan, errors, main
from dact_jax.configuration import build
from dact_jax.configuration.domains import sampling
from dact_jax.configuration.domains.sampling import Sample
from dact_jax.data.readers.files import ImageFiles
from dact_jax.embedding import sweep
from dact_jax.rounds.trial.measuring import Pace, Times
from tests import test_embedded_run
from tests.embedding import tiny
from tests.rounds.asking import campaigns

backbone, photos = test_embedded_run.backbone, test_embedded_run.photos  # fixtures


def _found(lines, start):
    """The one line that begins so, without blanks at its ends."""
    (line,) = [line.strip() for line in lines if line.strip().startswith(start)]
    return line


def test_photos_are_counted_and_few_are_embedded(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "_WARM_UP", 2)
    monkeypatch.setattr(sampling, "_TIMED", 2)
    config = test_embedded_run._config(photos)
    lines = dry_run.run(config, tmp_path / "run")
    # 15 cups, of which a third tests and one validates; mugs likewise.
    assert _found(lines, "cup").split() == ["cup", "15", "9", "1", "5"]
    assert _found(lines, "(no label)").split()[2:] == ["0", "0", "0", "0"]
    assert _found(lines, "all").split() == ["all", "30", "18", "2", "10"]
    assert "All images can be read." in lines
    assert _found(lines, "Embedding by weights.pth: 0 of 60 images")
    assert _found(lines, "Labels that are bought come from the data")
    assert _found(lines, "round 0:") == "round 0: 3 labels, at random"
    assert _found(lines, "round 1:") == "round 1: 2 labels by clue, 5 in all"
    assert _found(lines, "In all about 0:00:")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["embeddings"]
    # Those that were embedded are known to the next one, by their content.
    lines = dry_run.run(config, tmp_path / "run")
    assert _found(lines, "Embedding by weights.pth: 8 of 60 images")


def test_vectors_that_stand_in_for_others_are_not_kept(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "_WARM_UP", 3)
    monkeypatch.setattr(sampling, "_TIMED", 4)
    paths = sorted(map(str, photos.glob("phone/*/*.png")))
    images, network = ImageFiles(tuple(paths), 1, 3), tiny.backbone()
    samples = []
    embed = sampling.make_embed(tmp_path, samples.append)
    vectors = embed(images, network, progress=lambda done, total: None)
    assert samples[0][:2] == (30, 0)
    true = sweep.embed(images, network)
    equal = (vectors == true).all(1)
    assert (int(equal.sum()), equal[0], equal[-1]) == (7, True, True)
    assert np.isin(vectors, true).all()
    np.testing.assert_array_equal(sweep.embed(images, network, cache=tmp_path), true)


def test_a_finished_run_is_unchanged(tmp_path):
    campaigns.write_domains(tmp_path)
    config = campaigns.config(tmp_path)
    dact_jax.run(config, tmp_path / "run")
    before = _files(tmp_path / "run")
    lines = dry_run.run(config, tmp_path / "run")
    assert "holds this run already" in lines[-1]
    assert _files(tmp_path / "run") == before


def _files(folder):
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_unreadable_images_are_named(photos, tmp_path):
    broken = photos / "phone" / "cup" / "broken.jpg"
    broken.write_bytes(b"no image")
    try:
        config = test_embedded_run._config(photos)
        lines = dry_run.run(config, tmp_path / "run")
        assert "would not start" in _found(lines, "1 file or folder cannot be read")
        assert _found(lines, "phone/cup/broken.jpg: it holds no image")
        assert _found(lines, "all").split() == ["all", "30", "18", "2", "10"]
    finally:
        broken.unlink()


def test_a_person_is_told_what_each_start_costs(tmp_path, capsys):
    campaigns.write_domains(tmp_path)
    config = campaigns.config(tmp_path, "unlabelled.npz")
    lines = dry_run.run(config, tmp_path / "run")
    assert "a person" in _found(lines, "Labels that are bought")
    assert _found(lines, "round 2:") == "round 2: 2 labels by margin, 7 in all"
    assert _found(lines, "(no label)").split()[2:] == ["0", "48", "0", "0"]
    assert _found(lines, "Each start of the command takes")
    assert lines[-1].startswith("No run was started, and nothing was written into ")
    assert not (tmp_path / "run").exists()


def test_a_policy_that_chooses_source_samples(tmp_path):
    campaigns.write_domains(tmp_path)
    changes = {
        "policies.dual.initial": 3,
        "policies.dual.per_round": 2,
        "policies.dual.purchases": 1,
        "loss_predictor.steps": 4,
        "loss_predictor.batch": 4,
        "policy": "dual",
    }
    config = campaigns.config(tmp_path, **changes)
    lines = dry_run.run(config, tmp_path / "run")
    assert _found(lines, "round 1:") == "round 1: 2 labels by margin, 5 in all"
    assert _found(lines, "In all about")


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_the_command_prints_and_ends_well(tmp_path, capsys):
    campaigns.write_domains(tmp_path)
    saved = flagsaver.save_flag_values(flags.FLAGS)
    argv = ["main", "--config=embeddings:preset=source_only", "--dry_run"]
    argv += [f"--config.source={tmp_path}/source.npz", f"--workdir={tmp_path}/run"]
    argv += [f"--config.target={tmp_path}/labelled.npz", "--config.train.steps=5"]
    try:
        with pytest.raises(SystemExit) as ended:
            main.main(argv)
    finally:
        flagsaver.restore_flag_values(saved, flags.FLAGS)
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert "No label is bought: 1 round on 0 target labels" in printed
    assert not (tmp_path / "run").exists()


def test_a_mistake_is_told_as_in_a_run(photos, tmp_path):
    config = test_embedded_run._config(photos, target=photos / "nowhere")
    with pytest.raises(errors.InputError, match="nowhere"):
        dry_run.run(config, tmp_path / "run")
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(errors.InputError, match="not the folder of a run"):
        dry_run.run(test_embedded_run._config(photos), other)


def test_times_add_up(tmp_path):
    campaigns.write_domains(tmp_path)
    config = campaigns.config(tmp_path)
    run, _ = build.build(config)
    measured = Times(Pace(30.0, 2.0), 5.0, Pace(7.0, 11.0), None, None)
    lines = dry_run_plan.times(config, run, measured, 60.0)
    # 3 rounds of 4 iterations and an evaluation, 2 selections.
    rounds = 3 * (4 * 2 + 5) + 2 * 11
    assert lines[0].startswith(f"A round takes about {rounds / 3:.2g} s: 4 iterations")
    assert lines[1].startswith(
        f"In all about 0:02:{rounds + 97 - 120:02}, of which 97 s"
    )
    samples = [Sample(100, 40, 0.5), Sample(50, 50, None)]
    (line,) = dry_run_plan.embedding(samples, "x")
    assert line == (
        "Embedding by x: 90 of 150 images have their vector; the other 60 take about "
        "0:00:30 (2 images/s)."
    )
    assert dry_run_plan.embedding([], "") == []
