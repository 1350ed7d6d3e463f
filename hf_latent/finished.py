"""A finished model, from a run folder or from the Hub: its files, its class, and itself."""

from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoModel, AutoModelForZeroShotImageClassification, AutoProcessor

from .errors import UserError, blamed_on
from .models.configuration_base import LatentConfig
from .models.embeddings import LatentPreTrainedModel
from .runs import RECIPE
from .tasks import task_of_config
from .trust import check_folder

FILES = ["*.json", "*.py", "*.safetensors", "*.txt", "*.model", RECIPE]


def find_run(run: str, revision: str | None = None) -> Path:
    """The folder of a run, fetched from the Hub where `run` is not a folder."""
    if Path(run).is_dir():
        return Path(run)
    try:
        fetched = snapshot_download(run, revision=revision, allow_patterns=FILES, ignore_patterns=["checkpoint-*"])
    except (OSError, ValueError):
        raise UserError(f"{run} is neither a folder nor a model that can be reached on the Hub") from None
    return Path(fetched)


def class_of(folder: Path) -> Any:
    """The class that a folder's model is loaded as: with its head, where it has one that can be asked.

    `AutoModel` finds the plain model in a folder, whatever head was trained. Of a model with heads that are no task,
    that of zero-shot classification compares images and texts; what else pre-training has is for training.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    task = task_of_config({"architectures": config.architectures})
    if task is not None:
        return task.model
    plain: Any = AutoModel._model_mapping.get(type(config), None)
    named = (config.architectures or [""])[0]
    comparing = AutoModelForZeroShotImageClassification._model_mapping.get(type(config), None)
    heads = plain is not None and named not in ("", plain.__name__) and comparing is not None
    return comparing if heads and issubclass(type(config), LatentConfig) else AutoModel


def load_finished(run: str, folder: Path) -> tuple[Any, Any]:
    """The model of a folder, in evaluation mode, and its processor.

    Args:
        run: As the user named it, for errors.
        folder: From [`find_run`].

    Raises:
        UserError: If it holds no model of this library that can be loaded.
    """
    check_folder(folder)
    with blamed_on(f"{run} holds no model that can be loaded"):
        model: Any = class_of(folder).from_pretrained(folder, trust_remote_code=False).eval()
        processor: Any = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        _ = processor.modalities  # that of another model has none
    if not isinstance(model, LatentPreTrainedModel):
        raise UserError(f"{run} holds a {type(model).__name__}: name a model that hf_latent trained")
    return model, processor
