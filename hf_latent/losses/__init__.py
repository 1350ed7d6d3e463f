"""Losses: functions of plain tensors."""

from .contrastive import info_nce, nt_xent, one_way_info_nce, symmetric_info_nce

__all__ = ["info_nce", "nt_xent", "one_way_info_nce", "symmetric_info_nce"]
