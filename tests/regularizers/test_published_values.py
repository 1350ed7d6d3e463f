"""Regularizers on the rows that published values are of: the official code gives the same digits."""

import math

import pytest
import torch
import torch.nn.functional as F

from hf_latent import Embeddings
from hf_latent.losses import symmetric_info_nce
from hf_latent.losses.uniformity import pair_uniformity
from hf_latent.regularizers import build_regularizer
from hf_latent.regularizers.decorrelation import standardised
from hf_latent.regularizers.random_references import normal
from tests.losses.golden import golden


def sines(number, rows=4, dim=3, unit=True):
    own = [[math.sin(number + 1.3 * i + 0.7 * j**2 + 0.5 * i * j) for j in range(dim)] for i in range(rows)]
    found = torch.tensor(own, dtype=torch.float64)
    return F.normalize(found, dim=1) if unit else found


def embeds(*rows, **more):
    return Embeddings(embeds={f"m{number}": own for number, own in enumerate(rows)}, **more)


def test_uniformity():
    a, b, _ = map(golden, range(3))
    assert pair_uniformity(a, a) == pytest.approx(-2.2427261809) and pair_uniformity(b, b) == pytest.approx(
        -4.3116677041
    )
    assert pair_uniformity(a, b) == pytest.approx(-3.3831411998)
    both = build_regularizer("uniformity", cross=True)(embeds(a, b), 10.0)
    assert both == pytest.approx((-2.2427261809 - 4.3116677041) / 2 - 3.3831411998)


def test_centroid_uniformity():
    a, b, c = map(golden, range(3))
    spread = build_regularizer("centroid_uniformity")
    assert spread(embeds(a, b), 10.0) == pytest.approx(-3.4328794859)
    assert spread(embeds(a, b, c), 10.0) == pytest.approx(-3.4511895129)
    align = build_regularizer("information_bottleneck")(embeds(a, b), 10.0)
    assert align == pytest.approx(0.3400287657)
    opposite = torch.stack([a[0], -a[0]]).requires_grad_()  # whose mean has no direction
    value = spread(embeds(opposite, -opposite), 10.0)
    value.backward()
    assert value.isfinite() and opposite.grad.isfinite().all()


def test_distillation():
    unit, raw = [golden(number) for number in range(4)], [golden(number, unit=False) for number in range(4)]
    z = embeds(*unit[:2], teacher={"m0": unit[2], "m1": unit[3]})
    assert build_regularizer("distillation", scale=10)(z, 3.0) == pytest.approx(0.1644569396)
    z = embeds(*raw[:2], teacher={"m0": raw[2], "m1": raw[3]})
    assert build_regularizer("distillation", scale=1)(z, 3.0) == pytest.approx(0.1858619832)


def test_a_model_that_is_its_teacher_costs_nothing():
    own = [golden(number).requires_grad_() for number in range(2)]
    value = build_regularizer("distillation", alpha=0)(embeds(*own, teacher={"m0": own[0], "m1": own[1]}), 1.0)
    value.backward()
    assert abs(value) < 1e-12 and all(rows.grad.abs().max() < 1e-12 for rows in own)


def test_in_modal_separation():
    """The paper's loss: the contrast of both directions, and the value, which is half the sum of both modalities."""
    a, b, c = map(golden, range(3))
    value = build_regularizer("in_modal_separation", similarity_of="m1")(
        embeds(a, b, teacher={"m0": a, "m1": c}), 10.0
    )
    assert value == pytest.approx(0.0905108531, abs=1e-10)
    # With a weight of 0.5, twice the library's loss is the paper's.
    assert 2 * (symmetric_info_nce(a, b, 10.0) + 0.5 * value) == pytest.approx(0.1231220460, abs=1e-10)


def test_random_references(monkeypatch):
    a, b, reference = (golden(number, unit=False) for number in (0, 1, 4))
    monkeypatch.setattr("hf_latent.regularizers.random_references.normal", lambda *_: reference)
    value = build_regularizer("random_references")(embeds(a, b, raw={"m0": a, "m1": b}), 1.0)
    assert value == pytest.approx(0.4211538791) and value * 5 / 2 == pytest.approx(1.0528846978)


def test_the_references_are_normal_and_those_of_a_row():
    found = normal(0, torch.arange(20000), 4)
    assert found.mean().abs() < 0.02 and abs(found.std() - 1) < 0.02 and abs((found**4).mean() - 3) < 0.1
    assert (torch.corrcoef(found.T) - torch.eye(4, dtype=found.dtype)).abs().max() < 0.03
    assert (found[1:] * found[:-1]).mean().abs() < 0.02 and (found * normal(1, torch.arange(20000), 4)).mean() < 0.02
    assert torch.equal(normal(0, torch.tensor([9, 3, 3]), 4), found[[9, 3, 3]])


def test_decorrelation():
    a, b, _ = map(golden, range(3))
    decorrelation = build_regularizer("decorrelation", common=0.6, in_modal=False)
    parts = decorrelation._distance(*(standardised(own)[:, :3] for own in (a, b)), 1.0)
    assert parts == pytest.approx(0.0104276234)
    assert decorrelation(embeds(a, b), 10.0) == pytest.approx((0.0104276234 + 0.8578391046) / 2)
    u = [sines(number, rows=5, dim=4, unit=False) for number in range(1, 5)]
    whole = build_regularizer("decorrelation", common=0.5)
    views = [whole._distance(standardised(u[k]), standardised(u[k + 1]), 1.0) for k in (0, 2)]
    assert views == [pytest.approx(0.689038, abs=1e-6), pytest.approx(1.708029, abs=1e-6)]
    z = embeds(u[0], u[2], augmented={"m0": u[1], "m1": u[3]})
    assert whole(z, 10.0) == pytest.approx(1.471220, abs=1e-6)


def test_orthogonality():
    """The published value is the sum of six terms."""
    f, g, a, b, c, d = map(sines, range(1, 7))
    z = embeds(f, g, independent={"m0": a, "m1": c}, independent_augmented={"m0": b, "m1": d})
    z.augmented, z.fused, z.fused_augmented = {"m0": f, "m1": g}, f, g
    value = build_regularizer("orthogonality", shared="fused", augmented=True)(z, 10.0)
    assert 6 * value == pytest.approx(1.904848, abs=1e-6)
    z.fused = None
    with pytest.raises(ValueError, match="orthogonality needs fused"):
        build_regularizer("orthogonality", shared="fused")(z, 10.0)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("uniformity", {"t": 0}, "uniformity.t=0: write a number above 0"),
        ("decorrelation", {"common": 0.0}, "decorrelation.common=0.0: write a number above 0, at most 1"),
        ("orthogonality", {"shared": "joint"}, "orthogonality.shared='joint'"),
    ],
)
def test_mistakes_are_told(name, options, words):
    with pytest.raises(ValueError, match=words):
        build_regularizer(name, **options)
