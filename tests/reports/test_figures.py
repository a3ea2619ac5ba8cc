"""Contents of the figures, read from their artists."""

import io

import numpy as np
import pytest

from dact_jax.reports.pictures import feature_maps, figures, projections


def cloud(count, num_classes, *, picked=0, unknown=0, planes=("PCA", "t-SNE")):
    rng = np.random.default_rng(0)
    label = np.arange(count, dtype=np.int32) % num_classes
    label[count - unknown :] = -1
    return figures.Cloud(
        {name: rng.normal(size=(count, 2)).astype(np.float32) for name in planes},
        label,
        np.arange(count) < picked,
    )


def names(count):
    return [f"class {k}" for k in range(count)]


def draw(figure):
    """Saves the figure, so that any warning becomes an error."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=40)
    assert out.tell() > 1000
    return figure


def points(axes):
    """Number of points of each scatter that has any."""
    counts = [len(scatter.get_offsets()) for scatter in axes.collections]
    return [count for count in counts if count]


def test_all_samples_are_left_of_the_picked_ones():
    fig = draw(figures.embedding(cloud(30, 3, picked=4), names(3), "pool", "4 picked"))
    left, right = fig.axes[:2]
    assert points(left) == [10, 10, 10]  # one scatter per class
    assert points(right) == [26, 2, 1, 1]  # gray dots, then picks by class
    assert [axes.get_title() for axes in fig.axes] == [
        "PCA: all",
        "PCA: 4 picked",
        "t-SNE: all",
        "t-SNE: 4 picked",
    ]
    (legend,) = fig.legends
    assert [text.get_text().strip() for text in legend.get_texts()] == names(3)


def test_without_picks_there_is_one_column():
    fig = draw(figures.embedding(cloud(9, 3), names(3), "pool", "0 picked"))
    assert [axes.get_title() for axes in fig.axes] == ["PCA: all", "t-SNE: all"]


def test_samples_of_unknown_class_are_dots():
    half = cloud(12, 3, picked=2, unknown=6)
    fig = draw(figures.embedding(half, names(3), "pool", "2 picked"))
    assert points(fig.axes[0]) == [6, 2, 2, 2]
    assert len(fig.legends[0].get_texts()) == 3 + 1
    unknown = cloud(5, 3, unknown=5)
    assert points(draw(figures.embedding(unknown, names(3), "x", "")).axes[0]) == [5]


@pytest.mark.parametrize(("count", "legends"), [(20, 1), (21, 0), (126, 0)])
def test_more_than_20_classes_have_no_legend(count, legends):
    fig = figures.embedding(cloud(2 * count, count, picked=5), names(count), "x", "5")
    assert len(fig.legends) == legends
    assert sum(points(fig.axes[0])) == 2 * count


@pytest.mark.parametrize("count", [2, 10, 20, 126])
def test_colors_differ_and_are_dark_enough_for_thin_numbers(count):
    colors = figures._colors(count)
    assert len(np.unique(colors.round(3), axis=0)) == count
    assert np.all(colors @ [0.3, 0.6, 0.1] < 0.75)


def test_three_points_and_odd_names_are_drawn():
    class_names = ["$x", "_\udce9\n", "a very long name of a class, and more of it"]
    fig = draw(
        figures.embedding(cloud(3, 3, picked=1), class_names, "a$b$", "1 $ picked")
    )
    texts = [text.get_text().strip() for text in fig.legends[0].get_texts()]
    assert texts == [r"\$x", r"_\xe9\n", "a very long name …"]
    counts = np.array([1, 0, 0])
    draw(
        figures.class_shares([figures.ClassCounts("$a$", counts, counts)], class_names)
    )


def shares(count, title="Target"):
    picked = np.arange(count) % 3
    return figures.ClassCounts(title, picked, np.ones(count, np.int64))


def test_bars_are_shares_of_picks_and_of_the_pool():
    fig = draw(figures.class_shares([shares(4), shares(4, "Source")], names(4)))
    assert [axes.get_title("left") for axes in fig.axes] == ["Target", "Source"]
    picked, pool = fig.axes[0].containers
    assert [bar.get_height() for bar in picked] == pytest.approx(
        [0, 100 / 3, 200 / 3, 0]
    )
    assert [bar.get_height() for bar in pool] == [25] * 4
    assert (picked.get_label(), pool.get_label()) == ("picked (3)", "pool (4)")
    ticks = [text.get_text() for text in fig.axes[0].get_xticklabels()]
    assert ticks == names(4)


def test_a_pool_of_unknown_classes_has_no_bars():
    unknown = figures.ClassCounts("Target", np.array([2, 1]), np.zeros(2, np.int64))
    (picked,) = draw(figures.class_shares([unknown], names(2))).axes[0].containers
    assert picked.get_label() == "picked (3)"


@pytest.mark.parametrize(
    ("count", "num_lines", "first"), [(126, 3, "0 class 0"), (345, 3, "0")]
)
def test_many_classes_are_split_over_several_lines(count, num_lines, first):
    fig = draw(figures.class_shares([shares(count)], names(count)))
    assert len(fig.axes) == num_lines
    assert sum(len(axes.containers[0]) for axes in fig.axes) == count
    assert fig.axes[0].get_xticklabels()[0].get_text() == first
    assert len({axes.get_ylim() for axes in fig.axes}) == 1  # one scale
    width, height = fig.get_size_inches()
    assert width <= 13
    assert height < 40


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_each_stage_shows_its_mean_and_its_strongest_channels(channels):
    first = np.zeros((4, 4, 5), np.float32)
    first[..., 3], first[..., 1], first[0, 0, 4] = 3, 2, 1
    second = np.ones((1, 1, 2), np.float32)  # fewer channels than are shown
    image = np.full((8, 6, channels), 0.5, np.float32)
    row = feature_maps.ImageMaps("target", "mug$", image, [first, second])
    fig = draw(feature_maps.draw([row, row]))
    titles = [axes.get_title() for axes in fig.axes]
    assert titles == 2 * [
        *("mug\\$", "mean", "channel 3", "channel 1", "channel 4"),
        *("mean", "channel 0", "channel 1"),
    ]
    heads = [text.get_text() for text in fig.texts]
    assert heads == ["stage 1\n5 channels of 4 x 4", "stage 2\n2 channels of 1 x 1"]
    assert fig.axes[0].get_ylabel() == "target"
    np.testing.assert_allclose(fig.axes[1].images[0].get_array(), first.mean(-1))
    low, high = fig.axes[5].images[0].get_clim()
    assert (low, high) == (0, 1)  # one pixel is bright if its response is positive
    assert [text.get_text() for text in fig.axes[5].texts] == ["1"]
    assert not fig.axes[1].texts  # only maps of one pixel show their value


@pytest.mark.parametrize(
    ("count", "width"), [(1, 4), (2, 4), (3, 4), (4, 1), (4, 2), (5, 3), (40, 60)]
)
def test_any_pool_can_be_projected(count, width):
    rows = np.random.default_rng(1).normal(size=(count, width)).astype(np.float32)
    for project in (projections.pca, projections.t_sne):
        plane = project(rows)
        assert plane.shape == (count, 2)
        assert plane.dtype == np.float32
        assert np.isfinite(plane).all()
        np.testing.assert_array_equal(project(rows), plane)


def test_points_that_coincide_are_all_at_the_origin():
    same = np.full((9, 4), 0.1, np.float32)
    assert not projections.pca(same).any()
    assert not projections.t_sne(same).any()


def test_pca_is_the_plane_of_largest_variance():
    rows = np.random.default_rng(2).normal(size=(50, 6)) * [9, 1, 7, 1, 1, 1]
    plane = projections.pca(rows.astype(np.float32))
    left, size, _ = np.linalg.svd(rows - rows.mean(0))
    np.testing.assert_allclose(abs(plane), abs(left[:, :2] * size[:2]), atol=1e-3)


def test_t_sne_keeps_groups_together():
    rng = np.random.default_rng(3)
    group = np.arange(60) % 3
    rows = 20 * np.eye(3)[group] + rng.normal(size=(60, 3))
    plane = projections.t_sne(rows.astype(np.float32))
    centers = np.stack([plane[group == k].mean(0) for k in range(3)])
    nearest = np.linalg.norm(plane[:, None] - centers, axis=-1).argmin(-1)
    np.testing.assert_array_equal(nearest, group)
