"""CMC, SimCLR and SLIP on the rows that published values are of: their official codes give the same digits."""

import pytest

from hf_latent import CoMMConfig, Embeddings, build_objective
from tests.regularizers.test_published_values import sines

SPECS = {
    "image": {"encoder": "cnn", "channels": [8, 16]},
    "features": {"encoder": "features", "input_dim": 3},
    "table": {"encoder": "table", "input_dim": 4, "hidden_dims": [6], "token_dim": 8},
}


def objective(name, modalities=2, **options):
    specs = dict(list(SPECS.items())[:modalities])
    return build_objective(CoMMConfig(modalities=specs, objective=name, objective_options=options))


def embeds(*first, second=()):
    return Embeddings(
        embeds=dict(zip(SPECS, first, strict=False)), augmented=dict(zip(SPECS, second, strict=False)) or None
    )


def test_golden_values():
    u = [sines(number) for number in range(7)]
    assert u[1][0].tolist() == pytest.approx([0.585451, 0.689948, -0.425698], abs=1e-6)
    assert objective("cmc", 3)(embeds(*u[1:4]), 10.0)[0] == pytest.approx(6.187428, abs=1e-6)
    z = embeds(u[1], u[3], second=(u[2], u[4]))
    assert objective("simclr")(z, 10.0)[0] == pytest.approx(2.878721, abs=1e-6)
    # The published value of SLIP is of a third, clean encoding: the two terms are compared.
    cross = objective("cross")(embeds(u[1], u[2]), 1 / 0.07)[0]
    _, terms = objective("slip")(embeds(u[3], u[2], second=(u[4], u[2])), 1 / 0.07)
    assert cross + terms["self"] == pytest.approx(5.399357, abs=1e-6)
    _, terms = objective("slip", view_temperature=0.07)(embeds(u[1], u[2], second=(u[4], u[2])), 1 / 0.07)
    assert terms["cross"] == pytest.approx(cross.item())


def test_clean_inputs():
    u = [sines(number) for number in range(7)]
    z = embeds(u[1], u[2], second=(u[3], u[5]))
    z.third_augmented = {"image": u[4], "features": u[6]}
    goal = objective("cross_self", clean=True)
    loss, terms = goal(z, 10.0)
    assert loss == pytest.approx(5.025796, abs=1e-6) and set(terms) == {"cross", "self"}
    assert goal.reads_clean and goal.third_views(SPECS) == set(SPECS)
    parts = [goal(z, 10.0, rows=rows)[0] for rows in (slice(0, 2), slice(2, 4))]
    assert sum(parts) / 2 == pytest.approx(5.025796, abs=1e-6)
    z.third_augmented = None
    with pytest.raises(ValueError, match="needs third_augmented"):
        goal(z, 10.0)
    plain = objective("cross_self")
    assert not plain.reads_clean and not plain.third_views(SPECS)
    assert not objective("cross", clean=True).second_views(SPECS) and objective("cross", clean=True).reads_clean
    with pytest.raises(ValueError, match="objective_options.clean='yes': write true or false"):
        objective("cross", clean="yes")
    for name in ("cmc", "slip", "factorcl_linear"):
        with pytest.raises(ValueError, match=f"{name!r} has no such option"):
            objective(name, clean=True)


def test_views_of_chooses_the_modalities():
    u = [sines(number) for number in range(7)]
    z = embeds(*u[:3], second=u[3:6])
    by_default = objective("simclr", 3)
    assert by_default.views_of == ["image"] and by_default.second_views(SPECS) == set(SPECS)
    each = [objective("simclr", 3, views_of=[name])(z, 10.0)[0] for name in SPECS]
    loss, terms = objective("simclr", 3, views_of=["image", "table"])(z, 10.0)
    assert loss == pytest.approx(((each[0] + each[2]) / 2).item())
    assert terms["self_table"] == pytest.approx(each[2].item())
    assert by_default(z, 10.0)[0] == pytest.approx(each[0].item())
    assert by_default.features(z).shape == (4, 9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"views_of": ["imge"]}, "views_of: 'imge' is no modality: did you mean 'image'"),
        ({"views_of": "image"}, r"views_of='image': write a list of different modalities, such as \[image\]"),
        ({"view_temperature": 0}, "view_temperature=0: write a number above 0"),
    ],
)
def test_mistakes_are_told(options, words):
    with pytest.raises(ValueError, match=f"objective_options.{words}"):
        objective("slip", **options)
