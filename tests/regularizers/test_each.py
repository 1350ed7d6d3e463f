"""What holds for one regularizer alone: values of the papers, identities, limits."""

import pytest
import torch

from hf_latent.losses import one_way_info_nce
from hf_latent.regularizers import build_regularizer
from hf_latent.regularizers.information_bottleneck import gaussian_kl
from tests.regularizers.reference import LargestTensor, flat, raw, scored


def test_the_bridge_is_a_fraction_of_inner_products():
    z, t = scored(raw()), 0.25
    image, text, second = z.embeds["image"], z.embeds["text"], z.augmented["image"]
    above = t * (image * second).sum(1) + (1 - t) * (text * second).sum(1)
    below = t**2 + (1 - t) ** 2 + 2 * t * (1 - t) * (image * text).sum(1)
    torch.testing.assert_close(build_regularizer("brownian_bridge")(z, 1.0), (2 - 2 * above / below.sqrt()).mean())


def test_the_bridge_moves_all_three():
    leaves = raw()
    build_regularizer("brownian_bridge")(scored(leaves), 1.0).backward()
    assert leaves["embeds"]["image"].grad.any() and leaves["embeds"]["text"].grad.any()
    assert leaves["augmented"]["image"].grad.any() and leaves["augmented"]["text"].grad is None


def test_the_bridge_names_the_modality_that_is_absent():
    bridge = build_regularizer("brownian_bridge")
    with pytest.raises(ValueError, match=r"bridged=\['image'\]: no modality 'image'; did you mean 'image2'\?"):
        bridge.check_modalities(["image2", "text"])
    build_regularizer("brownian_bridge", bridged=("image1", "image2")).check_modalities(["image1", "image2"])


def test_geometric_consistency_makes_no_matrix_of_all_pairs():
    leaves = raw(3, rows=200, dim=8)
    z = scored(leaves)
    with LargestTensor() as largest:
        build_regularizer("geometric_consistency")(z, 1.0).backward()
    assert largest.elements <= 200 * 8


def test_one_geometry_costs_nothing():
    z = scored(raw(rows=12, dim=6))
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    z.embeds["text"] = z.embeds["image"]
    z.augmented = {name: value @ turn for name, value in z.embeds.items()}
    assert abs(build_regularizer("geometric_consistency")(z, 1.0)) < 1e-12
    z.embeds["text"] = z.embeds["image"] @ turn
    assert build_regularizer("geometric_consistency", augmented=False)(z, 1.0) > 0.1


def test_rows_of_one_id_are_neither_negatives_nor_positives():
    leaves = raw()
    contrast = build_regularizer("feature_separation", orthogonality=0, uniformity=0)
    same = torch.zeros(5, dtype=torch.int64)
    assert contrast(scored(leaves, same), 10.0) == 0
    distinct = contrast(scored(leaves, torch.arange(5)), 10.0)
    assert distinct > 0 and torch.equal(distinct, contrast(scored(leaves), 10.0))


def test_alignment_is_bounded():
    leaves = raw(rows=3)
    with torch.no_grad():
        leaves["embeds"]["image"].copy_(torch.eye(3, 4))
        leaves["embeds"]["text"].copy_(torch.eye(3, 4).roll(1, dims=0))  # orthogonal to their partners
    value = build_regularizer("alignment", epsilon=0.05)(scored(leaves), 1.0)
    torch.testing.assert_close(value.item(), 20.0)
    value.backward()
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in flat(leaves))
    z = scored(leaves)
    z.embeds["text"] = z.embeds["image"]
    torch.testing.assert_close(build_regularizer("alignment")(z, 1.0).item(), 1.0)


@pytest.fixture
def golden():
    """The embeddings of the values that are known by heart; `spec/ib2025.md`, section 4."""
    i = torch.arange(6, dtype=torch.float64)
    first = torch.stack([i.cos(), i.sin(), (2 * i).cos()], dim=1)
    second = torch.stack([(1.1 * i).cos(), (i + 0.2).sin(), (2 * i).cos()], dim=1)
    leaves = raw(rows=6, dim=3)
    leaves["embeds"] = {"image": first, "text": second}
    return leaves


def test_golden_values(golden):
    z, (first, second) = scored(golden), golden["embeds"].values()
    rounded = {"rtol": 0, "atol": 5e-7}
    torch.testing.assert_close(build_regularizer("information_bottleneck")(z, 1.0).item(), 0.051740, **rounded)
    cosine = build_regularizer("information_bottleneck", mode="cosine")
    torch.testing.assert_close(cosine(z, 1.0).item(), 0.025870, **rounded)
    kl = gaussian_kl(first, first.tanh(), second, second.tanh())
    torch.testing.assert_close(kl.item(), 0.0481533, rtol=0, atol=5e-8)
    for temperature, value in ((0.07, 0.008258), (0.5, 0.536506)):
        loss = one_way_info_nce(z.embeds["image"], z.embeds["text"], 1 / temperature)
        torch.testing.assert_close(loss.item(), value, **rounded)


def test_a_weight_of_the_cosine_is_a_lower_temperature_of_the_positive():
    z, beta, scale = scored(raw()), 0.7, 5.0
    image, text = z.embeds["image"], z.embeds["text"]
    term = build_regularizer("information_bottleneck", mode="cosine")(z, scale)
    positive = (image * text).sum(1)
    sharper = ((scale * image @ text.T).logsumexp(1) - (scale + beta) * positive).mean()
    torch.testing.assert_close(one_way_info_nce(image, text, scale) + beta * term, sharper + beta)


def test_relative_weight_follows_the_temperature_without_pulling_it():
    z = scored(raw())
    scale = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    relative = build_regularizer("information_bottleneck", relative=True)(z, scale)
    torch.testing.assert_close(relative, 4 * build_regularizer("information_bottleneck")(z, scale))
    relative.backward()
    assert scale.grad is None


@pytest.mark.parametrize("modalities", [2, 3])
def test_one_vs_all_is_the_pairwise_value_scaled(modalities):
    z = scored(raw(modalities))
    values = [build_regularizer("information_bottleneck", pairs=form)(z, 1.0) for form in ("one_vs_all", "pairwise")]
    torch.testing.assert_close(values[0], values[1] * modalities / (2 * (modalities - 1)))


def test_kl_with_unit_variances_is_the_cosine_and_its_variances_are_bounded():
    z = scored(raw())
    kl = build_regularizer("information_bottleneck", mode="kl")
    z.log_variance = {name: torch.zeros_like(value) for name, value in z.embeds.items()}
    torch.testing.assert_close(kl(z, 1.0), build_regularizer("information_bottleneck", mode="cosine")(z, 1.0))
    z.log_variance = {"image": 1e3 * torch.ones(5, 4), "text": -1e3 * torch.ones(5, 4)}
    assert kl(z, 1.0) < 30
