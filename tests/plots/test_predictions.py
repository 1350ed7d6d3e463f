import numpy as np
import pytest
from matplotlib.colors import to_hex

from hf_latent.plots.predictions import RIGHT, WRONG, plot_predictions, predictions_figure
from tests.plots.small import assert_whole_png, shown

RED = np.full((6, 8, 3), (255, 0, 0), dtype=np.uint8)
BLUE = np.full((6, 8, 3), (0, 0, 255), dtype=np.uint8)


def test_right_and_wrong_are_told_by_symbol_and_color(tmp_path):
    given = [RED, BLUE, RED], ["what color?", "is it red?", "is it red?"], ["red", "no", "yes"], ["red", "yes", "yes"]
    figure = predictions_figure(*given)
    panels = shown(figure)
    assert [panel.get_title() for panel in panels] == ["what color?", "is it red?", "is it red?"]
    assert [panel.get_xlabel() for panel in panels] == ["✓ red", "✗ yes\n(right: no)", "✓ yes"]
    assert [to_hex(panel.spines["left"].get_edgecolor()).upper() for panel in panels] == [RIGHT, WRONG, RIGHT]
    assert "2 of 3 right" in figure.get_suptitle()
    assert np.array_equal(panels[1].images[0].get_array(), BLUE)
    assert_whole_png(plot_predictions(*given, tmp_path / "made" / "predictions.png"), figure)


def test_two_pictures_stand_side_by_side():
    (panel,) = shown(predictions_figure([[RED, BLUE]], ["both are red"], ["false"], ["false"]))
    drawn = np.asarray(panel.images[0].get_array())
    assert np.array_equal(drawn[:, :8], RED) and np.array_equal(drawn[:, -8:], BLUE)
    assert (drawn[:, 8:-8] == 255).all() and drawn.shape[1] > 16


def test_twelve_pictures_in_three_rows():
    figure = predictions_figure(
        [RED] * 12, ["a very long sentence that takes two lines " * 2] * 12, ["a"] * 12, ["b"] * 12
    )
    panels = shown(figure)
    assert len(panels) == 12 and {panel.get_subplotspec().get_gridspec().nrows for panel in panels} == {3}
    assert all("\n" in panel.get_title() for panel in panels)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (([], [], [], []), "1 to 12 pictures.*got 0 pictures"),
        (([RED] * 13, ["a"] * 13, ["a"] * 13, ["a"] * 13), "got 13 pictures"),
        (([RED], ["a"], [], ["a"]), "1 texts, 0 answers and 1 predictions"),
        (([[RED, RED[:4]]], ["a"], ["a"], ["a"]), r"of one size; got \[\(6, 8, 3\), \(4, 8, 3\)\]"),
        (([[]], ["a"], ["a"], ["a"]), r"got \[\]"),
    ],
)
def test_what_cannot_be_drawn_is_named(given, told):
    with pytest.raises(ValueError, match=told):
        predictions_figure(*given)
