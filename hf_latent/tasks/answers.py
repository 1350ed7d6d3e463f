"""Questions about an image, answered in words."""

from ..models.modeling_latent_albef_question_answering import LatentALBEFForQuestionAnswering
from .task import Task, register_task

ANSWERS = register_task(
    "answers",
    Task(
        type_name="latent_albef_question_answering",
        model=LatentALBEFForQuestionAnswering,
        does="answers a question about an image, word by word or with one of a list of answers",
        labels="answers",
        sentence="question",
        auto_class="AutoModelForVisualQuestionAnswering",
    ),
)
