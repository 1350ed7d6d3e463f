"""The checkpoints of the official ALBEF code, read as a config and weights of LatentALBEF."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HEAD_WIDTH = 64  # of attention, in every ViT and BERT that ALBEF was published with; a checkpoint does not tell
# Patterns of official names, and what they are here. `_m` marks the momentum copy.
_ATTENTION = r"(self\.(?:query|key|value)|output\.(?:dense|LayerNorm))\.(weight|bias)"
_NAMES = {
    r"visual_encoder\.cls_token": "encoders.image.model.embeddings.cls_token",
    r"visual_encoder\.pos_embed": "encoders.image.model.embeddings.position_embeddings",
    r"visual_encoder\.patch_embed\.proj\.(\w+)": r"encoders.image.model.embeddings.patch_embeddings.projection.\1",
    r"visual_encoder\.blocks\.(\d+)\.norm1\.(\w+)": r"encoders.image.model.layers.\1.layernorm_before.\2",
    r"visual_encoder\.blocks\.(\d+)\.norm2\.(\w+)": r"encoders.image.model.layers.\1.layernorm_after.\2",
    r"visual_encoder\.blocks\.(\d+)\.attn\.(\w)_proj\.(\w+)": r"encoders.image.model.layers.\1.attention.\2_proj.\3",
    r"visual_encoder\.blocks\.(\d+)\.mlp\.(fc[12])\.(\w+)": r"encoders.image.model.layers.\1.mlp.\2.\3",
    r"visual_encoder\.norm\.(\w+)": r"encoders.image.model.layernorm.\1",
    r"text_encoder\.embeddings\.((?:word|position|token_type)_embeddings|LayerNorm)\.(\w+)": (
        r"encoders.text.model.embeddings.\1.\2"
    ),
    rf"text_encoder\.text\.(\d+)\.attention\.{_ATTENTION}": r"encoders.text.model.encoder.layer.\1.attention.\2.\3",
    r"text_encoder\.text\.(\d+)\.(intermediate|output)\.(dense|LayerNorm)\.(\w+)": (
        r"encoders.text.model.encoder.layer.\1.\2.\3.\4"
    ),
    rf"text_encoder\.fusion\.(\d+)\.(attention|crossattention)\.{_ATTENTION}": r"fusion.layer.\1.\2.\3.\4",
    r"text_encoder\.fusion\.(\d+)\.(intermediate|output)\.(dense|LayerNorm)\.(\w+)": r"fusion.layer.\1.\2.\3.\4",
    r"text_encoder\.cls\.predictions\.bias": "mlm_head.bias",
    r"text_encoder\.cls\.predictions\.transform\.(dense|LayerNorm)\.(\w+)": r"mlm_head.\1.\2",
    r"vision_proj\.(\w+)": r"projections.image.\1",
    r"text_proj\.(\w+)": r"projections.text.\1",
    r"itm_head\.(\w+)": r"itm_head.\1",
}
# What is said twice: positions that are 0, 1, 2 ..., and the decoder, which is the word embeddings.
_REPEATED = re.compile(
    r"text_encoder(_m)?\.(bert\.)?embeddings\.position_ids|text_encoder(_m)?\.cls\.predictions\.decoder\.(weight|bias)"
)


def read_official(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The options of a `LatentALBEFConfig` and the weights of a `LatentALBEFForPreTraining`, from a `.pth`.

    Checkpoints of pre-training and of retrieval are read, with momentum copy and queue. Nothing in the file is run
    (`weights_only=True`).

    Raises:
        ValueError: If the file is no such checkpoint, or holds a weight that has no place here.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
    official = found.get("model", found) if isinstance(found, Mapping) else found
    if not isinstance(official, Mapping) or "visual_encoder.pos_embed" not in official:
        raise ValueError(f"{path} is no ALBEF checkpoint: it has no visual_encoder.pos_embed")
    official = dict(official)
    fusion = {int(m[1]) for m in (re.search(r"layer\.(\d+)\.crossattention", name) for name in official) if m}
    if not fusion:
        raise ValueError(f"{path} is no ALBEF checkpoint: none of its layers has a crossattention")
    first = min(fusion)
    weights, strange = {}, []
    for name, tensor in official.items():
        placed = _place(name, tensor, first)
        strange += [] if placed is not None else [name]
        weights.update(placed or {})
    if strange:
        raise ValueError(
            f"{path}: {len(strange)} weights have no place in LatentALBEF, as {strange[0]}: give a checkpoint of "
            "pre-training or of retrieval"
        )
    if "momentum.logit_scale.weight" not in weights and any(name.startswith("momentum.") for name in weights):
        weights["momentum.logit_scale.weight"] = weights["logit_scale.weight"]
    return _options(weights, first), weights


def _place(name: str, tensor: Tensor, first_fusion: int) -> dict[str, Tensor] | None:
    """Our names and tensors for one official tensor; None if there is no place for it."""
    if _REPEATED.fullmatch(name):
        return {}
    if name == "temp":
        return {"logit_scale.weight": -tensor.log().reshape(())}
    if name in ("image_queue", "text_queue"):
        return {f"feature_queue.{name.removesuffix('_queue')}_features": tensor.T.contiguous()}
    if name == "idx_queue":
        return {"feature_queue.ids": tensor.reshape(-1).long()}
    if name == "queue_ptr":
        return {"feature_queue.count": tensor.reshape(()).long()}
    prefix = ""
    if re.match(r"\w+_m\.", name):
        prefix, name = "momentum.", name.replace("_m.", ".", 1)
    if fused := re.fullmatch(r"(visual_encoder\.blocks\.\d+\.attn)\.(qkv|proj)\.(weight|bias)", name):
        letters, parts = ("qkv", tensor.chunk(3)) if fused[2] == "qkv" else ("o", (tensor,))
        named = {f"{fused[1]}.{a}_proj.{fused[3]}": part.clone() for a, part in zip(letters, parts, strict=True)}
    else:
        named = {_by_part(name, first_fusion): tensor}
    placed = {}
    for official, part in named.items():
        match = next((match for theirs in _NAMES if (match := re.fullmatch(theirs, official))), None)
        if match is None:
            return None
        placed[prefix + match.expand(_NAMES[match.re.pattern])] = part
    return placed


def _by_part(name: str, first_fusion: int) -> str:
    """`text_encoder.[bert.]encoder.layer.7` -> `text_encoder.fusion.1`, and without `bert` in any case."""
    name = name.replace("text_encoder.bert.", "text_encoder.", 1)

    def numbered(match: re.Match[str]) -> str:
        layer = int(match[1])
        return (
            f"text_encoder.fusion.{layer - first_fusion}." if layer >= first_fusion else f"text_encoder.text.{layer}."
        )

    return re.sub(r"^text_encoder\.encoder\.layer\.(\d+)\.", numbered, name)


def _options(weights: dict[str, Tensor], text_layers: int) -> dict[str, Any]:
    """The config, as far as shapes tell it; and what follows from it in the weights."""
    image, text = "encoders.image.model.", "encoders.text.model."
    patch = weights[f"{image}embeddings.patch_embeddings.projection.weight"]
    places = weights[f"{image}embeddings.position_embeddings"].shape[1] - 1
    words = weights[f"{text}embeddings.word_embeddings.weight"]

    def layers(prefix: str) -> int:
        return 1 + max(int(name[len(prefix) :].split(".")[0]) for name in weights if name.startswith(prefix))

    def transformer(width: int, intermediate: str) -> dict[str, int]:
        heads = max(1, width // HEAD_WIDTH)
        return {
            "hidden_size": width,
            "num_attention_heads": heads,
            "intermediate_size": len(weights[intermediate]),
        }

    vit = {
        **{"model_type": "vit", "image_size": math.isqrt(places) * patch.shape[-1], "patch_size": patch.shape[-1]},
        **{"layer_norm_eps": 1e-6, "num_hidden_layers": layers(f"{image}layers.")},
        **transformer(patch.shape[0], f"{image}layers.0.mlp.fc1.weight"),
    }
    fusion_layers = layers("fusion.layer.")
    bert = {
        **{"model_type": "bert", "vocab_size": len(words), "num_hidden_layers": text_layers + fusion_layers},
        "max_position_embeddings": len(weights[f"{text}embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(weights[f"{text}embeddings.token_type_embeddings.weight"]),
        **transformer(words.shape[1], f"{text}encoder.layer.0.intermediate.dense.weight"),
    }
    queue = weights.get("feature_queue.image_features")
    size = 0 if queue is None else len(queue)
    if size:
        # A trained queue is full; it goes on where it stood.
        weights["feature_queue.count"] = weights["feature_queue.count"] + size
        weights.setdefault("feature_queue.ids", torch.full((size,), -1))
    return {
        "modalities": {"image": {"encoder": "auto", "config": vit}, "text": {"encoder": "auto", "config": bert}},
        "fusion_layers": fusion_layers,
        "projection_dim": len(weights["projections.image.weight"]),
        "queue_size": size,
        "itm_weight": 1.0 if "itm_head.weight" in weights else 0.0,
        "mlm_weight": 1.0 if "mlm_head.bias" in weights else 0.0,
        "alpha_ramp": 0.0,  # the momentum copy has learned already
    }
