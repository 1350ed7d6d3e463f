"""A list of answers, ranked for the questions of a whole data set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import UserError

QUESTION = ("pixel_values", "input_ids", "attention_mask", "token_type_ids")

if TYPE_CHECKING:
    from .trainer import LatentTrainer


@torch.no_grad()
def rank_answers(trainer: "LatentTrainer", dataset: Any, answers: Sequence[str], k: int = 128) -> Tensor:
    """`(rows, answers)` on the CPU: how likely each answer is, `-inf` where it is none of a question's `k` candidates.

    Every process takes part. See `LatentALBEFForQuestionAnswering.rank_answers`.

    Raises:
        UserError: If the model answers no questions, or the list of answers is empty.
    """
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if not hasattr(model, "rank_answers"):
        raise UserError(f"{type(model).__name__} answers no questions: use LatentALBEFForQuestionAnswering")
    if not answers:
        raise UserError("the list of answers is empty: give the answers to choose from")
    tokenizer = trainer.processing_class.tokenizer  # type: ignore[union-attr]
    tokens = tokenizer(list(answers), padding=True, padding_side="right", return_tensors="pt").to(trainer.args.device)
    model.eval()
    scores = []
    for batch in trainer.get_test_dataloader(dataset):
        inputs = trainer._prepare_inputs(batch)
        given = {name: inputs[name] for name in QUESTION if name in inputs}
        with trainer.compute_loss_context_manager():
            found = model.rank_answers(
                **given, answer_ids=tokens["input_ids"], answer_mask=tokens["attention_mask"], k=k
            )
        scores.append(trainer.accelerator.gather_for_metrics(found).cpu())
    return torch.cat(scores)
