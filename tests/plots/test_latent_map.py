import numpy as np
import pytest

from hf_latent import plots
from hf_latent.plots import latent_map
from tests.plots.small import assert_whole_png, shown


@pytest.fixture(scope="module")
def latent():
    rng = np.random.default_rng(0)
    shape, colour = rng.integers(0, 3, 90), rng.integers(4, 6, 90)
    return rng.normal(size=(90, 16)) + 8 * np.eye(3, 16)[shape], {"shape": shape, "colour": colour}


def test_latent_map_has_a_panel_a_factor_and_a_legend_off_the_points(latent, tmp_path):
    features, factors = latent
    names = {"shape": ["square", "circle", "star"]}
    figure = plots.latent_map_figure(features, factors, names)
    by_shape, by_colour = shown(figure)
    assert [t.get_text() for t in by_shape.get_legend().get_texts()] == ["square", "circle", "star"]
    assert [t.get_text() for t in by_colour.get_legend().get_texts()] == ["4", "5"]
    figure.draw_without_rendering()
    for panel, factor in ((by_shape, "shape"), (by_colour, "colour")):
        assert [len(c.get_offsets()) for c in panel.collections] == np.unique(factors[factor], return_counts=True)[
            1
        ].tolist()
        assert not panel.get_legend().get_window_extent().overlaps(panel.get_window_extent())
    assert_whole_png(plots.plot_latent_map(features, factors, tmp_path / "map.png", names), figure)


@pytest.mark.parametrize("limit", [2000, 10])
def test_latent_map_keeps_clusters_together_and_is_the_same_twice(latent, limit, monkeypatch):
    monkeypatch.setattr(latent_map, "TSNE_MAX_ROWS", limit)
    features, factors = latent
    points, method = plots.two_dimensions(features)
    assert method == ("t-SNE" if limit == 2000 else "PCA")
    np.testing.assert_array_equal(points, plots.two_dimensions(features)[0])
    centers = np.array([points[factors["shape"] == c].mean(0) for c in range(3)])
    nearest = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(1)
    assert (nearest == factors["shape"]).mean() > 0.95


def test_latent_map_starts_from_the_principal_axes(latent, monkeypatch):
    monkeypatch.setattr(latent_map, "TSNE_MAX_ROWS", 0)
    for x in (latent[0], latent[0][:12]):  # more rows than columns, and fewer
        points, _ = plots.two_dimensions(x)
        u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
        np.testing.assert_allclose(np.abs(points), np.abs(u * s)[:, :2], atol=1e-6)


def test_latent_map_of_three_rows_or_one_column():
    assert len(shown(plots.latent_map_figure(np.eye(3), {"a": [0, 1, 2]}))) == 1
    assert len(shown(plots.latent_map_figure(np.arange(12.0)[:, None], {"a": [0, 1] * 6}))) == 1
    assert len(shown(plots.latent_map_figure(np.full((5, 4), 0.1), {"a": [0, 1, 1, 0, 1]}))) == 1


def test_latent_map_errors_in_plain_words(latent):
    features, factors = latent
    with pytest.raises(ValueError, match="without NaN"):
        plots.latent_map_figure(features * np.nan, factors)
    with pytest.raises(ValueError, match="'shape' must be 90 integer class ids"):
        plots.latent_map_figure(features, {"shape": factors["shape"][:5]})
    with pytest.raises(ValueError, match=r"'colour' holds ids 4..5 but 2 class names"):
        plots.latent_map_figure(features, factors, {"colour": ["red", "blue"]})
    with pytest.raises(ValueError, match="71 classes"):
        plots.latent_map_figure(np.eye(71), {"a": np.arange(71)})


def test_principal_components_are_those_of_an_svd_and_zero_beyond():
    features = np.random.default_rng(0).normal(size=(30, 5)) * [5, 3, 1, 0.1, 0.1] + 7
    u, s, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    found = plots.principal_components(features, 3)
    np.testing.assert_allclose(np.abs(found), np.abs(u * s)[:, :3], atol=1e-9)
    assert plots.principal_components(features[:, :2], 3).shape == (30, 3)
    assert not plots.principal_components(features[:, :2], 3)[:, 2].any()


def test_a_color_is_drawn_as_itself_and_other_classes_all_differ(latent):
    colors = ["red", "Green", "ocean", "white"]
    names = {"color": colors, "shape": list("abcdefghijkl"), "thing": ["red", "star"]}
    factors = {"color": np.arange(90) % 4, "shape": np.arange(90) % 12, "thing": np.arange(90) % 2}
    by_color, by_shape, by_thing = shown(plots.latent_map_figure(latent[0], factors, names))
    red, green, ocean, white = (c.get_facecolor()[0, :3] for c in by_color.collections)
    assert red[0] > 0.85 and red[1:].max() < 0.15 and green.argmax() == 1 and white.min() == 1
    assert ocean[2] > ocean[0] and ocean[1] > ocean[0]
    assert all(c.get_linewidths()[0] > 0 for c in by_color.collections)  # white is seen on white
    assert len({tuple(c.get_facecolor()[0]) for c in by_shape.collections}) == 12
    assert tuple(by_thing.collections[0].get_facecolor()[0, :3]) != tuple(red)  # a factor of things, not of colors


def test_a_map_by_pca_tells_its_share_of_the_variance_on_equal_axes(monkeypatch):
    monkeypatch.setattr(latent_map, "TSNE_MAX_ROWS", 0)
    x = np.zeros((8, 4))
    x[np.arange(8), np.arange(8) // 2] = [5, -5, 3, -3, 2, -2, 1, -1]  # variances 50 : 18 : 8 : 2
    figure = plots.latent_map_figure(x, {"a": [0, 1] * 4})
    assert figure.get_suptitle() == "Latent space of 8 rows, PCA (87% of the variance)"
    assert shown(figure)[0].get_aspect() == 1
    scores = plots.principal_components(x, 3)
    np.testing.assert_allclose(plots.explained_variance(x, scores), np.array([50, 18, 8]) / 78)
    np.testing.assert_array_equal(plots.explained_variance(np.ones((3, 2)), np.zeros((3, 2))), [0, 0])
