"""The encoders that any model of transformers becomes."""

import pytest
import torch
from transformers import CLIPVisionConfig, Dinov2Config, ResNetConfig, SiglipVisionConfig, ViTConfig

from hf_latent.models.encoders import build_encoder

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL_IMAGES = {**SMALL, "image_size": 16, "patch_size": 8}
RESNET = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")


@pytest.mark.parametrize("config", [ViTConfig(**SMALL_IMAGES), CLIPVisionConfig(**SMALL_IMAGES)])
def test_a_class_token_is_read_where_there_is_one(config):
    assert build_encoder({"encoder": "auto", "config": config.to_dict(), "pooling": "cls"}).pooling == "cls"


@pytest.mark.parametrize(
    ("config", "backbone", "what"),
    [
        (RESNET, False, "'resnet' model"),
        (RESNET, True, "'resnet' backbone"),
        (Dinov2Config(**SMALL_IMAGES), True, "'dinov2' backbone"),  # its map leaves the token out
        (SiglipVisionConfig(**SMALL_IMAGES), False, "'siglip_vision_model' model"),
    ],
)
def test_a_class_token_that_is_not_there_is_refused(config, backbone, what):
    spec = {"encoder": "auto", "config": config.to_dict(), "backbone": backbone}
    with pytest.raises(ValueError, match=f"the tokens of a {what} hold no class token; write pooling: mean"):
        build_encoder({**spec, "pooling": "cls"})
    build_encoder({**spec, "pooling": "mean"})


@pytest.mark.parametrize(("depth", "parameters"), [(20, 268_784), (56, 852_080), (110, 1_727_024)])
def test_small_resnets_are_as_large_as_those_of_the_paper(depth, parameters):
    encoder = build_encoder({"encoder": "small_resnet", "depth": depth})
    # The published counts are of one channel of input.
    assert sum(weight.numel() for weight in encoder.parameters()) == parameters + 2 * 9 * 16


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_small_resnets_give_tokens_by_shortcuts_without_parameters(norm):
    torch.manual_seed(0)
    encoder = build_encoder({"encoder": "small_resnet", "depth": 8, "norm": norm}).eval()
    pixels = torch.rand(3, 3, 32, 32)
    output = encoder(pixel_values=pixels)
    assert output.tokens.shape == (3, 64, 64) and output.grid == (8, 8) and output.tokens.min() == 0
    assert torch.allclose(encoder(pixel_values=pixels[:1]).tokens, output.tokens[:1], atol=1e-5)
    block = encoder.layers[4]  # the first of 32 channels
    with torch.no_grad():
        for layer in block.layers:
            if hasattr(layer, "weight"):
                layer.weight.zero_()
    rows = torch.rand(2, 16, 4, 4)
    found = block(rows)
    assert found.shape == (2, 32, 2, 2) and torch.equal(found[:, 8:24], rows[:, :, ::2, ::2])
    assert not found[:, :8].any() and not found[:, 24:].any()


@pytest.mark.parametrize(
    ("options", "words"), [({"depth": 21}, "depth=21: write 8, 14, 20"), ({"norm": "x"}, "norm='x'")]
)
def test_other_small_resnets_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        build_encoder({"encoder": "small_resnet", **options})
