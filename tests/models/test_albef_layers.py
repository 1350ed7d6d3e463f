"""The fusion of LatentALBEF makes only what is read, and what it makes is the same."""

import pytest
import torch
from accelerate.utils import send_to_device
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from hf_latent import LatentALBEF, LatentALBEFForImageTextRetrieval
from hf_latent.models.albef_layers import TokensRead
from tests.models.small import small_albef

LENGTHS = [5, 3, 4, 1, 5, 2]  # real tokens of each text
READ = torch.tensor([[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0] * 5, [1, 0, 0, 0, 0], [1] * 5, [0, 1, 0, 0, 0]]).bool()


def whole_texts_alone(module, query, key, value, attention_mask, **options):
    """Attention as flash attention has it: a mask of two dimensions, for as many queries as keys."""
    if attention_mask is not None:
        assert attention_mask.ndim == 2 and query.shape[2] == key.shape[2]
        attention_mask = attention_mask[:, None, None].bool()
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


AttentionInterface.register("whole_texts_alone", whole_texts_alone)
AttentionMaskInterface.register("whole_texts_alone", lambda *_, attention_mask=None, **__: attention_mask)


@pytest.mark.parametrize("attention", ["eager", "sdpa", "whole_texts_alone"])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("wanted", ["some", "first", "none"])
def test_the_tokens_that_are_read_are_those_of_all(attention, padded, wanted):
    model = small_albef(cls=LatentALBEF, fusion_layers=2).eval()
    model.fusion.config._attn_implementation = attention
    torch.manual_seed(0)
    text, image = (
        torch.randn(rows, tokens, 16, dtype=torch.float64).requires_grad_() for rows, tokens in ((6, 5), (2, 4))
    )
    mask = torch.arange(5) < torch.tensor(LENGTHS)[:, None] if padded else None
    images = torch.tensor([0, 0, 1, 1, 1, 0])
    places = {"some": READ, "first": torch.arange(5).expand(6, 5) == 0, "none": torch.zeros_like(READ)}[wanted]
    read = TokensRead.first(6, text.device) if wanted == "first" else TokensRead.where(places)
    found = model.fusion(text, image, mask, images, read)
    expected = model.fusion(text, image, mask, images)[places]
    assert found.shape == (places.sum(), 16)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = [text, image, *model.fusion.layer.parameters()]
    direction = torch.randn_like(expected)
    one, other = (torch.autograd.grad((out * direction).sum(), weights) for out in (found, expected))
    for mine, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_last_layer_makes_nothing_else(monkeypatch):
    model = small_albef(cls=LatentALBEF, fusion_layers=2).eval()
    shapes = []
    for layer in model.fusion.layer:
        layer.intermediate.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    text, image = (torch.randn(6, tokens, 16, dtype=torch.float64) for tokens in (5, 4))
    model.fusion(text, image, read=TokensRead.where(READ))
    assert shapes == [*[(6, 5, 16)] * (len(model.fusion.layer) - 1), (int(READ.sum()), 16)]


def test_tokens_are_found_as_nonzero_finds_them():
    draw = torch.Generator().manual_seed(0)
    for share in (0.0, 0.15, 0.5, 1.0):
        mask = torch.rand(7, 9, generator=draw) < share
        read = TokensRead.where(mask)
        assert torch.equal(torch.stack([read.rows, read.places], 1), mask.nonzero())
        assert torch.equal(read.turns, mask.cumsum(1)[mask] - 1)
        assert read.most == max(mask.sum(1).max(), 1)


def test_tokens_of_batches_are_joined():
    parts = [TokensRead.where(READ[:2]), TokensRead.first(1, READ.device), TokensRead.where(READ[3:])]
    joined = TokensRead.join(parts)
    expected = READ.clone()
    expected[2, 0] = True
    assert torch.equal(torch.stack([joined.rows, joined.places], 1), expected.nonzero())
    texts = torch.randn(6, 5, 3)
    own = joined.of(texts)
    assert torch.equal(own, texts[expected]) and len(joined) == len(own)
    rows = joined.side_by_side(own)
    assert rows.shape == (6, 5, 3) and torch.equal(joined.one_by_one(rows), own)
    for row, text, read in zip(rows, texts, expected, strict=True):
        assert torch.equal(row[: read.sum()], text[read]) and not row[read.sum() :].any()


def test_what_is_read_moves_with_its_layer():
    """As accelerate does it, where layers lie on several devices."""
    moved = send_to_device({"read": TokensRead.where(READ)}, "meta")["read"]
    assert {part.device.type for part in (moved.rows, moved.places, moved.turns)} == {"meta"}
    assert (moved.batch, moved.most) == (6, 5)


def test_matching_is_exported_and_one_image_meets_several_texts():
    model = small_albef(cls=LatentALBEFForImageTextRetrieval, fusion_layers=2).eval()
    torch.manual_seed(0)
    image, text = (torch.randn(rows, tokens, 16, dtype=torch.float64) for rows, tokens in ((1, 4), (3, 5)))

    class Matching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, image, text):
            return self.model.match(image, text)

    several = model.match(image.expand(3, -1, -1), text)
    torch.testing.assert_close(model.match(image, text), several)
    torch.testing.assert_close(torch.export.export(Matching(), (image, text)).module()(image, text), several)
