"""The rows of `bench_step`, and what `gpu_check` does before and after its stages."""

import json

import pytest

from dact_jax.models import precisions
from experiments import (
    bench_step,
    gpu_check,
    peaks,
    step_case,
    step_ours,
    step_process,
    step_rows,
)

SIZES = ["--backbones=lenet", "--batches=2", "--pixels=16", "--chunk=1"]


def test_a_row_is_of_a_method_and_says_what_was_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        step_rows, "_measured", lambda job, limit: step_process.measure(job)
    )
    output = tmp_path / "rows.json"
    bench_step.main(
        [
            "x",
            *("--methods=mme", *SIZES, "--repeats=1", "--seconds=0", "--alone"),
            f"--output={output}",
        ]
    )
    (row,) = map(json.loads, output.read_text().splitlines())
    assert (row["method"], row["batch"], row["images"]) == ("mme", 2, 8)
    assert row["images_per_second"] == pytest.approx(8 / row["seconds"])
    assert row["flops"] > 1e6
    assert (row["peak_flops"], row["utilization"], row["peak_bytes"]) == (None,) * 3
    assert 0 <= row["input_wait_share"] < 1
    assert row["start_seconds"] > 0
    assert row["precision"] == precisions.of_device() == "float32"
    assert capsys.readouterr().out.startswith("mme, lenet, 2+2+4 images of 16x16x3, f")


def test_flops_are_those_of_the_model():
    """A 5x5 convolution: forward, and for the second one two gradients as dear."""
    case = step_case.Case("source_only", "lenet", 16, 3, 8, "float32")
    first = 2 * 12 * 12 * 5 * 5 * 3 * 20
    second = 2 * 2 * 2 * 5 * 5 * 20 * 50
    forward = 16 * (first + second + 2 * 50 * 500 + 2 * 500 * 10)
    found = step_ours.flops(case)
    assert 2 * forward < found < 4.5 * forward


def test_a_row_that_fails_has_its_error(tmp_path, monkeypatch):
    monkeypatch.setattr(step_rows, "_measured", lambda job, limit: {"error": "why"})
    output = tmp_path / "rows.json"
    with pytest.raises(SystemExit) as stop:
        bench_step.main(["x", "--methods=mme", *SIZES, f"--output={output}"])
    assert stop.value.code == 1
    assert json.loads(output.read_text())["error"] == "why"


@pytest.mark.parametrize(
    ("argument", "named"),
    [("--methods=mmee", "mmee"), ("--batches=0", "--batches"), ("--backbones=x", "x")],
)
def test_a_mistake_is_one_sentence(argument, named, capsys):
    with pytest.raises(SystemExit) as stop:
        bench_step.main(["x", "--methods=mme", argument])
    assert stop.value.code == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "bfloat16", "float32"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12, 67e12),
        ("NVIDIA H100 PCIe", 756e12, 51e12),
        ("NVIDIA L4", 121e12, 30.3e12),
        ("NVIDIA L40S", None, None),
        ("TPU v5 lite", 197e12, None),
        ("TPU v5p", 459e12, None),
        ("TPU v5", 459e12, None),
        ("TPU v7x", None, None),
        ("cpu", None, None),
    ],
)
def test_peaks(kind, bfloat16, float32):
    assert peaks.of(kind, "bfloat16") == bfloat16
    assert peaks.of(kind, "float32") == float32


def test_stages_end_in_time_and_their_failures_are_recorded(tmp_path):
    def perform(code, limit=60.0, left=60.0):
        stage = gpu_check.Stage("name", ["-c", code], limit, "rows.json")
        return gpu_check.perform(stage, tmp_path, left, {"SEEN": "3"})

    rows = f"open({str(tmp_path / 'rows.json')!r}, 'w').write('{{\"a\": 1}}\\n')"
    good = perform(f"import os; print(os.environ['SEEN']); {rows}")
    assert (good["ok"], good["rows"], good["output"]) == (True, [{"a": 1}], "3\n")
    bad = perform("raise ValueError('odd')")
    assert (bad["ok"], bad["why"]) == (False, "exit code 1: ValueError: odd")
    slow = perform("import time; time.sleep(60)", limit=1.2)
    assert (slow["ok"], slow["why"]) == (False, "it took more than 1 seconds")
    assert perform("", left=0.0)["why"] == "no time was left for it"


def test_what_is_missing_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "_MODULES", {"json": "json", "no_such": "no-such"})
    with pytest.raises(SystemExit) as stop:
        gpu_check.main(["gpu_check", "--output=x.json"])
    assert stop.value.code == 2
    assert "this Python lacks no-such: " in capsys.readouterr().err


def test_the_full_size_fits_into_eight_minutes(tmp_path):
    stages = gpu_check.stages("full", "gpu", tmp_path)
    assert gpu_check.TOTAL < 480
    assert sum(stage.limit for stage in stages[:4]) < gpu_check.TOTAL
