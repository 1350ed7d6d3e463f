"""A head that counts."""

from hf_latent.models.modeling_latent_albef_classification import PairClassifier, SupervisedClassifier
from hf_latent.tasks import Task, register_task


class LatentALBEFForCounting(SupervisedClassifier):
    """Says how many things an image shows; each number is a class."""

    teacher_class = PairClassifier


COUNTING = register_task(
    "counting",
    Task(
        type_name="latent_albef_counting",
        model=LatentALBEFForCounting,
        does="says how many things an image shows",
        labels="classes",
        sentence="question",
        auto_class="AutoModelForSequenceClassification",
    ),
)
