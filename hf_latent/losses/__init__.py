"""Losses: functions of plain tensors."""

from .contrastive import nt_xent, one_way_info_nce, symmetric_info_nce
from .distillation import distilled_info_nce
from .logsumexp import loss_tile_size

__all__ = ["distilled_info_nce", "loss_tile_size", "nt_xent", "one_way_info_nce", "symmetric_info_nce"]
