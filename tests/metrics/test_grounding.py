"""Maps against boxes."""

import numpy as np
import pytest

from hf_latent.metrics import grounding

NO_BOX = (0, 0, 0, 0)


def test_a_map_in_the_box_points_and_one_beside_it_does_not():
    maps = np.zeros((3, 2, 4))
    maps[0, 0, 1] = 2.0  # its middle is (6, 4) of a picture 16 wide and 16 high
    maps[1, 1, 3] = 1.0  # (14, 12)
    boxes = [[(4, 0, 8, 8), (12, 8, 16, 16)], [(4, 0, 8, 8), (12, 8, 16, 16)], [(0, 0, 16, 8), NO_BOX]]
    found = grounding(maps, boxes, (16, 16))
    # The third map sees nothing: it is wrong, not right for want of anything better.
    assert found["grounding_pointing"] == pytest.approx(100 / 3)
    assert found["grounding_box"] == pytest.approx(100 / 3)
    assert found["grounding_energy"] == pytest.approx(100 / 3)
    assert found["grounding_box_chance"] == pytest.approx(100 * (1 / 2 + 1 / 2 + 1) / 3)
    assert found["grounding_chance"] == pytest.approx(100 * (1 / 8 + 1 / 8 + 4 / 8) / 3)


def test_cells_count_by_their_share_in_the_box():
    """The sums equal those over a picture in which every pixel has the value of its cell."""
    draw = np.random.default_rng(0)
    maps = draw.random((20, 4, 2))
    corners = np.sort(draw.integers(0, 17, (20, 3, 2, 2)), axis=2) + [[[[0, 0], [1, 1]]]]
    boxes = corners.reshape(20, 3, 4)
    pixels = maps.repeat(4, axis=1).repeat(9, axis=2)  # 16 high, 18 wide
    sums = np.array([[p[t:b, le:r].sum() for le, t, r, b in frames] for p, frames in zip(pixels, boxes, strict=True)])
    heights = np.minimum(boxes[..., 3], 16) - boxes[..., 1]
    boxes[..., 3] = np.minimum(boxes[..., 3], 16)
    areas = heights * (boxes[..., 2] - boxes[..., 0])
    found = grounding(maps, boxes, (16, 18))
    assert found["grounding_energy"] == pytest.approx(100 * (sums[:, 0] / pixels.sum((1, 2))).mean())
    best = np.where(areas > 0, sums / np.sqrt(np.maximum(areas, 1)), -1).argmax(1)
    assert found["grounding_box"] == pytest.approx(100 * (best == 0).mean())


@pytest.mark.parametrize(("maps", "boxes"), [((0, 2, 2), (0, 1, 4)), ((2, 2, 2), (3, 1, 4)), ((2, 2), (2, 1, 4))])
def test_shapes_that_do_not_fit_are_refused(maps, boxes):
    with pytest.raises(ValueError, match="give \\(phrases, rows, columns\\)"):
        grounding(np.ones(maps), np.ones(boxes), (8, 8))
