import pytest

from hf_latent import plots
from tests.plots.small import assert_whole_png, shown


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


def test_fine_tuned_structures_are_rows_and_measures_panels(tmp_path):
    def cell(mean, chance, std=0.0):
        return {"mean": mean, "std": std, "chance": chance}

    summary = {
        "plain": {"all answers": cell(60, 12), "yes_no": cell(70, 50, 5)},
        "apart": {"all answers": cell(65, 14, 2), "texture": cell(30, 10)},
    }
    figure = plots.fine_tuned_figure(summary)
    panels = shown(figure)
    assert [panel.get_title() for panel in panels] == ["all answers", "yes/no", "texture"]
    points = [[tuple(c.lines[0].get_data()) for c in panel.containers] for panel in panels]
    assert [[(x[0], y[0]) for x, y in of] for of in points] == [[(60, 0), (65, 1)], [(70, 0)], [(30, 1)]]
    ends = panels[1].containers[0].lines[2][0].get_segments()[0][:, 0]
    assert ends.tolist() == [65, 75]
    dashed = [
        [line.get_xdata()[0] for line in panel.lines if line.get_ls() == "--" and len(line.get_xdata())]
        for panel in panels
    ]
    assert dashed == [[14], [50], [10]]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["plain", "apart"]
    assert all(panel.yaxis_inverted() for panel in panels)  # the first structure stands on top
    assert_whole_png(plots.plot_fine_tuned(summary, tmp_path / "tuned.png"), figure)
    for refused, words in (({}, "Give 1 to 70 structures"), ({"plain": {}}, "No structure has a measure")):
        with pytest.raises(ValueError, match=words):
            plots.fine_tuned_figure(refused)
