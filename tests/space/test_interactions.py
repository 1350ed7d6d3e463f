"""Redundant, unique, synergistic: what the tab says of two pictures, and what it finds similar."""

import re

import numpy as np
import pytest

from hf_latent.data.trifeature import COLORS, SHAPES, TEXTURES, draw_picture
from hf_latent.data.trifeature_sample import drawn
from hf_latent.metrics import linear_probe
from tests.space.runs import SIZE

import composed  # isort: skip
from composed import ComposedProbes  # isort: skip
from tabs import interactions  # isort: skip

FIRST, SECOND = ("star", "dots", "red", 10), ("star", "solid", "blue", -30)
VIEWS = ("image1", "image2", "fused")
SYNERGY = "synergy"


def chosen(first=FIRST, second=SECOND):
    return {"image1": first, "image2": second}


@pytest.fixture(scope="module")
def trifeature():
    return drawn(SIZE, 42, 35.0)


@pytest.fixture(scope="module")
def probes(pairs):
    return ComposedProbes(pairs, pairs.source.composer())


def embedded(probes, first=FIRST, second=SECOND):
    row = chosen(first, second)
    return probes.embed({name: probes.composer.draw(name, choices) for name, choices in row.items()})


def reference_row(probes, row):
    return probes.embed({name: values[row] for name, values in probes.reference.values.items()})


def test_pictures_are_drawn_as_the_data_of_the_model(probes):
    expected = draw_picture(*FIRST, image_size=16, texture_period=35.0)
    assert np.array_equal(probes.composer.draw("image1", FIRST), expected)
    assert probes.composer.words("image2", SECOND) == "blue star, solid"


def test_the_accuracy_is_that_of_a_linear_probe_on_held_out_pairs(probes, pairs, trifeature):
    train, test = (trifeature.pairs(split, max_pairs=composed.ROWS) for split in ("train", "test"))
    sides = []
    for rows in (train, test):
        values = {name: list(rows.source.images[rows.index[:, k]]) for k, name in enumerate(VIEWS[:2])}
        embeddings = pairs.embed(values)
        sides.append({**embeddings.embeds, "fused": embeddings.fused})
    for task, view in (("redundancy", "image2"), (SYNERGY, "fused")):
        (read, held), labels = (side[view].numpy() for side in sides), (train.labels[task], test.labels[task])
        expected = linear_probe(read, labels[0], held, labels[1], balanced=task == SYNERGY).balanced_accuracy
        assert probes.accuracy[task][view] == pytest.approx(expected)
    assert probes.chance == {"redundancy": 10, "uniqueness1": 10, "uniqueness2": 10, SYNERGY: 50}


def test_answers_are_the_likeliest_classes_and_know_whether_they_are_right(probes):
    row, truth = embedded(probes), probes.composer.truth(chosen())
    answers = probes.answers(row, chosen())
    for task, classes in (("redundancy", SHAPES), ("uniqueness1", TEXTURES), ("uniqueness2", TEXTURES)):
        for view in VIEWS:
            shares = probes.probes[task][view].probabilities(row[view])[0]
            answer = answers[task][view]
            assert answer.said == classes[shares.argmax()] and answer.share == pytest.approx(shares.max())
            assert answer.right == (answer.said == truth[task][view])


def test_the_truth_follows_the_pictures(probes, trifeature):
    truth = probes.composer.truth(chosen())
    assert truth["redundancy"] == dict.fromkeys(VIEWS, "star")
    assert truth["uniqueness1"]["fused"] == "dots" and truth["uniqueness2"]["image1"] == "solid"
    fitting = COLORS[trifeature.mapping[TEXTURES.index("dots")]]
    for color in COLORS:
        said = probes.composer.truth(chosen(FIRST, ("star", "solid", color, 0)))[SYNERGY]["fused"]
        assert (said == "mapped") == (color == fitting)
    differ = probes.composer.truth(chosen(FIRST, ("circle", "solid", "blue", 0)))["redundancy"]
    assert differ == {"image1": "star", "image2": "circle", "fused": None}
    answers = probes.answers(embedded(probes), chosen(FIRST, ("tee", "solid", "blue", 0)))
    assert answers["redundancy"]["fused"].right is None


def test_the_rule_is_outlined_and_the_row_is_marked(probes, trifeature):
    heat, rule, here = interactions.rule_figure(probes, chosen()).data
    assert heat.z.shape == (10, 10) and (heat.z[np.isfinite(heat.z)] >= 0).all() and (np.nanmax(heat.z) <= 1)
    mapping = trifeature.mapping
    assert dict(zip(rule.y, rule.x, strict=True)) == {t: COLORS[mapping[k]] for k, t in enumerate(TEXTURES)}
    assert (here.x[0], here.y[0]) == ("blue", "dots")
    obeying = interactions.fitting(probes.composer, chosen())
    assert obeying == chosen(FIRST, ("star", "solid", COLORS[mapping[TEXTURES.index("dots")]], -30))


def test_the_mean_in_a_cell_of_the_rule_is_that_of_its_rows(probes):
    texture, color = probes.reference.chosen["image1"][:, 1], probes.reference.chosen["image2"][:, 2]
    read = probes._features(probes.explorer.embed(probes.reference.values))["fused"]
    said = probes.probes[SYNERGY]["fused"].probabilities(read)[:, 1]
    for cell in ((0, 3), (7, 2)):
        rows = (texture == cell[0]) & (color == cell[1])
        expected = said[rows].mean() if rows.any() else np.nan
        assert probes.fits[cell] == pytest.approx(expected, nan_ok=True)


def test_the_presets_show_what_they_say(probes):
    presets = probes.composer.presets
    says = {title: probes.composer.truth(row)[SYNERGY]["fused"] for title, row in presets.items()}
    assert says["A color that fits"] == "mapped" and says["A color that does not"] == "unmapped"
    assert probes.composer.truth(presets["Two shapes"])["redundancy"]["fused"] is None
    first, second = presets["One picture twice"].values()
    assert first == second


def test_a_pair_of_the_reference_finds_itself_first(probes):
    for row in (0, 17, 599):
        for near in probes.neighbours(reference_row(probes, row), 4).values():
            found, cosine = near[0]
            assert cosine == pytest.approx(1, abs=1e-3)
            assert all(items[found] == items[row] for items in probes.reference.items.values())


def test_lists_are_sorted_and_by_one_image_none_comes_twice(probes):
    found = probes.neighbours(embedded(probes), 4)
    for view in VIEWS:
        rows, cosines = zip(*found[view], strict=True)
        assert len(rows) == 4 and list(cosines) == sorted(cosines, reverse=True) and max(map(abs, cosines)) < 1.001
        if view != "fused":
            assert len({probes.reference.items[view][row] for row in rows}) == 4


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
    page = interactions.neighbours_html(probes, embedded(probes), chosen())
    assert page.count("<img") == 3 * 4 * 2
    by_first = page.split("Image 1 alone")[1].split("Image 2 alone")[0]
    agreeing = re.findall(r"<small>(.*?)</small>", by_first)
    for factor in ("shape", "texture 1", "color 1"):
        assert f"{factor} in {sum(factor in words for words in agreeing)}" in by_first
    assert "texture 2 in" not in by_first


def test_agreement_names_what_a_view_sees(probes):
    rows = [probes.chosen_of(row) for row in range(probes.size)]
    for row in range(0, probes.size, 37):
        one, two = rows[row].values()
        built = chosen((*one, 0), ("nothing", two[1], "nothing", 0))
        assert probes.agreement(built, row, "image1") == ["shape", "texture 1", "color 1"]
        assert probes.agreement(built, row, "image2") == ["texture 2"]
        assert probes.agreement(built, row, "fused") == ["texture 1", "color 1", "texture 2"]


def test_another_model_is_refused_in_a_sentence(captions, pairs, monkeypatch):
    assert interactions.refusal(captions) == "Its data are not built from parts that can be chosen."
    assert interactions.refusal(pairs) is None
    monkeypatch.setattr(pairs, "source", captions.source)
    assert interactions.refusal(pairs) is not None
