"""Structure: walks begin and end where they say, neighbours are the nearest, and a closed gap is closed."""

import numpy as np
import pytest
import torch

from hf_latent.errors import UserError
from hf_latent.metrics import modality_gap
from hf_latent.regularizers.brownian_bridge import bridge

from explorer import unit  # isort: skip
from tabs import structure  # isort: skip
from tabs.structure import SHARES, Structure  # isort: skip


@pytest.fixture(scope="module")
def of_captions(captions):
    return Structure(captions)


@pytest.fixture(scope="module")
def of_pairs(pairs):
    return Structure(pairs)


def test_a_walk_goes_from_the_first_modality_to_the_second(of_captions, of_pairs):
    for each in (of_captions, of_pairs):
        start, end = each.ends(3, 70, "")
        first, second = (each.explorer.unit[name] for name in each.names)
        torch.testing.assert_close(bridge(start, end, 1.0), first[3])
        torch.testing.assert_close(bridge(start, end, 0.0), second[70])
        steps = torch.stack([bridge(start, end, t) for t in structure.STEPS])
        assert ((steps @ first[3]).diff() < 1e-9).all() and ((steps @ second[70]).diff() > -1e-9).all()


def test_a_text_of_ones_own_is_an_end(of_captions, of_pairs):
    text = "a photo of a red star"
    expected = unit(of_captions.explorer.embed({"text": [text]}))["text"][0]
    torch.testing.assert_close(of_captions.ends(0, 0, f" {text} ")[1], expected)
    torch.testing.assert_close(of_pairs.ends(0, 9, text)[1], of_pairs.rows[1][9])  # pairs have no texts
    for mistake, words in (((0, 200, ""), "no row 200: write 0 to 199"), ((-1, 0, ""), "no row -1")):
        with pytest.raises(UserError, match=words):
            of_captions.ends(*mistake)
    with pytest.raises(UserError, match="has 301 characters"):
        of_captions.ends(0, 0, "x" * 301)


def test_neighbours_are_the_nearest_of_both_modalities_and_read_differently(of_captions):
    place = of_captions.ends(8, 8, "")[0]
    found = of_captions.nearest(place, 6)
    assert found[0][:2] == ("image", 8) and found[0][2] == pytest.approx(1)
    cosines = [cosine for _, _, cosine in found]
    assert cosines == sorted(cosines, reverse=True)
    for name, row, cosine in found:
        assert cosine == pytest.approx((of_captions.explorer.unit[name][row] @ place).item())
    everything = torch.cat(of_captions.rows) @ place
    assert cosines[1] == pytest.approx(everything.sort(descending=True).values[1].item())
    texts = [of_captions.explorer.sample.values["text"][row] for name, row, _ in found if name == "text"]
    assert len(texts) == len(set(texts))


def test_closing_the_gap_brings_the_means_together(of_captions):
    gaps = [modality_gap(*of_captions.moved(share))["centroid_distance"] for share in (0, 0.5, 1)]
    assert gaps[0] == pytest.approx(modality_gap(*of_captions.rows)["centroid_distance"])
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.2 * gaps[0]
    assert all(torch.allclose(rows.norm(dim=1), torch.ones(200).double()) for rows in of_captions.moved(0.7))


def test_the_curve_holds_what_is_measured_at_each_share(of_captions):
    assert list(of_captions.curve) == ["gap", "text nearest to image is right", "image nearest to text is right"]
    for place in (0, 13, 20):
        for title, value in of_captions.measure(SHARES[place]).items():
            assert of_captions.curve[title][place] == pytest.approx(value)
    untouched = of_captions.explorer.recalls(of_captions.explorer.unit)
    assert {title: of_captions.measure(0)[title] for title in untouched} == untouched
    figure = structure.curve_figure(of_captions, 0.4)
    assert figure.layout.shapes[0].x0 == pytest.approx(40)


def test_the_map_stays_where_it_is_while_the_points_move(of_captions):
    before, after = (structure.gap_figure(of_captions, share) for share in (0.0, 1.0))
    assert before.layout.xaxis.range == after.layout.xaxis.range
    middles = [[np.mean([trace.x, trace.y], axis=1) for trace in plot.data] for plot in (before, after)]
    distances = [np.linalg.norm(image - text) for image, text in middles]
    assert distances[1] < 0.2 * distances[0]


def test_the_steps_are_five_columns(of_captions, of_pairs):
    for each in (of_captions, of_pairs):
        page = structure.steps_html(each, each.ends(4, 4, ""))
        assert page.count('class="near"') == 20
        first, second = each.names
        assert f"<b>100 % {first}, 0 % {second}</b>" in page and f"<b>25 % {first}, 75 % {second}</b>" in page


def test_the_presets_are_rows_of_the_sample(captions, pairs):
    presets = structure.examples(captions)
    assert list(presets) == ["What belongs together", "The same shape", "Strangers"]
    row, other = presets["The same shape"]
    sample = captions.sample
    assert sample.known["shape"][row] == sample.known["shape"][other] and sample.ids[row] != sample.ids[other]
    assert sample.ids[presets["Strangers"][0]] != sample.ids[presets["Strangers"][1]]
    assert "Strangers" in structure.examples(pairs)


def test_words_of_the_end_that_the_model_never_saw_are_told(of_captions, of_pairs):
    assert "It never saw <b>xyzzy</b>" in of_captions.unread_html("a photo of a xyzzy")
    assert of_captions.unread_html("a photo of a red star") == ""
    assert of_pairs.unread_html("xyzzy") == ""  # it reads no text
