"""A contrast of each row with several random copies of itself (InfMasking)."""

import torch
from torch import Tensor

from .contrastive import wide
from .logsumexp import logsumexp
from .rows import Rows, mean_of_rows, of_process


def masked_info_nce(
    full: Tensor,
    masked: Tensor,
    scale: Tensor | float,
    variance_weight: float = 1.0,
    *,
    rows: Rows = None,
    ids: Tensor | None = None,
) -> Tensor:
    r"""InfoNCE of rows against the mean of their masked copies, as if there were infinitely many copies.

    \[ M = \frac1N \sum_i \Big[ \log \Big( e^{(\mu_i + \frac12 v_i) / \tau} + \sum_{j \neq i} \Big( \sum_t
       e^{\langle q_i, z_{tj} \rangle / \tau} + e^{\langle q_i, q_j \rangle / \tau} \Big) \Big) - \mu_i / \tau \Big] \]

    where \(\mu_i\) is the mean of \(\langle q_i, z_{ti} \rangle\) over the copies t, and \(v_i\) their (biased)
    variance times `variance_weight` over \(\tau\).

    Args:
        full: `(batch, dim)`, \(q\), L2-normalised.
        masked: `(batch, copies, dim)`, \(z\).
        scale: The inverse temperature.
        variance_weight: How much the variance counts.
        rows: Those of `full` to score, all by default.
        ids: `(batch,)`; rows with the same id are no negatives of each other.

    Returns:
        Scalar mean over the rows. O(batch * copies * dim) memory.

    Source: Wen et al. (InfMasking), NeurIPS 2025, in the form that its official code comes down to, whose covariance
    matrices enter by \(v_i\) alone.
    """
    full, masked = wide(full), wide(masked)
    labels = torch.arange(len(full), device=full.device) if ids is None else ids
    columns = torch.cat([masked.flatten(0, 1), full])
    column_labels = torch.cat([labels.repeat_interleave(masked.shape[1]), labels])
    own, own_labels = of_process(full, rows), of_process(labels, rows)
    negatives = logsumexp(scale * own, columns, row_labels=own_labels, column_labels=column_labels)
    similar = (own[:, None] * of_process(masked, rows)).sum(dim=-1)
    mean = similar.mean(dim=1)
    variance = (similar - mean[:, None]).square().mean(dim=1)
    logits = scale * mean
    positive = logits + variance_weight * scale**2 * variance / 2
    return mean_of_rows(torch.logaddexp(positive, negatives) - logits, rows)
