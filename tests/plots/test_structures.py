import pytest

from benchmarks.trade_offs import AXES, RESULTS_PAGE, read_table
from hf_latent import plots
from hf_latent.plots.look import CLASSES
from tests.plots.small import assert_whole_png, shown

INFORMATION = plots.Axis("zero", "nearest", "%", 2.5), plots.Axis("texture", "texture", "%", 10.0, "texture_full")
SPACE = plots.Axis("gap", "modality gap"), plots.Axis("cka", "linear CKA")


def test_trade_offs_draw_a_point_a_structure(tmp_path):
    def cell(mean, std=0.0):
        return {"mean": mean, "std": std}

    summary = {
        "plain": {
            "zero": cell(90, 2),
            "texture": cell(20, 1),
            "gap": cell(0.3),
            "cka": cell(0.8),
        },
        "apart": {"zero": cell(70), "texture": cell(40), "texture_full": cell(60)},
    }
    figure = plots.trade_offs_figure(summary, [INFORMATION, SPACE])
    shared, space = shown(figure)
    points = [c for c in shared.containers if len(c.lines[0].get_xdata())]
    places = [(*c.lines[0].get_xydata()[0], c.lines[0].get_markerfacecolor()) for c in points]
    plain, apart = CLASSES[:2]
    assert places == [(90, 20, plain), (70, 60, "white"), (70, 40, apart)]  # filled points are all of one probe
    chance = [line.get_xydata().tolist() for line in shared.lines if line.get_ls() == "--" and len(line.get_xdata())]
    assert [[2.5, 0], [2.5, 1]] in chance and [[0, 10], [1, 10]] in chance
    assert shared.get_xlim() == shared.get_ylim() == (0, 103)  # not the range of two points
    assert space.get_xlim() == space.get_ylim() == (-0.02, 1.03)
    assert len(space.containers) == 1  # what was not measured is not drawn
    (legend,) = figure.legends
    assert {entry.get_text() for entry in legend.get_texts()} == {
        "plain",
        "apart",
        "filled: on z",
        "hollow: on [z, independent]",
        "chance",
    }
    assert_whole_png(plots.plot_trade_offs(summary, [INFORMATION, SPACE], tmp_path / "trade.png"), figure)
    with pytest.raises(ValueError, match="Give 1 to 70 structures"):
        plots.trade_offs_figure({}, [SPACE])


def test_trade_offs_have_no_empty_axes_and_a_color_a_structure():
    cell = {"mean": 0.5, "std": 0.1}
    summary = {f"of own data {k}": {"gap": cell, "cka": cell} for k in range(13)}
    summary["wide"] = {"gap": {"mean": 0.95, "std": 0.1}, "cka": cell}
    figure = plots.trade_offs_figure(summary, [INFORMATION, SPACE])
    (space,) = shown(figure)
    assert space.get_xlabel() == "modality gap" and space.get_xlim() == (-0.02, 2.05)
    points = [c.lines[0] for c in space.containers if len(c.lines[0].get_xdata())]
    assert len({line.get_color() for line in points}) == 14
    assert {entry.get_text() for entry in figure.legends[0].get_texts()} == set(summary)
    with pytest.raises(ValueError, match="No structure has two measures"):
        plots.trade_offs_figure({"none": {"cka": cell}}, [INFORMATION, SPACE])


def test_fine_tuned_structures_are_rows_and_measures_panels(tmp_path):
    def cell(mean, chance, std=0.0):
        return {"mean": mean, "std": std, "chance": chance}

    summary = {
        "plain": {"all answers": cell(60, 12), "yes/no": cell(70, 50, 5)},
        "apart": {"all answers": cell(65, 14, 2), "texture": cell(30, 10)},
    }
    figure = plots.rows_figure(summary, "After fine-tuning")
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
    assert_whole_png(plots.plot_rows(summary, "After fine-tuning", tmp_path / "tuned.png"), figure)
    for refused, words in (({}, "Give 1 to 70 structures"), ({"plain": {}}, "No structure has a measure")):
        with pytest.raises(ValueError, match=words):
            plots.rows_figure(refused, "")


def test_the_picture_of_the_structure_study_is_drawn_from_its_table():
    summary = read_table(RESULTS_PAGE.read_text(encoding="utf-8"))
    assert len(summary) == 12 and "probe_texture_full" not in summary["plain"]
    assert summary["plain"]["zero_shot"] == {"mean": 86.9, "std": 2.1}
    assert summary["separation_1"]["probe_texture_full"] == {"mean": 58.9, "std": 2.4}
    assert len(shown(plots.trade_offs_figure(summary, AXES))) == 2
