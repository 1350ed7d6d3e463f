import numpy as np
import pytest
from PIL import Image

from hf_latent.plots import DPI
from hf_latent.plots.grounding import DARKEST, grounding_figure, plot_grounding

IMAGES = [np.full((32, 48, 3), shade, dtype=np.uint8) for shade in (40, 120, 200)]
MAPS = np.zeros((3, 4, 6))
MAPS[0, 1, 2] = 3.0
MAPS[1, 3, 5] = 0.1
PHRASES = ["a red star", "the blue circle", "five green squares"]
BOXES = [(16, 8, 24, 16), (0, 0, 8, 8), (30, 20, 48, 32)]


def test_a_picture_is_lit_where_its_map_is_large():
    figure = grounding_figure(IMAGES, MAPS, PHRASES, BOXES)
    panels = [panel for panel in figure.axes if panel.get_visible()]
    assert [panel.get_title() for panel in panels] == PHRASES
    for panel, values, box in zip(panels, MAPS, BOXES, strict=True):
        shade = np.asarray(panel.images[1].get_array())[..., 3]
        top = values.max()
        np.testing.assert_allclose(shade, DARKEST * (1 - values / top if top else np.ones_like(values)))
        frame = panel.patches[-1]
        assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (*box[:2], box[2] - box[0], box[3] - box[1])
    assert panels[0].lines[-1].get_xydata().tolist() == [[20.0, 12.0]]  # the middle of row 1, column 2
    assert panels[1].lines[-1].get_xydata().tolist() == [[44.0, 28.0]]
    assert not panels[2].lines  # a map of zeros points at nothing


def test_it_is_written_whole(tmp_path):
    path = plot_grounding(IMAGES[:1], MAPS[:1], PHRASES[:1], BOXES[:1], tmp_path / "grounding.png")
    with Image.open(path) as image:
        figure = grounding_figure(IMAGES[:1], MAPS[:1], PHRASES[:1], BOXES[:1])
        assert image.size == tuple(int(round(inches * DPI)) for inches in figure.get_size_inches())
    assert [entry.name for entry in tmp_path.iterdir()] == ["grounding.png"]


def test_lists_that_do_not_fit_are_refused():
    for parts in (([], [], [], []), (IMAGES, MAPS, PHRASES[:2], BOXES)):
        with pytest.raises(ValueError, match="as many of each"):
            grounding_figure(*parts)
