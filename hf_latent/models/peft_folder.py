"""Folders that hold the adapters of a model and not its weights, as the Trainer saves them."""

import json
import os
from pathlib import Path
from typing import Any

from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)


def adapted_model(folder: Any, subfolder: str = "") -> str | None:
    """The model that the adapters in a folder are for, as they name it; None where the folder holds a whole model.

    transformers looks for it itself, unless the config of the model lies beside the adapters.

    Raises:
        ValueError: If they name none.
    """
    if not isinstance(folder, str | os.PathLike):
        return None
    place = Path(folder) / subfolder
    found = {name for name in (*WEIGHTS, ADAPTER_CONFIG_NAME, CONFIG_NAME) if (place / name).is_file()}
    if found != {ADAPTER_CONFIG_NAME, CONFIG_NAME}:
        return None
    base = json.loads((place / ADAPTER_CONFIG_NAME).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ValueError(
            f"{place} holds adapters, and {ADAPTER_CONFIG_NAME} names no model that they are for. Make that model, "
            "such as `base = AutoModel.from_config(AutoConfig.from_pretrained(folder)); base.load_pretrained()` where "
            "its encoders are checkpoints, then `PeftModel.from_pretrained(base, folder)`"
        )
    return base
