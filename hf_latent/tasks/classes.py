"""Classes of an image with a sentence, such as whether the one entails the other."""

from ..models.modeling_latent_albef_classification import LatentALBEFForImageTextClassification
from .task import Task, register_task

CLASSES = register_task(
    "classes",
    Task(
        type_name="latent_albef_classification",
        model=LatentALBEFForImageTextClassification,
        does="tells the class of an image with a sentence, such as whether the image entails it",
        labels="classes",
        sentence="sentence",
        auto_class="AutoModelForSequenceClassification",
    ),
)
