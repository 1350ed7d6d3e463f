"""hf_latent: train multimodal representation models, and see what training did to their latent space."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
)

from . import tasks as _tasks  # noqa: F401
from .models.configuration_base import LatentConfig
from .models.configuration_comm import CoMMConfig
from .models.configuration_latent_albef import LatentALBEFConfig
from .models.configuration_latent_clip import LatentCLIPConfig
from .models.embeddings import Embeddings, LatentPreTrainedModel
from .models.modeling_comm import CoMMModel
from .models.modeling_comm_classification import CoMMForSequenceClassification
from .models.modeling_latent_albef import LatentALBEFForImageTextRetrieval, LatentALBEFModel
from .models.modeling_latent_albef_classification import LatentALBEFForImageTextClassification
from .models.modeling_latent_albef_pretraining import LatentALBEFForPreTraining
from .models.modeling_latent_albef_question_answering import LatentALBEFForQuestionAnswering
from .models.modeling_latent_albef_visual_reasoning import LatentALBEFForNaturalLanguageVisualReasoning
from .models.modeling_latent_clip import LatentCLIPModel
from .models.processing_comm import CoMMProcessor
from .models.processing_latent_albef import LatentALBEFProcessor
from .models.processing_latent_clip import LatentCLIPProcessor
from .objectives import OBJECTIVES, build_objective, objective_modules, required_heads
from .regularizers import REGULARIZERS

if TYPE_CHECKING:
    from .data.trifeature import load_trifeature
    from .hub.trainer import LatentTrainer
    from .training import LatentTrainingArguments
    from .views import Views, build_view

__version__ = "0.1.0"
__all__ = [
    "CoMMConfig",
    "CoMMForSequenceClassification",
    "CoMMModel",
    "CoMMProcessor",
    "Embeddings",
    "LatentALBEF",
    "LatentALBEFConfig",
    "LatentALBEFForImageTextClassification",
    "LatentALBEFForImageTextRetrieval",
    "LatentALBEFForNaturalLanguageVisualReasoning",
    "LatentALBEFForPreTraining",
    "LatentALBEFForQuestionAnswering",
    "LatentALBEFModel",
    "LatentALBEFProcessor",
    "LatentCLIP",
    "LatentCLIPConfig",
    "LatentCLIPModel",
    "LatentCLIPProcessor",
    "LatentTrainer",
    "LatentTrainingArguments",
    "OBJECTIVES",
    "REGULARIZERS",
    "Views",
    "build_objective",
    "objective_modules",
    "build_view",
    "load_trifeature",
]

LatentPreTrainedModel.build_objective = staticmethod(build_objective)
LatentConfig.heads_of = staticmethod(required_heads)
LatentALBEF = LatentALBEFModel
LatentCLIP = LatentCLIPModel

AutoConfig.register("comm", CoMMConfig)
AutoModel.register(CoMMConfig, CoMMModel)
AutoProcessor.register(CoMMConfig, CoMMProcessor)

AutoConfig.register("latent_albef", LatentALBEFConfig)
AutoModel.register(LatentALBEFConfig, LatentALBEFModel)
AutoModelForPreTraining.register(LatentALBEFConfig, LatentALBEFForPreTraining)
AutoModelForZeroShotImageClassification.register(LatentALBEFConfig, LatentALBEFForImageTextRetrieval)
# Heads are registered by their tasks.
AutoProcessor.register(LatentALBEFConfig, LatentALBEFProcessor)

AutoConfig.register("latent_clip", LatentCLIPConfig)
AutoModel.register(LatentCLIPConfig, LatentCLIPModel)
AutoModelForZeroShotImageClassification.register(LatentCLIPConfig, LatentCLIPModel)
AutoProcessor.register(LatentCLIPConfig, LatentCLIPProcessor)

# Names that bring the Trainer or a data set with them are imported when they are used.
_LAZY = {
    "LatentTrainer": "hub.trainer",
    "LatentTrainingArguments": "training",
    "Views": "views",
    "build_view": "views",
    "load_trifeature": "data.trifeature",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
