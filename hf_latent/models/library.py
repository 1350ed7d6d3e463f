"""What the code of a model takes of the library hf_latent, where that is installed."""

from functools import cache
from importlib import import_module
from typing import Any


@cache
def from_library(name: str) -> Any:
    """`hf_latent.<name>`, None where the library is not installed.

    Code that `trust_remote_code` loads is a copy of this folder, of which `import hf_latent` knows nothing. The module
    is named in a string, for transformers refuses code that imports what is not installed.
    """
    try:
        return getattr(import_module("hf_latent"), name)
    except ImportError:
        return None
