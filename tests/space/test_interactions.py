"""Redundant, unique, synergistic: what the tab says of two pictures, and what it finds similar."""

import re

import numpy as np
import pytest

from hf_latent.data.trifeature import COLORS, SHAPES, TEXTURES, draw_picture
from hf_latent.metrics import linear_probe

from sample import trifeature_of  # isort: skip
import pairs as pairs_module  # isort: skip
from pairs import SYNERGY, VIEWS, PairProbes, features, pixels_of  # isort: skip
from tabs import interactions  # isort: skip

FIRST, SECOND = ("star", "dots", "red", 10), ("star", "solid", "blue", -30)


@pytest.fixture(scope="module")
def probes(pairs):
    return PairProbes(pairs)


def embedded(probes, first=FIRST, second=SECOND):
    return probes.embed(tuple(interactions.draw(probes.explorer, picture) for picture in (first, second)))


def reference_pair(probes, row):
    source, (first, second) = probes.reference.source, probes.reference.index[row]
    return probes.embed((source.images[first], source.images[second]))


def test_pictures_are_drawn_as_the_data_of_the_model(probes):
    expected = draw_picture(*FIRST, image_size=16, texture_period=35.0)
    assert np.array_equal(interactions.draw(probes.explorer, FIRST), expected)


def test_the_accuracy_is_that_of_a_linear_probe_on_held_out_pairs(probes, pairs):
    trifeature = trifeature_of(pairs.source)
    train, test = (trifeature.pairs(split, max_pairs=pairs_module.PAIRS) for split in ("train", "test"))
    read, held_out = (features(pairs.embed(pixels_of(each))) for each in (train, test))
    for task, view in (("redundancy", "image2"), (SYNERGY, "fused")):
        sides = [read[view], train.labels[task], held_out[view], test.labels[task]]
        expected = linear_probe(*sides, balanced=task == SYNERGY).balanced_accuracy
        assert probes.accuracy[task][view] == pytest.approx(expected)


def test_answers_are_the_likeliest_classes_and_know_whether_they_are_right(probes):
    pair, truth = embedded(probes), interactions.truth(probes, FIRST, SECOND)
    answers = probes.answers(pair, truth)
    for task, classes in (("redundancy", SHAPES), ("uniqueness1", TEXTURES), ("uniqueness2", TEXTURES)):
        for view in VIEWS:
            shares = probes.probes[task][view].probabilities(pair[view])[0]
            answer = answers[task][view]
            assert answer.said == classes[shares.argmax()] and answer.share == pytest.approx(shares.max())
            assert answer.right == (answer.said == truth[task][view])


def test_the_truth_follows_the_pictures(probes):
    truth = interactions.truth(probes, FIRST, SECOND)
    assert truth["redundancy"] == dict.fromkeys(VIEWS, "star")
    assert truth["uniqueness1"]["fused"] == "dots" and truth["uniqueness2"]["image1"] == "solid"
    fitting = COLORS[probes.mapping[TEXTURES.index("dots")]]
    for color in COLORS:
        said = interactions.truth(probes, FIRST, ("star", "solid", color, 0))[SYNERGY]["fused"]
        assert (said == "mapped") == (color == fitting)
    differ = interactions.truth(probes, FIRST, ("circle", "solid", "blue", 0))["redundancy"]
    assert differ == {"image1": "star", "image2": "circle", "fused": None}
    assert (
        probes.answers(embedded(probes), interactions.truth(probes, FIRST, ("tee", "solid", "blue", 0)))["redundancy"][
            "fused"
        ].right
        is None
    )


def test_the_rule_is_outlined_and_the_pair_is_marked(probes):
    heat, rule, here = interactions.rule_figure(probes, FIRST, SECOND).data
    assert heat.z.shape == (10, 10) and (heat.z[np.isfinite(heat.z)] >= 0).all() and (np.nanmax(heat.z) <= 1)
    mapping = trifeature_of(probes.explorer.source).mapping
    assert dict(zip(rule.y, rule.x, strict=True)) == {t: COLORS[mapping[k]] for k, t in enumerate(TEXTURES)}
    assert (here.x[0], here.y[0]) == ("blue", "dots")


def test_the_presets_show_what_they_say(probes):
    presets = interactions.examples(probes)
    says = {title: interactions.truth(probes, *pair)[SYNERGY]["fused"] for title, pair in presets.items()}
    assert says["A color that fits"] == "mapped" and says["A color that does not"] == "unmapped"
    assert interactions.truth(probes, *presets["Two shapes"])["redundancy"]["fused"] is None
    first, second = presets["One picture twice"]
    assert first == second


def test_a_pair_of_the_reference_finds_itself_first(probes):
    for row in (0, 17, 599):
        for near in probes.neighbours(reference_pair(probes, row), 4).values():
            found, cosine = near[0]
            assert cosine == pytest.approx(1, abs=1e-3)
            assert np.array_equal(probes.reference.index[found], probes.reference.index[row])


def test_lists_are_sorted_and_by_one_image_none_comes_twice(probes):
    found = probes.neighbours(embedded(probes), 4)
    for side, view in enumerate(VIEWS):
        rows, cosines = zip(*found[view], strict=True)
        assert len(rows) == 4 and list(cosines) == sorted(cosines, reverse=True) and max(map(abs, cosines)) < 1.001
        if view != "fused":
            assert len({probes.reference.index[row, side] for row in rows}) == 4


def test_each_view_sees_what_it_says(probes):
    """A list by one image alone stays when the other image changes; the fused one does not."""
    before, after = (
        probes.neighbours(embedded(probes, FIRST, second), 4) for second in (SECOND, ("plus", "rain", "green", 5))
    )
    cosines = {view: [[cosine for _, cosine in found[view]] for found in (before, after)] for view in VIEWS}
    assert cosines["image1"][0] == pytest.approx(cosines["image1"][1])
    assert cosines["image2"][0] != pytest.approx(cosines["image2"][1])
    assert cosines["fused"][0] != pytest.approx(cosines["fused"][1])


def test_the_counts_above_a_list_are_those_of_its_cards(probes):
    page = interactions.neighbours_html(probes, embedded(probes), FIRST, SECOND)
    assert page.count("<img") == 3 * 4 * 2
    by_first = page.split('<div class="view-image1">')[1].split('<div class="view-image2">')[0]
    agreeing = re.findall(r"<small>(.*?)</small>", by_first)
    for factor in ("shape", "texture 1", "color 1"):
        assert f"{factor} in {sum(factor in words for words in agreeing)}" in by_first
    assert "texture 2 in" not in by_first


def test_agreement_names_the_factors():
    assert interactions.agreement((FIRST, SECOND), [("star", "rain", "red"), ("star", "solid", "green")]) == [
        "shape",
        "color 1",
        "texture 2",
    ]


def test_another_model_is_refused_in_a_sentence(captions, pairs, monkeypatch):
    assert "this one is of image, text" in interactions.refusal(captions)
    assert interactions.refusal(pairs) is None
    monkeypatch.setattr(pairs, "source", captions.source)
    assert interactions.refusal(pairs) is not None
