"""Metrics as plain functions of arrays; scikit-learn is imported on first use.

The same metrics as `evaluate.Metric` are in `hf_latent.metrics.evaluate_metrics`, which needs evaluate and datasets.
"""

from .geometry import (
    alignment,
    cka,
    cknna,
    cycle_knn,
    effective_rank,
    geometry,
    lcs_knn,
    modality_gap,
    mutual_knn,
    uniformity,
)
from .grounding import grounding
from .information import (
    aligned_encoders,
    alignment_cost,
    are_aligned,
    conditional_entropy,
    factor_joint,
    information_gap,
    mutual_information,
)
from .interactions import CHANCE, TASKS, interactions
from .linear_probe import PROTOCOLS, Probe, ProbeResult, Protocol, fit_probe, linear_probe, score_probe
from .retrieval import ranks, retrieval
from .tasks import task_accuracy
from .zero_shot import TEMPLATES, class_embeddings, zero_shot

__all__ = [
    "CHANCE",
    "PROTOCOLS",
    "TASKS",
    "TEMPLATES",
    "Probe",
    "ProbeResult",
    "Protocol",
    "aligned_encoders",
    "alignment",
    "alignment_cost",
    "are_aligned",
    "cka",
    "cknna",
    "class_embeddings",
    "conditional_entropy",
    "cycle_knn",
    "effective_rank",
    "factor_joint",
    "fit_probe",
    "geometry",
    "grounding",
    "information_gap",
    "interactions",
    "lcs_knn",
    "linear_probe",
    "modality_gap",
    "mutual_information",
    "mutual_knn",
    "ranks",
    "retrieval",
    "score_probe",
    "task_accuracy",
    "uniformity",
    "zero_shot",
]
