"""LatentALBEF with a head of classes: visual entailment, and any other label of an image with a sentence."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from .albef_heads import LatentALBEFHeadOutput, LatentALBEFWithHead, SupervisedLatentALBEF
from .albef_momentum import distilled_cross_entropy
from .embeddings import wide


class PairClassifier(LatentALBEFWithHead):
    """The head alone: a multi-layer perceptron on the first token of the fused pair."""

    label_layer = "classifier.2"

    def build(self) -> None:
        super().build()
        width, classes = self.bert.config.hidden_size, cast(int, self.config.num_labels)
        self.classifier = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))

    def classify(self, hidden: Tensor) -> Tensor:
        """`(batch, length, hidden_size)` -> `(batch, num_labels)` logits in float32 or wider."""
        return wide(self.classifier(hidden[:, 0]))

    def add_head_logits(self, output: Any) -> None:
        output.logits = self.classify(output.last_hidden_state)


class SupervisedClassifier(SupervisedLatentALBEF, PairClassifier):
    """What the heads of classes share: their loss."""

    task = "class"

    def label_losses(
        self, output: LatentALBEFHeadOutput, taught: Any, attention_mask: Tensor | None, labels: Tensor
    ) -> Tensor:
        logits: Any = output.logits
        if labels.shape != logits.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(
                f"labels {tuple(labels.shape)} {labels.dtype}: classes are whole numbers, one a row, ({len(logits)},)"
            )
        classes = logits.shape[1]
        wrong = (labels < 0) | (labels >= classes)
        if wrong.any():
            raise ValueError(
                f"labels {labels[wrong].tolist()[0]}: this model has {classes} classes, give 0 to {classes - 1}"
            )
        if taught is not None:
            with torch.no_grad():
                taught = self.momentum.classify(taught)
        return distilled_cross_entropy(logits, labels, taught)


class LatentALBEFForImageTextClassification(SupervisedClassifier):
    """A [`LatentALBEFModel`] that says to which of `config.num_labels` classes an image with a sentence belongs.

    Visual entailment has three: the image entails the sentence, contradicts it, or tells nothing about it. The names
    are those of `config.id2label`. With `labels` it is trained, see `hf_latent.objectives.supervised`.

    It starts from a pre-trained model by `from_pretrained`, with `num_labels`; where the folder's own head has another
    number of labels, with `ignore_mismatched_sizes=True`.

    Source: Li et al., NeurIPS 2021, section 5.
    """

    teacher_class = PairClassifier


LatentALBEFForImageTextClassification.register_for_auto_class("AutoModelForSequenceClassification")
