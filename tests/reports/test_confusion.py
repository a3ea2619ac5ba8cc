"""Which classes are taken for which: counts, file, table, and intervals."""

import io

import numpy as np
import pytest
from scipy import stats

from dact_jax import errors
from dact_jax.reports import confusion, intervals, markdown
from dact_jax.reports.pictures import confusion_matrix, contact_sheet

NAMES = ("=dog", "c|at", "house", "none")
COUNTS = confusion.count(
    np.array([0, 0, 1, 1, 2, 2, 2]), np.array([0, 0, 0, 1, 1, 1, 2]), NAMES
)


def test_pairs_of_classes_are_counted():
    assert COUNTS.images.tolist() == [
        [2, 1, 0, 0],
        [0, 1, 2, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]


def test_the_file_is_read_back_and_no_spreadsheet_runs_it(tmp_path):
    assert confusion.read(tmp_path) is None
    confusion.write(tmp_path, COUNTS)
    found = confusion.read(tmp_path)
    assert found.class_names == NAMES
    np.testing.assert_array_equal(found.images, COUNTS.images)
    assert '"\'=dog"' in (tmp_path / confusion.FILE).read_text()


@pytest.mark.parametrize("text", ["class,a\na,x\n", "class,a,b\na,1,2\n", "class,a\n"])
def test_a_damaged_file_is_named(text, tmp_path):
    (tmp_path / confusion.FILE).write_text(text)
    with pytest.raises(errors.InputError, match=confusion.FILE):
        confusion.read(tmp_path)


def test_each_class_has_its_accuracy_and_its_rival():
    lines = markdown.section(confusion.section(COUNTS)).splitlines()
    assert lines[4:8] == [
        "| =dog | 3 | 66.67 | 20.8 to 93.9 | c&#124;at (1) |",
        "| c&#124;at | 3 | 33.33 | 6.1 to 79.2 | house (2) |",
        "| house | 1 | 100.00 | 20.7 to 100.0 | - |",
        "| none | 0 | - | - | - |",
    ]
    assert confusion.section(None) is None


def test_of_many_classes_those_of_the_lowest_accuracy_are_shown():
    images = np.diag(np.arange(100))
    images[50, 51] = 1000
    names = tuple(f"c{k}" for k in range(100))
    section = confusion.section(confusion.Confusion(names, images))
    lines = markdown.section(section).splitlines()
    assert lines[4].startswith("| c50 | 1050 | 4.76 |")
    assert sum(line.startswith("| c") for line in lines) == 40 + 1


@pytest.mark.parametrize(("correct", "count"), [(0, 1), (7, 7), (3, 10), (599, 600)])
def test_intervals_are_wilsons(correct, count):
    test = stats.binomtest(correct, count)
    expected = test.proportion_ci(method="wilson")
    low, high = intervals.wilson(correct / count, count)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= correct / count <= high <= 1


@pytest.mark.parametrize("count", [2, 16, 71])
def test_a_matrix_of_any_size_is_drawn(count):
    names = ["\udcff$", *(f"name {k}" for k in range(1, count))]
    fig = confusion_matrix.draw(np.eye(count, dtype=int)[:, ::-1], names)
    fig.savefig(io.BytesIO(), dpi=20)
    axes, bar = fig.axes
    assert bar.get_ylabel().startswith("share")
    assert len(axes.texts) == (count if count <= 15 else 0)
    assert len(axes.get_xticklabels()) == count or count > 70


def test_a_contact_sheet_shows_images_in_order_with_their_classes():
    color = np.zeros((13, 4, 4, 3), np.uint8)
    groups = [
        contact_sheet.Group("first", color, [f"class {k}" for k in range(13)]),
        contact_sheet.Group("second", color[:1, ..., :1], ["$\n"]),
    ]
    fig = contact_sheet.draw(groups)
    fig.savefig(io.BytesIO(), dpi=20)
    first, second = fig.subfigs
    shown = [axes.get_title() for axes in first.axes if axes.images]
    assert shown == groups[0].class_names
    assert [len(axes.images) for axes in second.axes] == [1] + [0] * 11
