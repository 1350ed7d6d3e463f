"""Objectives: what a model family trains on, chosen by its config."""

from .base import Objective, build_objective
from .comm import CoMMObjective, CrossObjective, CrossSelfObjective

__all__ = ["CoMMObjective", "CrossObjective", "CrossSelfObjective", "Objective", "build_objective"]
