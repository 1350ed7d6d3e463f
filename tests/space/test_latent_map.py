"""The latent map: points, colors, joints, pictures and numbers are those of the sample."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hf_latent.metrics import geometry
from tests.space.runs import METRICS

from explorer import FUSED  # isort: skip
from tabs import latent_map  # isort: skip
from tabs.latent_map import MODALITY, PCA2, PCA3, TSNE, LatentMap, numbers_html  # isort: skip


@pytest.fixture(scope="module")
def of_pairs(pairs):
    return LatentMap(pairs, 0)


@pytest.fixture(scope="module")
def of_captions(captions):
    return LatentMap(captions, 1)


def points(figure, skip=0):
    """Modality or class -> coordinates, of the traces that are points."""
    return {trace.name: np.array([trace.x, trace.y]).T for trace in figure.data[skip:]}


def test_each_layout_places_each_row_of_each_modality(of_pairs):
    for layout, width in ((PCA2, 2), (PCA3, 3), (TSNE, 2)):
        places = of_pairs.places[layout]
        assert {name: rows.shape for name, rows in places.items()} == dict.fromkeys(
            ("image1", "image2", FUSED), (200, width)
        )
    assert np.allclose(of_pairs.places[PCA2]["image1"], of_pairs.places[PCA3]["image1"][:, :2])


def test_by_modality_there_is_one_trace_a_modality_and_one_of_joints(of_captions):
    figure = of_captions.figure(PCA2, MODALITY, True)
    assert [trace.name for trace in figure.data[1:]] == ["image", "text"]
    assert len({trace.marker.color for trace in figure.data[1:]}) == 2
    for name, coordinates in points(figure, skip=1).items():
        assert np.allclose(coordinates, of_captions.places[PCA2][name])
    joints = np.array([figure.data[0].x, figure.data[0].y]).T.reshape(200, 3, 2)
    assert np.allclose(joints[:, 0], of_captions.places[PCA2]["image"])
    assert np.allclose(joints[:, 1], of_captions.places[PCA2]["text"]) and np.isnan(joints[:, 2]).all()
    assert [trace.name for trace in of_captions.figure(PCA2, MODALITY, False).data] == ["image", "text"]


def test_a_point_knows_its_row_and_its_words(of_captions):
    image, text = of_captions.figure(PCA2, MODALITY, False).data
    for row in (0, 42, 199):
        assert image.customdata[row] == text.customdata[row] == row
        assert of_captions.sample.words[row] in image.text[row]
        assert of_captions.sample.values["text"][row] in text.text[row] and text.text[row].startswith("text: ")


def test_colored_by_a_factor_there_is_one_trace_a_class_with_all_its_rows(of_captions):
    figure, sample = of_captions.figure(PCA3, "color", False), of_captions.sample
    *classes, image, text = figure.data
    assert [(key.name, key.marker.symbol, key.x) for key in (image, text)] == [
        ("image", "circle", (None,)),
        ("text", "diamond", (None,)),
    ]
    assert {trace.name for trace in classes} == set(sample.labels["color"].names)
    for trace in classes:
        rows = np.flatnonzero(sample.known["color"] == sample.labels["color"].names.index(trace.name))
        assert sorted(trace.customdata) == sorted([*rows, *rows])
        assert set(trace.marker.symbol) == {"circle", "diamond"}
    assert next(trace for trace in classes if trace.name == "red").marker.color == "rgb(255, 0, 0)"
    assert [t.name for t in of_captions.figure(PCA2, "no such factor", False).data] == ["image", "text"]


def test_the_pictures_of_the_sprite_are_those_of_the_rows(of_pairs):
    html = of_pairs.sprite_html()
    assert 'id="sprite-0"' in html and 'data-count="200"' in html and 'data-modalities="2"' in html
    sheet = Image.open(BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])))
    for modality, row in (("image1", 0), ("image1", 37), ("image2", 199)):
        number = row + 200 * of_pairs.explorer.images.index(modality)
        x, y = number % 20 * 64, number // 20 * 64
        tile = np.asarray(sheet.convert("RGB").crop((x, y, x + 64, y + 64)), dtype=int)
        wanted = np.asarray(of_pairs.explorer.thumbnails[modality][row].resize((64, 64)), dtype=int)
        assert np.abs(tile - wanted).mean() < 8  # webp is lossy; another row differs by more than 20


def test_the_numbers_are_measured_on_the_rows(of_captions):
    captions = of_captions.explorer
    expected = geometry({"image": captions.unit["image"], "text": captions.unit["text"]})
    assert of_captions.numbers["Modality gap: distance between the means"] == f"{expected['gap_centroid']:.2f}"
    assert of_captions.numbers["Effective rank of text"] == f"{expected['effective_rank_text']:.2f}"
    assert f"{captions.recalls(captions.unit)['text nearest to image is right']:.0f} %" in of_captions.numbers.values()


def test_two_models_stand_in_two_columns(of_pairs, of_captions):
    table = numbers_html([of_pairs, of_captions])
    assert table.count("<tr>") == table.count("</tr>") and "captions_model" in table
    row = next(row for row in table.split("<tr>") if "Modality gap" in row)
    assert row.count("<td>") == 2
    assert table.count(f"{METRICS['redundancy']:.1f} % <span") == 2  # both runs have the same metrics.json


def test_a_model_that_was_not_measured_has_the_numbers_of_its_rows(of_captions, monkeypatch):
    monkeypatch.setattr(of_captions.explorer, "metrics", {})
    assert "After training" not in numbers_html([of_captions])
    assert latent_map.refusal(of_captions.explorer) is None


def test_names_are_text(of_captions, monkeypatch):
    monkeypatch.setattr(of_captions.explorer, "name", "<img src=x>")
    assert "<img" not in numbers_html([of_captions])


def test_maps_side_by_side_have_one_scale_and_tell_their_variance(of_pairs, of_captions):
    reach = max(each.reach(PCA2) for each in (of_pairs, of_captions))
    for each in (of_pairs, of_captions):
        figure = each.figure(PCA2, MODALITY, True, reach)
        assert tuple(figure.layout.xaxis.range) == tuple(figure.layout.yaxis.range) == (-1.08 * reach, 1.08 * reach)
        assert figure.layout.yaxis.scaleanchor == "x"
        scene = each.figure(PCA3, MODALITY, True, 2.0).layout.scene
        assert [tuple(axis.range) for axis in (scene.xaxis, scene.yaxis, scene.zaxis)] == [(-2.16, 2.16)] * 3
        unit = np.concatenate([rows.numpy() for rows in each.explorer.unit.values()])
        spectrum = np.linalg.eigvalsh(np.cov(unit.T, bias=True))[::-1]
        shares = spectrum[:3] / spectrum.sum()
        assert np.allclose(each.explained, shares)
        assert figure.layout.xaxis.title.text == f"PC 1 ({shares[0]:.1%})"
        assert scene.zaxis.title.text == f"PC 3 ({shares[2]:.1%})"
        assert f"shows {shares[:2].sum():.1%} of the variance" in latent_map.about(each, PCA2)
        assert f"shows {shares.sum():.1%} of the variance" in latent_map.about(each, PCA3)
        assert "of the variance" not in latent_map.about(each, TSNE)
    assert max(np.abs(rows).max() for rows in of_pairs.places[PCA2].values()) == of_pairs.reach(PCA2)


def test_what_is_said_of_a_map_is_true_of_its_layout():
    assert "Both maps have one scale" in latent_map.reading(PCA2, 2)
    assert "Both maps" not in latent_map.reading(PCA3, 1)
    tsne = latent_map.reading(TSNE, 2)
    assert "no modality gap can be read from it" in tsne and "scale" not in tsne
