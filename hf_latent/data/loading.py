"""What a recipe's `data` section can name: every source that a module of this folder registers."""

from pathlib import Path

from ..discovery import import_modules
from .source import SOURCES, Source

__all__ = ["SOURCES", "Source"]

import_modules(__name__.rpartition(".")[0], [str(Path(__file__).parent)])
