"""Losses: functions of plain tensors."""

from .contrastive import nt_xent, one_way_info_nce, symmetric_info_nce
from .logsumexp import loss_tile_size

__all__ = ["loss_tile_size", "nt_xent", "one_way_info_nce", "symmetric_info_nce"]
