import numpy as np
import pytest
from matplotlib import get_backend
from PIL import Image

from hf_latent import plots
from hf_latent.metrics.information import factor_joint

RUNS = {
    "first": {"redundancy": 99.9, "uniqueness1": 87.8, "uniqueness2": 86.0, "synergy": 71.9},
    "second": {"redundancy": 100.0, "uniqueness1": float("nan"), "synergy": 47.0},
}
LOG = [
    {"loss": 5.0, "loss_contrastive": 4.0, "loss_uniformity": -1.0, "grad_norm": 1.0, "step": 10},
    {"loss": 3.0, "loss_contrastive": 2.5, "loss_uniformity": -1.5, "grad_norm": 1.0, "step": 20},
    {"eval_loss": 9.0, "step": 20},
    {"train_loss": 4.0, "train_runtime": 1.0, "step": 20},
]


def shown(figure):
    return [panel for panel in figure.axes if panel.get_visible()]


def assert_whole_png(path, figure):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == tuple(int(round(inches * plots.DPI)) for inches in figure.get_size_inches())
        assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 5  # not blank
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # nothing half-written beside it


def test_losses_draw_the_total_and_each_term_against_the_step(tmp_path):
    figure = plots.losses_figure(LOG)
    total, contrastive, uniformity = shown(figure)
    assert [panel.lines[0].get_ydata().tolist() for panel in (total, contrastive, uniformity)] == [
        [5.0, 3.0],
        [4.0, 2.5],
        [-1.0, -1.5],
    ]
    assert total.lines[0].get_xdata().tolist() == [10, 20]
    assert total.get_title() == "total (last 3)" and contrastive.get_title() == "contrastive (last 2.5)"
    path = plots.plot_losses(LOG, tmp_path / "made" / "losses.png")
    assert_whole_png(path, figure)


def test_losses_of_one_entry_are_a_visible_point():
    (panel,) = shown(plots.losses_figure([{"loss": 2.0, "step": 7}]))
    assert panel.lines[0].get_marker() == "o"
    assert panel.get_xticks().tolist() == [7]


def test_losses_need_a_training_entry():
    with pytest.raises(ValueError, match='no entry with "loss" and "step"'):
        plots.losses_figure([{"eval_loss": 1.0, "step": 1}])


def test_interactions_draw_a_bar_a_value_and_a_chance_line_a_group(tmp_path):
    figure = plots.interactions_figure(RUNS)
    (panel,) = shown(figure)
    heights = [[bar.get_height() for bar in container] for container in panel.containers]
    assert heights == [[99.9, 87.8, 86.0, 71.9], [100.0, 47.0]]
    texts = [text.get_text() for text in panel.texts]
    assert texts == ["99.9", "87.8", "86.0", "71.9", "100", "n/a", "n/a", "47.0"]
    assert [segment[0][1] for segment in panel.collections[0].get_segments()] == [10, 10, 10, 50]
    assert panel.get_ylim() == (0, 100)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"first", "second", "chance"}
    assert_whole_png(plots.plot_interactions(RUNS, tmp_path / "interactions.png"), figure)


@pytest.mark.parametrize("count", [1, 6])
def test_interactions_labels_do_not_overlap(count):
    values = {"redundancy": 99.9, "uniqueness1": 88.8, "uniqueness2": 9.9, "synergy": 47.7}
    figure = plots.interactions_figure({f"run {i}": values for i in range(count)})
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in shown(figure)[0].texts]
    assert len(boxes) == 4 * count
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_interactions_refuse_what_they_cannot_show():
    with pytest.raises(ValueError, match="1 to 6 runs"):
        plots.interactions_figure({})
    with pytest.raises(ValueError, match="1 to 6 runs"):
        plots.interactions_figure({str(i): {} for i in range(7)})
    with pytest.raises(ValueError, match="'a' must be percent"):
        plots.interactions_figure({"a": {"synergy": 120.0}})


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
    monkeypatch.setattr(plots, "TSNE_MAX_ROWS", limit)
    features, factors = latent
    points, method = plots.two_dimensions(features)
    assert method == ("t-SNE" if limit == 2000 else "PCA")
    np.testing.assert_array_equal(points, plots.two_dimensions(features)[0])
    centers = np.array([points[factors["shape"] == c].mean(0) for c in range(3)])
    nearest = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(1)
    assert (nearest == factors["shape"]).mean() > 0.95


def test_latent_map_starts_from_the_principal_axes(latent, monkeypatch):
    monkeypatch.setattr(plots, "TSNE_MAX_ROWS", 0)
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


def test_information_gap_draws_a_point_a_distribution_above_the_bound(tmp_path):
    families = {
        "only the image tells more": [factor_joint(image_only=a) for a in (0, 0.5, 1)],
        "the text, too": [factor_joint(image_only=a, text_only=0.5) for a in (0.5, 1)],
    }
    figure = plots.information_gap_figure(families)
    (panel,) = shown(figure)
    image, text, bound = (np.column_stack(line.get_data()) / np.log(2) for line in panel.lines)
    np.testing.assert_allclose(image, np.array([[0, 0], [0.5, 0.5], [1, 1]]), atol=1e-12)
    np.testing.assert_allclose(text, np.array([[0, 1], [0.5, 1.5]]), atol=1e-12)
    assert (bound[:, 0] == bound[:, 1]).all() and bound[1, 0] > 1
    (legend,) = figure.legends
    names = [entry.get_text() for entry in legend.get_texts()]
    assert names == [*families, "bound: cost = gap", "impossible"]
    figure.draw_without_rendering()
    assert not legend.get_window_extent().overlaps(panel.get_window_extent())
    assert_whole_png(plots.plot_information_gap(families, tmp_path / "gap.png"), figure)
    (panel,) = shown(plots.information_gap_figure({"none": [factor_joint(0)]}))
    assert panel.get_xlim() == (0, 0.1)


def test_trade_offs_draw_a_point_a_structure(tmp_path):
    def cell(mean, std=0.0):
        return {"mean": mean, "std": std}

    summary = {
        "plain": {
            "zero_shot_top1": cell(90, 2),
            "probe_texture": cell(20, 1),
            "gap_centroid": cell(0.3),
            "cka": cell(0.8),
        },
        "apart": {"zero_shot_top1": cell(70), "probe_texture": cell(40), "probe_texture_full": cell(60)},
    }
    figure = plots.trade_offs_figure(summary)
    shared, space = shown(figure)
    points = [tuple(container.lines[0].get_data()) for container in shared.containers]
    assert [(x[0], y[0]) for x, y in points] == [(90, 20), (70, 60)]  # the full probe where there is one
    assert len(space.containers) == 1  # what was not measured is not drawn
    (legend,) = figure.legends
    assert [entry.get_text() for entry in legend.get_texts()] == ["plain", "apart"]
    assert_whole_png(plots.plot_trade_offs(summary, tmp_path / "trade.png"), figure)
    with pytest.raises(ValueError, match="Give 1 to 70 structures"):
        plots.trade_offs_figure({})


def test_information_gap_refuses_what_it_cannot_show():
    refused: list[dict[str, list]] = [{}, {"empty": []}, {str(i): [factor_joint(1)] for i in range(7)}]
    for families in refused:
        with pytest.raises(ValueError, match="Give 1 to 6 families"):
            plots.information_gap_figure(families)
    with pytest.raises(ValueError, match="axes X_T, X_V, Y"):
        plots.information_gap_figure({"a": [np.eye(2) / 2]})


def test_a_failed_write_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    path = plots.plot_losses(LOG, tmp_path / "losses.png")
    before = path.read_bytes()
    monkeypatch.setattr(plots.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        plots.plot_losses(LOG[:1], path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="ends in .png"):
        plots.plot_losses(LOG, tmp_path / "losses.pdf")


def test_drawing_changes_nothing_global(tmp_path):
    from matplotlib import rcParams

    before = (dict(rcParams), get_backend())
    plots.plot_interactions(RUNS, tmp_path / "a.png")
    assert (dict(rcParams), get_backend()) == before


def test_principal_components_are_those_of_an_svd_and_zero_beyond():
    features = np.random.default_rng(0).normal(size=(30, 5)) * [5, 3, 1, 0.1, 0.1] + 7
    u, s, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    found = plots.principal_components(features, 3)
    np.testing.assert_allclose(np.abs(found), np.abs(u * s)[:, :3], atol=1e-9)
    assert plots.principal_components(features[:, :2], 3).shape == (30, 3)
    assert not plots.principal_components(features[:, :2], 3)[:, 2].any()
