"""The rows that golden values are of: published code gives the same numbers for them."""

import math

import torch
import torch.nn.functional as F


def golden(modality, rows=4, dim=5, unit=True):
    """On the unit sphere or as they are, in float64."""
    own = [
        [
            math.cos(1 + 2 * i + 3 * k + i * k) + 0.5 * math.cos(5 * modality + (i + 1) * (k + 2) * (modality + 1))
            for k in range(dim)
        ]
        for i in range(rows)
    ]
    found = torch.tensor(own, dtype=torch.float64)
    return F.normalize(found, dim=1) if unit else found
