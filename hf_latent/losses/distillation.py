"""Contrast with softened targets."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .contrastive import wide
from .logsumexp import full_precision


def distilled_info_nce(
    anchors: Tensor,
    teachers: Tensor,
    columns: Tensor,
    scale: Tensor | float,
    right: Tensor,
    alpha: float,
) -> Tensor:
    r"""InfoNCE of anchors against columns whose targets a teacher softens.

    \[ L = -\frac1N \sum_{jk} y_{jk} \log \mathrm{softmax}_k (z_j \cdot c_k / \tau), \quad
       y_{jk} = \alpha\, \mathrm{softmax}_k (z'_j \cdot c_k / \tau) + (1 - \alpha)\, p_{jk} \]

    where \(p_j\) is uniform over the columns that are right for row j.

    Args:
        anchors: `(rows, dim)`, L2-normalised.
        teachers: `(rows, dim)`, of the same rows, by the teacher; no gradient flows into them here.
        columns: `(columns, dim)`.
        scale: The inverse temperature.
        right: `(rows, columns)` bool; every row has a right column.
        alpha: The teacher's share of the targets.

    Returns:
        Scalar mean over the rows, in float32 or wider. The logits of all rows are held at once.

    Source: Li et al., NeurIPS 2021, equations 1, 2 and 6.
    """
    anchors, teachers, columns = map(wide, (anchors, teachers, columns))
    with full_precision(anchors):
        with torch.no_grad():
            targets = F.normalize(right.to(anchors), p=1, dim=1)
            if alpha:
                targets = targets.lerp((scale * teachers @ columns.T).softmax(dim=1), alpha)
        return -(targets * (scale * anchors @ columns.T).log_softmax(dim=1)).sum(dim=1).mean()


def distillation_divergence(
    logits: Tensor, taught: Tensor, right: Tensor, alpha: float, temperature: float = 1.0
) -> Tensor:
    r"""Kullback-Leibler divergence of a student's softmax from a mix of what is right and a teacher's softmax.

    \[ \frac{T^2}N \sum_j \mathrm{KL}(q_j \| \mathrm{softmax}(l_j / T)), \quad
       q_j = \alpha\, p_j + (1 - \alpha)\, \mathrm{softmax}(l'_j / T) \]

    where \(p_j\) is uniform over the columns that are right for row j.

    Args:
        logits: `(rows, columns)`, of the student.
        taught: The same of the teacher; no gradient flows into them.
        right: `(rows, columns)` bool; every row has a right column.
        alpha: The share of what is right, 0 to 1. At 0 a student that is the teacher has value and gradient 0.
        temperature: T.

    Returns:
        Scalar mean over the rows.
    """
    with torch.no_grad():
        targets = (taught / temperature).softmax(dim=1)
        if alpha:
            targets = targets.lerp(F.normalize(right.to(logits), p=1, dim=1), alpha)
        entropy = torch.xlogy(targets, targets)
    found = entropy - targets * (logits / temperature).log_softmax(dim=1)
    return temperature**2 * found.sum(dim=1).mean()
