"""Contrast within one modality, where rows repel each other by how little alike something else finds them."""

import torch
from torch import Tensor

from .contrastive import groups_of, wide
from .cross_entropy import cross_entropies

LOWEST = -1e30  # the logit of what is left out, whose share is 0


def in_modal_cross_entropy(
    rows: Tensor, partners: Tensor, alike: Tensor, scale: Tensor | float, *, ids: Tensor | None = None
) -> Tensor:
    r"""Each row finds its partner in the other modality among the other rows of its own.

    \[ L = \frac1N \sum_j \Big( \log \sum_k e^{l_{jk}} - l_{jj} \Big), \quad
       l_{jk} = s (1 - \langle e_j, e_k \rangle) \langle z_j, z_k \rangle \; (k \neq j), \quad
       l_{jj} = s \langle z_j, w_j \rangle \]

    No matrix of the batch is held.

    Args:
        rows: z, `(batch, dim)`, L2-normalised.
        partners: w, `(batch, dim)`, the same rows in another modality.
        alike: e, `(batch, other dim)`, L2-normalised; no gradient flows into it.
        scale: s, the inverse temperature.
        ids: `(batch,)`; other rows with the id of a row are left out of its sum.

    Returns:
        Scalar, in float32 or wider. It can be differentiated once.

    Source: Eslami and de Melo, ICLR 2025 (the intra-modality separation of AlignCLIP), and its official code.
    """
    rows, partners = wide(rows), wide(partners)
    alike = alike.detach().to(rows.dtype)
    index = torch.arange(len(rows), device=rows.device)
    group = index if ids is None else groups_of(ids)

    def of_itself(i: slice, j: slice) -> Tensor:
        return index[i, None] == index[j]

    def targets(i: slice, j: slice) -> Tensor:
        return of_itself(i, j).to(rows)

    def tile(i: slice, j: slice, scale: Tensor, paired: Tensor, alike: Tensor, rows: Tensor) -> Tensor:
        itself = of_itself(i, j)
        repelled = (1 - alike[i] @ alike[j].T) * (rows[i] @ rows[j].T)
        logits = scale * torch.where(itself, paired[i, None], repelled)
        return logits.masked_fill((group[i, None] == group[j]) & ~itself, LOWEST)

    scale = torch.as_tensor(scale, dtype=rows.dtype, device=rows.device)
    paired = (rows * partners).sum(dim=1)
    return cross_entropies(tile, targets, (len(rows), len(rows)), (scale, paired, alike, rows))[0].mean()
