"""Prediction: what a trained model gives for the rows of a whole data set."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer

from ..data.texts import check_known
from ..errors import UserError
from ..models.embeddings import Embeddings
from .checks import check_ids, check_rows

PREDICTED = ("embeds", "independent", "fused", "present", "logits")
QUESTION = ("pixel_values", "input_ids", "attention_mask", "token_type_ids")


class PredictionTrainer(Trainer):
    """The part of the [`LatentTrainer`] that predicts. Every process takes part and gets all rows."""

    _only: str | None = None

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, Any, Tensor | None]:
        """Embed one batch."""
        if prediction_loss_only:
            return None, None, None
        inputs = self._prepare_inputs(inputs)
        if self._only is not None:
            inputs = {**inputs, "modalities": {self._only: inputs["modalities"][self._only]}}
        labels = inputs.pop("labels", inputs.pop("ids", None))
        with torch.no_grad(), self.compute_loss_context_manager():
            embeddings = model(**inputs, return_loss=False)
        return None, self._predicted([embeddings], ignore_keys), labels

    def _on_device(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What the collator gave, on the device."""
        inputs = Trainer._prepare_inputs(self, inputs)
        check_ids(inputs)
        return inputs

    def _predicted(self, parts: Sequence[Embeddings], ignore_keys: Sequence[str] | None) -> dict[str, Any]:
        """What is predicted of some rows, which come in parts."""
        fields = [field for field in PREDICTED if field not in (ignore_keys or ())]
        given = [field for field in fields if getattr(parts[0], field, None) is not None]
        return {field: _joined([getattr(part, field) for part in parts]) for field in given}

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As in `Trainer`; a data set without rows is refused."""
        check_rows("the data set", test_dataset)
        return super().get_test_dataloader(test_dataset)

    def embed(self, dataset: Any) -> Embeddings:
        """The raw embeddings of a whole data set, in its order, on the CPU, with a progress bar.

        Where rows may lack a modality, `present` says which have it; the embeddings of the others tell nothing.
        """
        with self._predicting_all():
            predictions: Any = self.predict(dataset).predictions

        def tensors(found: Any) -> Any:
            if isinstance(found, dict):
                return {name: torch.from_numpy(rows) for name, rows in found.items()}
            return torch.from_numpy(found)

        return Embeddings(**{field: tensors(found) for field, found in predictions.items() if field != "logits"})

    @contextmanager
    def _predicting_all(self) -> Iterator[None]:
        """Inside, predictions are whole and as the model makes them, whatever a metric wants of them."""
        plain = {"prediction_loss_only": False, "batch_eval_metrics": False, "eval_do_concat_batches": True}
        wanted = {name: getattr(self.args, name) for name in plain}
        kept = self.compute_metrics, self.preprocess_logits_for_metrics
        try:
            vars(self.args).update(plain)
            self.compute_metrics = self.preprocess_logits_for_metrics = None
            yield
        finally:
            vars(self.args).update(wanted)
            self.compute_metrics, self.preprocess_logits_for_metrics = kept

    def features(self, dataset: Any) -> np.ndarray:
        """The representation that probes read, `(rows, dim)` float32: what the objective calls its features."""
        model: Any = self.model
        return model.objective.features(self.embed(dataset)).float().numpy()

    def logits(self, dataset: Any, only: str | None = None) -> Tensor:
        """What a model with a head says of a whole data set, `(rows, num_labels)` on the CPU.

        Args:
            dataset: Rows.
            only: A modality, to read that one alone.
        """
        self._only = only
        try:
            with self._predicting_all():
                predictions: Any = self.predict(dataset).predictions
        finally:
            self._only = None
        return torch.from_numpy(predictions["logits"])

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


def _joined(parts: Sequence[Any]) -> Any:
    """Rows of tensors, or of dictionaries of tensors, one part after the other."""
    if isinstance(parts[0], dict):
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return torch.cat(list(parts))
