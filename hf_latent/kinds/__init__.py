"""Kinds of input: how a column of a data set is read for an encoder, and how its values are shown.

How values become tensors is said beside the models, in `models/kind_*.py`, which load without this package.
"""

from ..discovery import import_modules
from .base import KINDS, Kind, Shape, kind_of

__all__ = ["KINDS", "Kind", "Shape", "kind_of"]

import_modules(__name__, __path__)
