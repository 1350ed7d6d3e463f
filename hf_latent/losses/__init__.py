"""Losses: functions of plain tensors."""

from .contrastive import info_nce, nt_xent, symmetric_info_nce

__all__ = ["info_nce", "nt_xent", "symmetric_info_nce"]
