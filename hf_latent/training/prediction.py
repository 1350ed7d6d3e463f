"""Prediction: what a trained model gives for the rows of a whole data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Trainer

from ..data.texts import check_known
from ..errors import UserError
from ..models.embeddings import Embeddings
from ..objectives import Objective

PREDICTED = ("embeds", "independent", "fused", "logits")
QUESTION = ("pixel_values", "input_ids", "attention_mask", "token_type_ids")


class PredictionTrainer(Trainer):
    """The part of the [`LatentTrainer`] that predicts. Every process takes part and gets all rows."""

    objective: Objective

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, Any, Tensor | None]:
        """Embed one batch. There is no evaluation loss: it would depend on how the rows fall into batches."""
        inputs = self._prepare_inputs(inputs)
        labels = inputs.pop("labels", inputs.pop("ids", None))
        with torch.no_grad(), self.compute_loss_context_manager():
            embeddings = model(**inputs, return_loss=False)
        found = {field: getattr(embeddings, field, None) for field in PREDICTED}
        return None, {field: value for field, value in found.items() if value is not None}, labels

    def embed(self, dataset: Any) -> Embeddings:
        """The raw embeddings of a whole data set, in its order, on the CPU, with a progress bar."""
        predictions: Any = self.predict(dataset).predictions

        def tensors(found: Any) -> Any:
            if isinstance(found, dict):
                return {name: torch.from_numpy(rows) for name, rows in found.items()}
            return torch.from_numpy(found)

        return Embeddings(**{field: tensors(found) for field, found in predictions.items() if field != "logits"})

    def features(self, dataset: Any) -> np.ndarray:
        """The representation that probes read, `(rows, dim)` float32: what the objective calls its features."""
        return self.objective.features(self.embed(dataset)).float().numpy()

    @torch.no_grad()
    def answer(self, dataset: Any, answers: Sequence[str], k: int = 128) -> Tensor:
        """How likely each answer of a list is for the questions of a data set.

        See `LatentALBEFForQuestionAnswering.rank_answers`.

        Args:
            dataset: Rows of images and questions.
            answers: What there is to choose from.
            k: Answers of a question that are scored whole.

        Returns:
            `(rows, answers)` log-likelihoods on the CPU, `-inf` for what is not among a question's `k`.

        Raises:
            UserError: If the model answers no questions, the list of answers is empty, or the tokenizer does not know
                a word of an answer.
        """
        model: Any = self.accelerator.unwrap_model(self.model)
        if not hasattr(model, "rank_answers"):
            raise UserError(f"{type(model).__name__} answers no questions: use LatentALBEFForQuestionAnswering")
        if not answers:
            raise UserError("the list of answers is empty: give the answers to choose from")
        processor: Any = self.processing_class
        check_known(processor.tokenizer, answers, "answer")
        tokens = processor.tokenizer(list(answers), padding=True, padding_side="right", return_tensors="pt")
        tokens = tokens.to(self.args.device)
        listed = {"answer_ids": tokens["input_ids"], "answer_mask": tokens["attention_mask"]}
        model.eval()
        scores = []
        for batch in self.get_test_dataloader(dataset):
            inputs = self._prepare_inputs(batch)
            asked = {name: inputs[name] for name in QUESTION if name in inputs}
            with self.compute_loss_context_manager():
                found = model.rank_answers(**asked, **listed, k=k)
            scores.append(self.accelerator.gather_for_metrics(found).cpu())
        return torch.cat(scores)
