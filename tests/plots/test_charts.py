import numpy as np
import pytest
from matplotlib import get_backend
from matplotlib.colors import to_rgba

from hf_latent import plots
from hf_latent.metrics.information import factor_joint
from tests.plots.small import assert_whole_png, shown

CHANCE = {"Redundancy": 10.0, "Uniqueness 1": 10.0, "Uniqueness 2": 10.0, "Synergy": 50.0}


def with_chance(*values):
    return {title: (value, level) for value, (title, level) in zip(values, CHANCE.items(), strict=True)}


RUNS = {"first": with_chance(99.9, 87.8, 86.0, 71.9), "second": with_chance(100.0, float("nan"), float("nan"), 47.0)}
LOG = [
    {"loss": 5.0, "loss_contrastive": 4.0, "loss_uniformity": -1.0, "grad_norm": 1.0, "step": 10},
    {"loss": 3.0, "loss_contrastive": 2.5, "loss_uniformity": -1.5, "grad_norm": 1.0, "step": 20},
    {"eval_loss": 9.0, "step": 20},
    {"train_loss": 4.0, "train_runtime": 1.0, "step": 20},
]


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


def test_a_comparison_draws_all_runs_each_in_its_color_on_fixed_axes_with_chance(tmp_path):
    nan = float("nan")
    panels = {
        "answers": plots.Bars("%", {"questions": {"all answers": (80.0, 12.5), "yes/no": (99.99, 50.0)}, "plain": {}}),
        "retrieval": plots.Bars("%", {"towers": {"i2t r1": (30.0, nan)}, "questions": {"i2t r1": (31.0, nan)}}),
        "space": plots.Bars("", {"towers": {"gap": (0.125, nan), "cka": (0.9, nan)}}, top=1.0),
    }
    runs = ["towers", "questions", "plain"]
    figure = plots.comparison_figure(panels, runs)
    answers, retrieval, space = shown(figure)
    assert [panel.get_title() for panel in shown(figure)] == list(panels)
    bars = [
        [(round(bar.get_x() + bar.get_width() / 2, 6), bar.get_height(), bar.get_facecolor()) for bar in panel.patches]
        for panel in shown(figure)
    ]
    first, second = (to_rgba(color) for color in plots.BARS[:2])
    assert bars[0] == [(0.0, 80.0, second), (1.9, 99.99, second)]
    assert bars[1] == [(0.0, 30.0, first), (1.0, 31.0, second)]
    assert bars[2] == [(0.0, 0.125, first), (1.9, 0.9, first)]
    assert [t.get_text() for t in answers.get_xticklabels()] == ["all\nanswers", "yes/no"]
    texts = [[text.get_text() for text in panel.texts] for panel in shown(figure)]
    assert texts == [["80.0", "100"], ["30.0", "31.0"], ["0.12", "0.90"]]
    levels = [[s[0][1] for lines in panel.collections for s in lines.get_segments()] for panel in shown(figure)]
    assert levels == [[12.5, 50.0], [], []]
    assert [panel.get_ylim() for panel in shown(figure)] == [(0, 100), (0, 100), (0, 1)]
    widths = {float(np.subtract(*panel.get_xlim()).round(9)) for panel in shown(figure)}
    assert len(widths) == 1  # one width of bars
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["towers", "questions", "plain: nothing measured", "chance"]
    assert_whole_png(plots.plot_comparison(panels, runs, tmp_path / "comparison.png"), figure)
    for parts, of in (({}, runs), (panels, []), (panels, list("abcdefg")), ({"none": plots.Bars("%", {})}, runs)):
        with pytest.raises(ValueError, match="Give 1 to 6 runs to compare, one measure at least"):
            plots.comparison_figure(parts, of)


def test_the_number_of_a_full_bar_does_not_touch_the_heading():
    panels = {name: plots.Bars("%", {"run": {"measure": (100.0, 10.0)}}) for name in ("one", "two")}
    figure = plots.comparison_figure(panels, ["run"])
    figure.draw_without_rendering()
    for panel in shown(figure):
        assert not panel.texts[0].get_window_extent().overlaps(panel.title.get_window_extent())


@pytest.mark.parametrize("count", [1, 6])
def test_interactions_labels_do_not_overlap(count):
    values = with_chance(99.9, 88.8, 9.9, 47.7)
    figure = plots.interactions_figure({f"run {i}": values for i in range(count)})
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in shown(figure)[0].texts]
    assert len(boxes) == 4 * count
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_interactions_refuse_what_they_cannot_show():
    with pytest.raises(ValueError, match="1 to 6 runs"):
        plots.interactions_figure({})
    with pytest.raises(ValueError, match="1 to 6 runs"):
        plots.interactions_figure({str(i): values for i, values in enumerate([RUNS["first"]] * 7)})
    with pytest.raises(ValueError, match="'a' must lie in 0 to 100"):
        plots.interactions_figure({"a": {"Synergy": (120.0, 50.0)}})


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
    monkeypatch.setattr(plots.look.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
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
