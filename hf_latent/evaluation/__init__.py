"""Benchmarks: what a model has learned, measured on rows with labels."""

from ..discovery import import_modules
from .benchmark import BENCHMARKS, Benchmark, Encode, groups, register_benchmark
from .chosen import Chosen, build_benchmarks, choose, described, draw, flat, measured
from .geometry import Geometry
from .grounding import Grounding
from .interactions import Interactions
from .measurement import Group, Measurement
from .probes import Probes
from .retrieval import Retrieval
from .tasks import Tasks
from .zero_shot import ZeroShot

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Chosen",
    "Encode",
    "Geometry",
    "Grounding",
    "Group",
    "Interactions",
    "Measurement",
    "Probes",
    "Retrieval",
    "Tasks",
    "ZeroShot",
    "build_benchmarks",
    "choose",
    "described",
    "draw",
    "flat",
    "groups",
    "measured",
    "register_benchmark",
]

import_modules(__name__, __path__)
