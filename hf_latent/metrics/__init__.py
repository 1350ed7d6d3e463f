"""Metrics as plain functions of arrays; scikit-learn is imported on first use.

The same metrics as `evaluate.Metric` are in `hf_latent.metrics.evaluate_metrics`, which needs evaluate and datasets.
"""

from .interactions import CHANCE, TASKS, interactions
from .linear_probe import PROTOCOLS, ProbeResult, Protocol, linear_probe

__all__ = ["CHANCE", "PROTOCOLS", "TASKS", "ProbeResult", "Protocol", "interactions", "linear_probe"]
