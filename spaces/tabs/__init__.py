"""The pages, one file each: a module with `TITLE`, `ORDER`, `refusal(explorer)` and `build(explorers)` is a tab."""

import sys
from types import ModuleType

from hf_latent.discovery import import_modules

import_modules(__name__, __path__)
TABS: tuple[ModuleType, ...] = tuple(
    sorted(
        (
            module
            for name, module in sys.modules.items()
            if name.startswith(f"{__name__}.") and hasattr(module, "TITLE")
        ),
        key=lambda module: module.ORDER,
    )
)
