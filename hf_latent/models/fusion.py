"""The fusions of CoMM: many subsets of the modalities in one pass."""

from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init


class FusionLayer(nn.Module):
    """A pre-norm Transformer block whose queries may be fewer than the tokens that they attend to.

    Args:
        dim: Width of the tokens.
        num_heads: Attention heads; divides `dim`.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)

    def initialize(self, depth: int) -> None:
        """Residual branches shrink with the depth of the transformer; attention has no bias at first."""
        dim = self.output.in_features
        residual = dim**-0.5 * (2 * depth) ** -0.5
        for linear in (self.query, self.key_value):
            init.normal_(linear.weight, std=dim**-0.5)
        for linear in (self.output, self.contract):
            init.normal_(linear.weight, std=residual)
        init.normal_(self.expand.weight, std=(2 * dim) ** -0.5)
        for linear in (self.query, self.key_value, self.output):
            init.zeros_(linear.bias)

    def forward(self, queries: Tensor, tokens: Tensor, visible: Tensor) -> Tensor:
        """
        Args:
            queries: `(batch, queries, dim)`.
            tokens: `(batch, tokens, dim)`, attended to.
            visible: `(batch or 1, queries, tokens)` bool, True where a query sees a token.

        Returns:
            `(batch, queries, dim)`.
        """

        def heads(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        query = heads(self.query(self.attention_norm(queries)))
        key, value = map(heads, self.key_value(self.attention_norm(tokens)).chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible.unsqueeze(1))
        hidden = queries + self.output(attended.transpose(1, 2).flatten(2))
        expanded = self.expand(self.mlp_norm(hidden))
        return hidden + self.contract(expanded * torch.sigmoid(1.702 * expanded))


class FusionTransformer(nn.Module):
    """Fuses the tokens of several modalities, once for each subset of them (CoMM, section 3.2).

    A subset is fused by leaving the tokens of the other modalities out: no mask token, no modality embedding. Running
    the transformer once a subset would normalise and project the same tokens again and again; here each token is
    normalised and projected once in the first layer, every subset attends to its own part of them, and the last layer
    computes the class tokens only. The result is the one of separate passes, up to rounding.

    Args:
        dim: Width of the tokens.
        num_layers: One in the paper.
        num_heads: Attention heads; divides `dim`.
        pooling: `"cls"` reads a learned class token, `"mean"` averages the tokens of the subset.
    """

    def __init__(self, dim: int, num_layers: int = 1, num_heads: int = 8, pooling: str = "cls") -> None:
        super().__init__()
        self.pooling = pooling
        self.class_token = nn.Parameter(torch.empty(1, 1, dim)) if pooling == "cls" else None
        self.layers = nn.ModuleList(FusionLayer(dim, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)

    def initialize(self) -> None:
        """The scales of the official code."""
        if self.class_token is not None:
            init.normal_(self.class_token)
        for layer in self.layers:
            cast(FusionLayer, layer).initialize(depth=len(self.layers))

    def forward(
        self,
        tokens: Sequence[Tensor],
        subsets: Sequence[Sequence[int]],
        masks: Sequence[Tensor | None] | None = None,
        places: Sequence[int] | None = None,
    ) -> Tensor:
        """
        Args:
            tokens: One `(batch, length, dim)` tensor a modality.
            subsets: The modalities of each subset, as positions in `tokens`.
            masks: One `(batch, length)` bool tensor a modality, True where a token is real; None where all are. The
                mean over a subset without a real token is zero.
            places: As of [`ConcatenationFusion`]; not read, since nothing tells the modality of a token.

        Returns:
            `(batch, subsets, dim)`.
        """
        batch, device = tokens[0].shape[0], tokens[0].device
        parts = list(tokens)
        if self.class_token is not None:
            parts.insert(0, self.class_token.expand(batch, -1, -1))
        context = torch.cat(parts, dim=1)
        real = self._real_tokens(parts, masks)

        # The parts of each subset; the class token belongs to all of them. Sizes stay symbols under `torch.export`.
        first = int(self.class_token is not None)
        members = [[i for i in range(len(parts)) if i < first or i - first in subset] for subset in subsets]
        lengths = [part.shape[1] for part in parts]
        begins = list(accumulate(lengths, initial=0))

        def constant(size: int, value: int | bool) -> Tensor:
            return torch.full((size,), value, device=device)

        def numbers(begin: int, size: int) -> Tensor:
            return torch.arange(begin, begin + size, device=device)

        held = torch.stack([torch.cat([constant(n, i in own) for i, n in enumerate(lengths)]) for own in members])

        # `row_subset` and `source` say for every row of the running sequence whose subset it is and which token it
        # came from. Before the first layer the tokens are shared; after it each subset has its own copy.
        row_subset = torch.cat([constant(lengths[i], number) for number, own in enumerate(members) for i in own])
        source = torch.cat([numbers(begins[i], lengths[i]) for own in members for i in own])
        # The first row of each subset is its class token, where there is one.
        firsts = list(accumulate((sum(lengths[i] for i in own) for own in members), initial=0))[:-1]
        shared = True
        for depth, layer in enumerate(self.layers):
            last = depth == len(self.layers) - 1
            rows = torch.cat([numbers(row, 1) for row in firsts]) if last and self.class_token is not None else None
            queries_from = source if shared else numbers(0, source.shape[0])
            queries_subset = row_subset
            if rows is not None:
                queries_from, queries_subset = queries_from[rows], queries_subset[rows]
            visible = held[queries_subset] if shared else queries_subset[:, None] == row_subset
            visible = visible.unsqueeze(0)
            if real is not None:
                visible = visible & (real if shared else real[:, source]).unsqueeze(1)
                if self.class_token is None:  # a subset without a token sees what nobody reads, or it would be NaN
                    visible = visible | ~visible.any(dim=-1, keepdim=True)
            context = layer(context[:, queries_from], context, visible)
            shared = False
        context = self.norm(context)
        if self.class_token is not None:
            return context
        weight = (row_subset == numbers(0, len(subsets))[:, None]).to(context.dtype).unsqueeze(0)
        if real is not None:
            weight = weight * real[:, source].unsqueeze(1)
        return (weight / weight.sum(-1, keepdim=True).clamp(min=1)) @ context

    @staticmethod
    def _real_tokens(parts: Sequence[Tensor], masks: Sequence[Tensor | None] | None) -> Tensor | None:
        """`(batch, tokens)` bool over all parts, or None where no modality is padded."""
        if masks is None or all(mask is None for mask in masks):
            return None
        masks = [None] * (len(parts) - len(masks)) + list(masks)
        ones = (torch.ones(part.shape[:2], dtype=torch.bool, device=part.device) for part in parts)
        return torch.cat([one if mask is None else mask.bool() for mask, one in zip(masks, ones, strict=True)], dim=1)


class ConcatenationFusion(nn.Module):
    """Fuses one vector a modality, the mean of its real tokens: they are concatenated, and a linear layer or a
    perceptron maps them (the ablations of CoMM's fusion).

    Zeros stand in place of a modality that a subset leaves out, or that a row lacks.

    Args:
        dim: Width of the tokens.
        modalities: How many the model has.
        hidden: Whether a hidden layer of width `dim` with a ReLU comes first.
    """

    def __init__(self, dim: int, modalities: int, hidden: bool = False) -> None:
        super().__init__()
        self.modalities = modalities
        first = nn.Linear(modalities * dim, dim)
        self.layers = nn.Sequential(first, nn.ReLU(), nn.Linear(dim, dim)) if hidden else nn.Sequential(first)

    def forward(
        self,
        tokens: Sequence[Tensor],
        subsets: Sequence[Sequence[int]],
        masks: Sequence[Tensor | None] | None = None,
        places: Sequence[int] | None = None,
    ) -> Tensor:
        """
        Args:
            tokens, subsets, masks: As of [`FusionTransformer`].
            places: Which of the model's modalities each of `tokens` is; by default the first ones.

        Returns:
            `(batch, subsets, dim)`.
        """
        masks = [None] * len(tokens) if masks is None else masks
        places = range(len(tokens)) if places is None else places
        means = dict(zip(places, map(_mean_token, tokens, masks), strict=True))
        zeros = torch.zeros_like(next(iter(means.values())))
        members = [{places[position] for position in subset} for subset in subsets]
        every = range(self.modalities)
        rows = [torch.cat([means[place] if place in own else zeros for place in every], dim=-1) for own in members]
        return self.layers(torch.stack(rows, dim=1))


def _mean_token(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """`(batch, dim)`, the mean over the real tokens of `(batch, length, dim)`; zeros where there is none."""
    if mask is None:
        return tokens.mean(dim=1)
    real = mask.bool()[..., None]
    return tokens.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1).clamp(min=1)
