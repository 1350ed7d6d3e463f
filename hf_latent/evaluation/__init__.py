"""What a trained model has learned: the measurements and the pictures of a run."""

from pathlib import Path
from typing import Any, Protocol

from ..data.loaded import LoadedData
from ..training import LatentTrainer
from .captions import CaptionsEvaluation
from .grounding import GroundingEvaluation
from .interactions import InteractionsEvaluation
from .tasks import TaskEvaluation


class Evaluation(Protocol):
    """One kind of measurement: every process embeds, one measures and draws."""

    def embed(self, trainer: LatentTrainer) -> None: ...

    def metrics(self) -> dict[str, float]: ...

    def figures(self, folder: Path, name: str, metrics: dict[str, Any]) -> None: ...


def evaluations_of(data: LoadedData, protocol: str, rerank: int) -> list[Evaluation]:
    """What a data set can be measured with; see `recipe.Evaluation` for the options."""
    found: list[Evaluation] = []
    if data.probes is not None:
        found.append(InteractionsEvaluation(data.probes, protocol))
    if data.captions is not None:
        found.append(CaptionsEvaluation(data.captions, protocol, rerank))
    if data.grounding is not None:
        found.append(GroundingEvaluation(data.grounding))
    if data.task is not None:
        found.append(TaskEvaluation(data.task))
    return found
