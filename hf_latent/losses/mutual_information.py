"""Bounds of the mutual information of two modalities, in nats, with inner products as the critic.

Arguments as in [`hf_latent.losses.contrastive`]: `(batch, dim)` rows, of which row i of one belongs to row i of the
other; `rows` are those that this process scores. The critic of rows i and j is `scale * <y_i, x_j>`.
"""

import math

from torch import Tensor

from .contrastive import one_way_info_nce, positives_of, wide
from .rows import Rows, mean_of_rows, of_process


def info_nce_bound(
    x: Tensor, y: Tensor, scale: Tensor | float, *, rows: Rows = None, ids: Tensor | None = None
) -> Tensor:
    r"""A lower bound: \(\log N - L_{y \to x}\), where L is InfoNCE over the N rows; at most \(\log N\).

    Returns:
        Scalar.

    Source: van den Oord et al. 2018.
    """
    return math.log(max(len(x), 1)) - one_way_info_nce(y, x, scale, rows=rows, ids=ids)


def club_bound(x: Tensor, y: Tensor, scale: Tensor | float, *, rows: Rows = None, ids: Tensor | None = None) -> Tensor:
    r"""An upper bound where the critic T is the optimal one of InfoNCE.

    \[ \frac1N \sum_i T_{ii} - \frac{1}{N^2} \sum_{ij} T_{ij} \]

    No `(batch, batch)` matrix is held.

    Returns:
        Scalar.

    Source: Cheng et al., "CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information", ICML 2020, with
    the critic that Liang et al. (FactorCL), NeurIPS 2023, put in it.
    """
    x, y = wide(x), scale * wide(y)
    return mean_of_rows(of_process(positives_of(y, x, ids) - y @ x.mean(dim=0), rows), rows)
