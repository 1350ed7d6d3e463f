"""Objectives with regularizers: weights, schedules, what is computed, and that each one moves what it should."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from hf_latent import build_objective
from hf_latent.metrics import cka
from hf_latent.objectives import CLIPObjective, RegularizedObjective
from hf_latent.objectives.regularized import read_regularizers
from tests.models.small import small_batch, small_clip, small_model, small_pairs

REGULARIZERS = {
    "feature_separation": {},
    "brownian_bridge": {},
    "geometric_consistency": {},
    "information_bottleneck": {"mode": "kl"},
    "alignment": {},
}


def two_views(rows=6, dtype=torch.float64):
    first, second = small_pairs(rows, seed=1, dtype=dtype), small_pairs(rows, seed=2, dtype=dtype)
    second["input_ids"], second["attention_mask"] = first["input_ids"], first["attention_mask"]
    return {**first, **{f"augmented_{key}": value for key, value in second.items()}}


def scored(model, batch):
    return model.score(model(**batch, return_loss=False))


def test_in_modal_is_the_quarter_of_four_directions():
    model, batch = small_clip(in_modal=True, temperature=0.2), two_views()
    z = scored(model, batch)
    own = torch.arange(6)

    def direction(anchors, columns):
        return F.cross_entropy(model.scale * anchors @ columns.T, own)

    image, text = z.embeds["image"], z.embeds["text"]
    views = direction(image, z.augmented["image"]) + direction(text, z.augmented["text"])
    expected = (direction(image, text) + direction(text, image) + views) / 4
    torch.testing.assert_close(model(**batch).loss, expected)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    weights = dict(zip(REGULARIZERS, (0.5, 2.0, 0.1, 0.3, 0.01), strict=True))
    specs = {name: {"weight": weights[name], **options} for name, options in REGULARIZERS.items()}
    with pytest.warns(UserWarning, match="learn_temperature: false"):
        model = small_clip(regularizers=specs)
        objective = model.objective
    assert isinstance(objective, RegularizedObjective)
    loss, terms = objective(scored(model, two_views()), model.scale)
    expected = terms["contrastive"] + sum(weights[name] * terms[name] for name in specs)
    torch.testing.assert_close(loss.detach(), expected)


def test_weight_0_is_bitwise_the_baseline():
    batch = two_views()
    plain, zero = small_clip(), small_clip(regularizers={name: {"weight": 0} for name in REGULARIZERS})
    assert type(zero.objective) is CLIPObjective
    assert plain.state_dict().keys() == zero.state_dict().keys()
    losses = [model(**batch).loss for model in (plain, zero)]
    assert torch.equal(*losses)
    gradients = [
        torch.autograd.grad(loss, list(m.parameters())) for loss, m in zip(losses, (plain, zero), strict=True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_schedules_start_and_ramp():
    weighted = read_regularizers({"alignment": {"weight": 2.0, "start": 0.25, "ramp": 0.5}})["alignment"]
    assert [weighted.weight_at(p) for p in (0.0, 0.2, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]
    steady = read_regularizers({"alignment": {"weight": 2.0, "start": 0.25}})["alignment"]
    assert [steady.weight_at(p) for p in (0.2, 0.25, 1.0)] == [0.0, 2.0, 2.0]
    with pytest.raises(ValueError, match="ramp=2: write a number from 0 to 1"):
        read_regularizers({"alignment": {"ramp": 2}})


@pytest.mark.parametrize(
    ("specs", "views"),
    [
        ({}, set()),
        ({"information_bottleneck": {}}, set()),
        ({"geometric_consistency": {"augmented": False}}, set()),
        ({"brownian_bridge": {}}, {"image"}),
        ({"geometric_consistency": {}, "brownian_bridge": {}}, {"image", "text"}),
    ],
)
def test_only_the_second_views_that_are_read_are_asked_for(specs, views):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        objective = build_objective(small_clip(regularizers=specs).config)
    assert objective.second_views(["image", "text"]) == views
    assert ("augmented" in objective.requires) == bool(views)


def test_a_missing_view_or_modality_is_named():
    with pytest.raises(ValueError, match="give the model a second view"):
        small_clip(regularizers={"brownian_bridge": {}})(**small_pairs(), return_loss=True)
    with pytest.raises(ValueError, match="brownian_bridge"):
        _ = small_clip(regularizers={"brownian_bridge": {"bridged": ["imag"]}}).objective


def test_they_act_on_the_single_modalities_of_comm():
    specs = {"feature_separation": {"weight": 0.5}, "geometric_consistency": {"weight": 0.1}}
    model = small_model(regularizers=specs)
    first, second = small_batch(seed=1), small_batch(seed=2)
    z = model.score(model(first, second, return_loss=False))
    assert set(z.independent) == set(z.independent_augmented) == {"image", "series"}
    loss, terms = model.objective(z, model.scale)
    contrastive = [value for name, value in terms.items() if name not in specs]
    expected = sum(contrastive) / 3 + 0.5 * terms["feature_separation"] + 0.1 * terms["geometric_consistency"]
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert all(p.grad is not None for p in model.extra_heads.parameters())


def measured(name, z):
    """What a regularizer is to make smaller."""
    if name == "feature_separation":
        return sum((z.embeds[m] * z.independent[m]).sum(-1).abs().mean() for m in z.embeds)
    if name == "brownian_bridge":
        mean = F.normalize(0.25 * z.embeds["image"] + 0.75 * z.embeds["text"], dim=-1)
        return (z.augmented["image"] - mean).norm(dim=-1).mean()
    image, text = z.embeds["image"], z.embeds["text"]
    if name == "information_bottleneck":
        return torch.tensor(1 - cka(image, text))
    if name == "geometric_consistency":
        return (image @ image.T - text @ text.T).square().mean() + (image @ text.T - text @ image.T).square().mean()
    return (image - text).norm(dim=-1).mean()


@pytest.mark.parametrize("name", REGULARIZERS)
def test_each_moves_what_it_is_for_in_training(name):
    """Against the same training without it, after the same steps."""
    batch, found = two_views(rows=12), {}
    for weight in (0.0, 1.0):
        model = small_clip(in_modal=True, learn_temperature=False, extra_heads=["independent"])
        # A large weight of the bottleneck, or 12 pairs are all but aligned without it.
        model.config.regularizers = {name: {"weight": weight * (10 if name == "information_bottleneck" else 1)}}
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(40):
            optimizer.zero_grad()
            model(**batch, return_loss=True).loss.backward()
            optimizer.step()
        found[weight] = measured(name, scored(model, batch)).item()
    assert found[1.0] < 0.9 * found[0.0], found
