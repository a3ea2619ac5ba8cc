"""Charts, distances of class frequencies, and runs beside a run."""

import math

import numpy as np
import pytest

from dact_jax.reports import record
from dact_jax.reports.page import charts, details, frequencies, neighbors, shift
from dact_jax.reports.page.charts import Line
from dact_jax.reports.page.shift import Frequencies
from dact_jax.reports.pictures import projections
from dact_jax.types import TARGET
from tests.reports.page import made


def test_a_chart_holds_all_points_and_intervals_inside_its_frame():
    lines = [
        charts.with_intervals("test", [10, 20, 50], [0.0, 0.5, 1.0], [9, 9, 0]),
        Line("level", [], [42.0], flat=True),
        Line("band", [10, 50], [40, 60], [30, 50], [50, 70], band=True),
    ]
    drawn = charts.draw(lines, x_label="labels")
    points = [point for line in drawn.lines for point in line.points]
    assert len(points) == 5
    for point in points:
        assert 0 < point.x < charts.WIDTH
        assert 0 < point.y < charts.HEIGHT
    first = drawn.lines[0].points
    assert first[0].y > first[1].y > first[2].y  # the axis of SVG goes down
    assert first[0].high < first[0].low
    assert [tick.text for tick in drawn.x_ticks] == ["10", "20", "50"]
    assert drawn.lines[2].band.count(",") == 4
    assert drawn.lines[2].points[0].low is None
    assert "test: from 0.0 % at 10 to 100.0 % at 50; level: 42.0 %" in drawn.about


@pytest.mark.parametrize("values", [[50.0], [0.0, 0.0], [99.9, 100.0], [3.0] * 40])
def test_any_values_have_ticks(values):
    x = list(range(len(values)))
    drawn = charts.draw([Line("x", x, values)], x_label="x")
    assert 1 <= len(drawn.y_ticks) <= 8
    assert 1 <= len(drawn.x_ticks) <= 8
    assert all(0 <= float(tick.text) <= 100 for tick in drawn.y_ticks)


def test_no_line_is_no_chart():
    assert charts.draw([Line("x", [], [])], x_label="x") is None


def test_the_distance_is_half_of_all_differences():
    one = Frequencies("source", np.array([600.0, 200, 200]))
    other = Frequencies("target", np.array([200.0, 200, 600]))
    found = shift.distance(one, other)
    assert found.value == pytest.approx(0.4)
    assert found.large
    assert shift.distance(one, one._replace(name="same")).value == 0


def test_chance_is_what_samples_of_equal_frequencies_differ_by():
    rng = np.random.default_rng(0)
    p = np.array([0.5, 0.3, 0.1, 0.1])
    drawn = [
        [Frequencies("", rng.multinomial(n, p).astype(float)) for n in (300, 40)]
        for _ in range(400)
    ]
    found = [shift.distance(*pair) for pair in drawn]
    mean = np.mean([one.value for one in found])
    assert mean == pytest.approx(np.mean([one.chance for one in found]), rel=0.08)
    assert not any(one.large for one in found)


def test_few_images_of_many_classes_are_not_called_shifted():
    one = Frequencies("source", np.full(345, 10.0))
    few = Frequencies("target", np.bincount(np.arange(60) * 5, minlength=345) * 1.0)
    found = shift.distance(one, few)
    assert found.value > 0.8
    assert not found.large
    part = frequencies.part([one, few], [found], [str(k) for k in range(345)])
    assert not part.warnings
    assert not part.few


def test_a_large_shift_is_said_with_its_threshold():
    one = Frequencies("source", np.array([900.0, 100]))
    other = Frequencies("target (predicted)", np.array([100.0, 900]))
    part = frequencies.part([one, other], [shift.distance(one, other)], ("a", "b"))
    (warning,) = part.warnings
    assert "differ much (distance 0.80" in warning
    assert "--config.method=source_only" in warning
    assert f"more than {shift.LARGE:g}, that is, if 20 % more of the" in part.about
    assert part.shares.rows == [("a", "90.0", "10.0"), ("b", "10.0", "90.0")]
    assert math.isclose(shift.shares(one).sum(), 1)


def test_the_random_twin_and_the_source_alone_are_found_beside_a_run(tmp_path):
    task = made.task(tmp_path, images="vectors")
    made.fill(tmp_path / "own", task)
    made.fill(tmp_path / "other_data", task, acquisition="random", seed=1)
    assert neighbors.find(tmp_path / "own").folders == []
    made.fill(tmp_path / "alone", task, method="source_only", accuracy=(0.3, 0.4))
    made.fill(tmp_path / "twin", task, acquisition="random", accuracy=(0.5, 0.6))
    made.fill(tmp_path / "deeper", task, acquisition="random", model={"encoder": "x"})
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.yaml").write_text("method: source_only [")
    found = neighbors.find(tmp_path / "own")
    assert found.folders == ["alone", "twin"]
    level, curve = neighbors.lines(found)
    assert (level.flat, level.y) == (True, [40.0])
    assert (curve.x, curve.y) == ([3, 6], [50.0, 60.0])
    assert neighbors.find(tmp_path / "twin").random is None
    text = made.text(tmp_path / "own", made.run(task), finished=False)
    text = text.replace("&nbsp;", " ")
    assert (
        "On the same test images, the source alone reaches 40.0 % and as many labels "
        "bought at random reach 60.0 % (+15.0 points for this run)." in text
    )


def test_picks_that_a_sample_holds_more_often_count_as_often_as_in_the_pool(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(projections, "t_sne", projections.pca)
    task = made.task(tmp_path, images="vectors", count=1000)
    picked = np.arange(100)
    state = made.experiment(task, picked)
    rows = np.concatenate([picked, np.arange(100, 150)])
    weights = details._weights(state, rows)
    assert weights[:100].sum() == pytest.approx(15)
    assert weights[100:].sum() == pytest.approx(135)
    swept = made.swept(task)
    few = swept.part(TARGET)
    few = type(few)(*(values[rows] for values in few))
    made.fill(tmp_path / "run", task)
    gathered = record.gather(tmp_path / "run", "x")
    found = details.gather(
        gathered, made.run(task), state, swept._replace(counted=lambda: few)
    )
    assert (found.asked, found.unlabeled) == (50, 900)
    by_name = {one.name: one.counts.sum() for one in found.frequencies}
    assert by_name["target (predicted)"] == pytest.approx(150)
    assert by_name["picks"] == 100
