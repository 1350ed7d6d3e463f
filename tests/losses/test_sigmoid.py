"""The sigmoid loss against loops in float64, and values of its official code."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent import LatentCLIPConfig, LatentCLIPModel
from hf_latent.losses import loss_tile_size
from hf_latent.losses.sigmoid import sigmoid_loss
from tests.losses.golden import golden
from tests.models.small import small_clip, small_pairs


def test_golden_values():
    a, b, c = map(golden, range(3))
    assert a[0, 0] == pytest.approx(0.1656278739) and c[0, 0] == pytest.approx(0.0980336166)
    assert sigmoid_loss(a, b, 10.0, -10.0) == pytest.approx(1.9076246212)
    assert sigmoid_loss(a, b, 10.0, -10.0, rows=slice(0, 2)) == pytest.approx(1.5434385085)
    assert sigmoid_loss(a, b, 10.0, -10.0, ids=torch.tensor([0, 0, 1, 2])) == pytest.approx(6.1238129390)
    pairs = [sigmoid_loss(*pair, 10.0, -10.0) for pair in ((a, b), (a, c), (b, c))]
    assert sum(pairs) / 3 == pytest.approx(1.7826888233)


@pytest.mark.parametrize("tile", [1, 3, 100])
@pytest.mark.parametrize("rows", [None, slice(2, 5)])
def test_tiles_have_the_gradient_of_the_whole(tile, rows):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()  # noqa: E731
    a, b, scale, bias, ids = draw(7, 4), draw(7, 4), draw(1), draw(1), torch.tensor([0, 1, 1, 2, 0, 3, 3])
    logits = (scale * a @ b.T + bias)[slice(None) if rows is None else rows]
    right = (ids[:, None] == ids)[slice(None) if rows is None else rows].double()
    expected = F.binary_cross_entropy_with_logits(logits, right, reduction="none").sum(1).mean()
    with loss_tile_size(tile):
        found = sigmoid_loss(a, b, scale, bias, rows=rows, ids=ids)
        gradients = torch.autograd.grad(found, (a, b, scale, bias))
    torch.testing.assert_close(found, expected)
    for own, wanted in zip(gradients, torch.autograd.grad(expected, (a, b, scale, bias)), strict=True):
        torch.testing.assert_close(own, wanted)


def test_large_logits_are_finite():
    rows = torch.full((3, 2), 0.7, requires_grad=True)
    loss = sigmoid_loss(rows, rows, torch.tensor(1e4), 0.0)
    loss.backward()
    assert loss.isfinite() and rows.grad.isfinite().all()


def test_the_bias_is_trained_saved_and_loaded(tmp_path):
    model = small_clip(objective="sigmoid", objective_options={"bias": -3.0})
    assert model.objective_modules["bias"].weight == -3
    model(**small_pairs()).loss.backward()
    assert model.objective_modules["bias"].weight.grad.abs() > 0
    with torch.no_grad():
        model.objective_modules["bias"].weight.fill_(-2.5)
    model.save_pretrained(tmp_path)
    assert LatentCLIPModel.from_pretrained(tmp_path).objective_modules["bias"].weight == -2.5
    fixed = small_clip(objective="sigmoid", objective_options={"learn_bias": False})
    fixed.save_pretrained(tmp_path / "fixed")
    assert not LatentCLIPModel.from_pretrained(tmp_path / "fixed").objective_modules["bias"].weight.requires_grad
    plain = LatentCLIPModel.from_pretrained(tmp_path, objective="clip", objective_options={})
    assert not len(plain.objective_modules)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective_options": {"bais": 1.0}}, "objective_options.bais: .*no such option; did you mean 'bias'"),
        ({"objective_options": {"bias": "low"}}, "objective_options.bias='low': write a number, such as -10.0"),
        ({"objective_options": [1]}, "objective_options=.1.: write the options by their names"),
        ({"in_modal": True}, "in_modal: the objective sigmoid contrasts pairs of modalities alone"),
        ({"objective": "sigmod"}, "did you mean 'sigmoid'"),
        ({"objective": "clip", "objective_options": {"bias": 1.0}}, "the objective 'clip' has no such option"),
    ],
)
def test_mistakes_are_told(options, words):
    config = {"modalities": small_clip().config.modalities, "objective": "sigmoid", "projection_dim": 8, **options}
    with pytest.raises(ValueError, match=words):
        _ = LatentCLIPModel(LatentCLIPConfig(**config)).objective
