"""The encoders that any model of transformers becomes."""

import pytest
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
