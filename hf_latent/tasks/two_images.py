"""Classes of two images with a sentence, such as whether it is true of them."""

from ..models.modeling_latent_albef_visual_reasoning import LatentALBEFForNaturalLanguageVisualReasoning
from .task import Task, register_task

TWO_IMAGES = register_task(
    "two_images",
    Task(
        type_name="latent_albef_visual_reasoning",
        model=LatentALBEFForNaturalLanguageVisualReasoning,
        does="tells the class of two images with a sentence, such as whether it is true of them",
        labels="classes",
        sentence="statement",
        auto_class="AutoModelForSequenceClassification",
        images=2,
    ),
)
