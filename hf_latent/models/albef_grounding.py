"""Where a model looks when it says that a text and an image belong together: Grad-CAM on its cross-attention."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from .albef_layers import CrossAttentionLayer
from .embeddings import full_precision, text_inputs, wide
from .encoders import EncoderOutput


def grounding_maps(
    model: Any,
    pixel_values: Tensor,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    layer: int | None = None,
    tokens: Tensor | None = None,
    each_token: bool = False,
) -> Tensor:
    r"""Grad-CAM of matching on the cross-attention of one fusion layer.

    \[ M_p = \frac{1}{|T|} \sum_{t \in T} \frac{1}{H} \sum_h A^h_{tp} \max(0, \partial s / \partial A^h_{tp}) \]

    A is the attention of text token t to image token p in head h, s the logit that says that text and image belong
    together. The mean is over the real tokens of the text, [CLS] and [SEP] among them, as in the official code of Li
    et al., NeurIPS 2021 (whose mean also counts the padding, a constant factor of a map). Tokens of the image that
    stand for no place of it, such as [CLS], are left out of the map.

    Nothing of the model changes, and it is read in evaluation mode, whatever mode it is in. A row needs no other row.

    Args:
        model: A model with a matching head.
        pixel_values: `(batch, 3, height, width)`.
        input_ids, attention_mask, token_type_ids: `(batch, length)`, text i for image i.
        layer: Which fusion layer, from 0. By default the last one of the first half: the third of the paper's six
            (block 8 of its BERT, counted from 0).
        tokens: `(batch, length)` bool, the tokens to average over, such as those of one phrase of a sentence. Padding
            among them is left out; a row without any has a map of zeros.
        each_token: One map for each token instead of the mean; zeros at padding.

    Returns:
        `(batch, rows, columns)` on the grid of the image tokens, or `(batch, length, rows, columns)`; 0 or more, in
        float32 or wider, without a gradient.

    Raises:
        ValueError: If the model was trained without matching, images and texts are not equally many, the image tokens
            have no grid, or the layer or the shape of `tokens` does not fit.
    """
    if not model.config.itm_weight:
        raise ValueError("this model was trained with itm_weight 0: it cannot tell pairs, and has no maps of that")
    if pixel_values.ndim != 4 or len(pixel_values) != len(input_ids):
        raise ValueError(
            f"a map shows where text i finds itself in image i; here are {len(pixel_values)} images, {len(input_ids)} "
            f"texts: give pixel_values ({len(input_ids)}, 3, height, width), not {tuple(pixel_values.shape)}"
        )
    layers = len(model.fusion.layer)
    place = (layers - 1) // 2 if layer is None else layer
    if not 0 <= place < layers:
        raise ValueError(f"layer={layer}: the fusion has {layers} layers; write 0 to {layers - 1}")
    if tokens is not None and tokens.shape != input_ids.shape:
        raise ValueError(f"tokens are {tuple(tokens.shape)}, but input_ids {tuple(input_ids.shape)}: one bool a token")
    with torch.inference_mode(False), evaluated(model):
        # What inference mode made cannot be part of a graph; a copy can.
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask.clone()
        with torch.no_grad():
            image = model.encoders["image"](pixel_values=pixel_values.clone())
            height, width = token_grid(image, pixel_values, model.encoders["image"])
            text = model.encoders["text"](**text_inputs(input_ids.clone(), real, token_type_ids))
            image_tokens = model.fusion.image_tokens(image)
            mask = create_bidirectional_mask(model.fusion.config, text.tokens, real)
            hidden = text.tokens
            for below in model.fusion.layer[:place]:
                hidden = below(hidden, image_tokens, mask)
            looking: CrossAttentionLayer = model.fusion.layer[place]
            hidden = looking.attention(hidden, mask)[0]
            attention, values = cross_attention(looking, hidden, image_tokens)
        with torch.enable_grad():
            attention = attention.requires_grad_()
            context = (attention.to(values.dtype) @ values).transpose(1, 2).flatten(2)
            hidden = looking.crossattention.output(context, hidden)
            hidden = looking.output(looking.intermediate(hidden), hidden)
            for above in model.fusion.layer[place + 1 :]:
                hidden = above(hidden, image_tokens, mask)
            belongs = wide(model.itm_head(hidden[:, 0]))[:, 1]
            (gradient,) = torch.autograd.grad(belongs.sum(), attention)
        maps = (attention.detach() * gradient.clamp(min=0)).mean(dim=1)[..., -height * width :]
        counted = real.bool() if tokens is None else real.bool() & tokens
        maps = (maps * (real if each_token else counted).unsqueeze(-1)).unflatten(-1, (height, width))
        return maps if each_token else maps.sum(dim=1) / counted.sum(dim=1).clamp(min=1)[:, None, None]


def cross_attention(layer: CrossAttentionLayer, hidden: Tensor, image_tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer attends to, `(batch, heads, length, image tokens)` in float32 or wider, and each head's values.

    Written out, because a fused implementation never holds it.
    """
    part: Any = layer.crossattention.self

    def heads(rows: Tensor) -> Tensor:
        return rows.unflatten(-1, (part.num_attention_heads, -1)).transpose(1, 2)

    query, key = heads(part.query(hidden)), heads(part.key(image_tokens))
    with full_precision(query.device):
        scores = wide(query) @ wide(key).transpose(-1, -2) / math.sqrt(query.shape[-1])
        attention = scores.softmax(dim=-1)
    return attention, heads(part.value(image_tokens))


def token_grid(output: EncoderOutput, pixel_values: Tensor, encoder: nn.Module) -> tuple[int, int]:
    """`(rows, columns)` of the tokens of an image: those of the feature map, or the patches of a transformer.

    Tokens of a transformer that are no patch, such as [CLS], come before the patches.

    Raises:
        ValueError: If the tokens are not laid out as a grid.
    """
    if output.grid is not None:
        return output.grid
    config = getattr(getattr(encoder, "model", None), "config", None)
    patch = getattr(config, "patch_size", None)
    count = 0 if output.tokens is None else output.tokens.shape[1]
    if patch:
        sides = (patch, patch) if isinstance(patch, int) else patch
        rows, columns = (pixels // side for pixels, side in zip(pixel_values.shape[-2:], sides, strict=True))
        if 0 < rows * columns <= count:
            return rows, columns
    raise ValueError(
        f"the {count} tokens of this image encoder are no grid of the picture: maps need a feature map (cnn, resnet) "
        "or the patches of a vision transformer (vit, deit)"
    )


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every module is in its own mode again."""
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
