"""Position embeddings for pictures of another size than a tower was trained on: interpolated once, and stored."""

import copy
from collections.abc import Callable
from typing import Any

import torch


@torch.no_grad()
def at_image_size(tower: Any, size: int, build: Callable[[Any], Any]) -> Any:
    """A tower with the weights of another one for square pictures of `size` pixels.

    Its position embeddings are what `interpolate_pos_encoding` of the tower itself gives for such pictures.

    Args:
        tower: An image model of transformers for square pictures of `tower.config.image_size` pixels.
        size: In pixels.
        build: Makes such a model, with any weights, of a config.

    Returns:
        The new tower; None where positions of this kind of tower cannot be interpolated, or it has none.
    """
    found = [(path, m) for path, m in tower.named_modules() if hasattr(m, "interpolate_pos_encoding")]
    if len(found) != 1:
        return None
    ((path, embeddings),) = found
    config = copy.deepcopy(tower.config)
    config.image_size = size
    resized, weights = build(config), tower.state_dict()
    if getattr(tower, "pooler", None) is None and hasattr(resized, "pooler"):
        resized.pooler = None  # as the encoder has dropped it
    wanted = resized.state_dict()
    if wanted.keys() != weights.keys():
        return None
    changed = [name for name, weight in weights.items() if weight.shape != wanted[name].shape]
    own = (f"{path}.position_embeddings", f"{path}.position_embedding.weight")
    if any(name not in own for name in changed):
        return None  # such as tables of relative positions in each layer
    for name in changed:
        hidden = weights[name].new_zeros(1, *wanted[name].shape[-2:])
        weights[name] = embeddings.interpolate_pos_encoding(hidden, size, size).reshape(wanted[name].shape)
    first = next(tower.parameters())
    resized.to(first.device, first.dtype).load_state_dict(weights)
    for own, other in zip(resized.parameters(), tower.parameters(), strict=True):
        own.requires_grad_(other.requires_grad)
    return resized.train(tower.training)
