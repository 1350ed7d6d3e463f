"""What some models can do beside embedding rows: read sentences, tell pairs, and say where they look."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.loaded import Regions, Split
from ..models.image_text import SharedSpacePreTrainedModel
from ..models.modeling_latent_albef import LatentALBEFForImageTextRetrieval

BATCH = 256
MAPS_BATCH = 128


def abilities_of(model: Any) -> frozenset[str]:
    """The abilities of a model, as `Encode` names them."""
    found = set()
    if isinstance(model, SharedSpacePreTrainedModel) and list(model.kinds.values()).count("text") == 1:
        found.add("texts")
    if isinstance(model, LatentALBEFForImageTextRetrieval) and model.config.itm_weight:
        found |= {"rerank", "maps"}
    if getattr(model, "task", None) is not None:
        found.add("answer")
        if model.supports_missing and len(model.encoders) > 1:
            found.add("alone")
    return frozenset(found)


@torch.no_grad()
def embed_texts(
    model: SharedSpacePreTrainedModel, processor: Any, sentences: Sequence[str], batch_size: int = BATCH
) -> Tensor:
    """`(sentences, projection_dim)` on the CPU, in evaluation mode, by the only text tower."""
    model.eval()
    rows, text = [], model.only("text")
    for start in range(0, len(sentences), batch_size):
        tokens = processor.stack(text, list(sentences[start : start + batch_size]))
        rows.append(model.get_features(text, **{k: v.to(model.device) for k, v in tokens.items()}).float().cpu())
    return torch.cat(rows) if rows else torch.empty(0, model.config.projection_dim)


@torch.no_grad()
def rerank(
    model: LatentALBEFForImageTextRetrieval,
    processor: Any,
    split: Split,
    columns: Mapping[str, str],
    embeds: Mapping[str, Tensor],
    candidates: int,
    batch_size: int = BATCH,
) -> tuple[Tensor, Tensor]:
    """The nearest candidates of each query, ordered anew by matching.

    The tokens of all images and texts are held at once, on the CPU.

    Args:
        split, columns: The rows, whose distinct images and texts are compared.
        embeds: Of all rows, by modality.
        candidates: How many of a query are ordered anew.

    Returns:
        `(images, texts)` and `(texts, images)` scores.
    """
    model.eval()
    rows: Any = split.rows
    images, texts = split.distinct("image"), split.distinct("text")
    words = processor.stack("text", [rows[int(i)][columns["text"]] for i in texts])
    text_tokens, image_tokens = [], []
    for part in zip(*(column.split(batch_size) for column in words.values()), strict=True):
        inputs = {name: column.to(model.device) for name, column in zip(words, part, strict=True)}
        text_tokens.append(model.encoders["text"](**inputs).tokens.cpu())
    for start in range(0, len(images), batch_size):
        pictures = [rows[int(i)][columns["image"]] for i in images[start : start + batch_size]]
        pixels = processor(images=pictures)["pixel_values"].to(model.device)
        image_tokens.append(model.fusion.image_tokens(model.encoders["image"](pixel_values=pixels)).cpu())
    tokens = torch.cat(image_tokens), torch.cat(text_tokens), words["attention_mask"]
    image_embeds, text_embeds = embeds["image"][images].float(), embeds["text"][texts].float()
    similarity = F.normalize(image_embeds, dim=-1) @ F.normalize(text_embeds, dim=-1).T
    by_image, by_text = (model.rerank(similarity, *tokens, k=candidates, by_text=way) for way in (False, True))
    return by_image, by_text


def phrase_maps(model: LatentALBEFForImageTextRetrieval, processor: Any, regions: Regions) -> np.ndarray:
    """`(phrases, rows, columns)`: the map of each phrase in its picture; see `grounding_maps`."""
    words = processor.stack("text", [regions.template.format(phrase) for phrase in regions.phrases])
    found: list[Tensor] = []
    for rows in torch.arange(len(regions.phrases)).split(MAPS_BATCH):
        pictures = [regions.images[number] for number in regions.pictures[rows.numpy()]]
        inputs = {**processor(images=pictures), **{name: column[rows] for name, column in words.items()}}
        inputs = {name: column.to(model.device) for name, column in inputs.items()}
        found.append(model.grounding_maps(**inputs).cpu())
    return torch.cat(found).numpy()
