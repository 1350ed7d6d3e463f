"""Labels of rows of any modalities: classes, several labels of a row, or numbers."""

from ..models.modeling_comm_classification import CoMMForSequenceClassification
from .task import Task, register_task

LABELS = register_task(
    "labels",
    Task(
        type_name="comm_classification",
        model=CoMMForSequenceClassification,
        does="tells the class, the labels or the numbers of a row of any modalities, also where it lacks some",
        labels="any",
        sentence="",
        auto_class="AutoModelForSequenceClassification",
        pipeline=None,
    ),
)
