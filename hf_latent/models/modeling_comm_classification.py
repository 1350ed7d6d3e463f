"""CoMM with a linear head on the fused vector: classes, several labels of a row, or numbers."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import can_return_tuple

from .configuration_comm import CoMMConfig
from .embeddings import Embeddings, checked_presence, full_precision, wide
from .modeling_comm import CoMMModel, Modalities

IGNORED = -100


@dataclass
class CoMMHeadOutput(Embeddings):
    """[`Embeddings`] with what the head says.

    Attributes:
        logits: `(batch, num_labels)` in float32 or wider: logits of classes or of labels, or the numbers themselves.
    """

    logits: Tensor | None = None


class Standardization(nn.Module):
    """Shifts and scales each dimension of features `(batch, dim)` by numbers that are not trained, 0 and 1 at first.

    Fused vectors of a contrastive pre-training nearly coincide (cosines of .99 on Trifeature): a linear layer on them
    as they are learns very slowly.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Take mean and standard deviation of features `(rows, dim)`; one that never varies is not scaled."""
        features = features.double()
        std = features.std(dim=0, correction=0)
        self.mean.copy_(features.mean(dim=0))
        self.std.copy_(torch.where(std > 1e-6 * features.abs().amax(dim=0), std, 1))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std


class CoMMForSequenceClassification(CoMMModel):
    """A [`CoMMModel`] that says of a row of any modalities to which class it belongs, which labels it has, or numbers.

    The fused vector of all modalities that a row has, standardised by the training rows where a recipe begins with a
    pre-trained model (`standardization.fit`), goes through dropout (`config.classifier_dropout`) and one linear layer,
    `(batch, config.num_labels)`. What it says is `config.problem_type`, as in transformers:
    `"single_label_classification"` (cross-entropy), `"multi_label_classification"` (binary cross-entropy of each
    label) or `"regression"` (squared error of each number); without it, one output is a number, whole labels are
    classes, and others are labels of a row. Names are those of `config.id2label`.

    It starts from scratch, or from a pre-trained [`CoMMModel`] by `from_pretrained` of its folder, with `num_labels`;
    with `config.frozen` encoders and fusion stay as they are. The projection head of the pre-training is kept, and
    neither read nor trained; its regularizers are left behind. With `labels` it is trained, see
    `hf_latent.objectives.comm_labels`.

    Source: Dufumier, Castillo-Navarro et al., ICLR 2025, section 4 ("CoMM fine-tuned"), whose official code has one
    linear layer on the fused vector for labels of a row and for numbers. Classes are trained by `supcon` and a linear
    probe there.
    """

    task = "labels"
    label_layer = "classifier"
    unread_options = frozenset(
        {"extra_heads", "loss_terms", "loss_weights", "objective", "projection_dim", "projection_hidden_dim"}
        | {"regularizers", "temperature"}
    )

    def __init__(self, config: CoMMConfig) -> None:
        if config.regularizers and config.objective == self.task:
            raise ValueError(
                f"regularizers {', '.join(config.regularizers)}: {type(self).__name__} has no space of contrast that "
                "they could shape; leave them out, or pre-train with them"
            )
        config = copy.deepcopy(config)  # it may be that of another model
        config.objective_options = config.objective_options if config.objective == self.task else {}
        config.regularizers, config.extra_heads, config.objective = {}, [], self.task
        super().__init__(config)

    def build(self) -> None:
        self.standardization = Standardization(self.config.embed_dim)
        self.dropout = nn.Dropout(self.config.classifier_dropout)
        self.classifier = nn.Linear(self.config.embed_dim, cast(int, self.config.num_labels))

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """As the base class; what the head does not read, and what is frozen, is not trained."""
        super().initialize_weights()
        for part in (self.head, *self._frozen_parts):
            part.requires_grad_(False)

    @property
    def _frozen_parts(self) -> list[nn.Module]:
        return [self.encoders, self.converters, self.fusion] if self.config.frozen else []

    def train(self, mode: bool = True) -> Self:
        """What is frozen has no dropout."""
        super().train(mode)
        for part in self._frozen_parts:
            part.eval()
        return self

    @can_return_tuple
    def forward(
        self,
        modalities: Modalities,
        augmented_modalities: Modalities | None = None,
        ids: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
        labels: Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> CoMMHeadOutput:
        """Fuse what each row has, and say what the head says of it.

        Args:
            modalities: `{name: {"pixel_values" | "input_ids" | "values" | ...: tensor}}`, as the processor gives it.
                Any subset of the modalities may be given.
            augmented_modalities: Not read.
            ids: `(batch,)`, handed on.
            present: `(batch,)` bool of each modality, the rows that have it; by default all have all. A row that has
                none has no loss.
            labels: `(batch,)` classes, -100 of a row without one; `(batch, num_labels)` zeros and ones of labels; or
                `(batch,)` or `(batch, num_labels)` numbers. A label or number that is NaN has no loss.
            return_loss: Compute the objective. By default where there are labels.

        Returns:
            `logits`, `fused` in evaluation mode, and with labels `row_losses`, `(batch, 2)`: the sum of the losses of
            a row's labels, and how many they are.

        Raises:
            ValueError: If inputs or labels do not fit, or a loss is asked for without labels.
        """
        if return_loss and labels is None:
            raise ValueError("the loss needs labels: give each row one, in a column labels")
        names = self._check(modalities)
        present = checked_presence(present, {name: next(iter(modalities[name].values())) for name in names})
        fused = self._fuse(modalities, None, names, [list(range(len(names)))], present)[:, 0]
        with full_precision(fused.device):
            logits = wide(self.classifier(self.dropout(self.standardization(fused))))
        output = CoMMHeadOutput(logits=logits, ids=ids, present=present)
        if not self.training:
            output.fused = fused
        if labels is not None:
            output.row_losses = {self.task: self.label_losses(logits, labels, output.rows_with())}
            if return_loss is not False:
                output.loss = self.loss_of(output)
        return output

    def score(self, embeddings: Embeddings) -> Embeddings:
        """As they are: nothing is contrasted."""
        return embeddings

    def label_losses(self, logits: Tensor, labels: Tensor, there: Tensor | None = None) -> Tensor:
        """`(batch, 2)`: the sum of the losses of the labels of each row, and how many they are.

        Args:
            logits: `(batch, num_labels)`.
            labels: As of `forward`.
            there: `(batch,)` bool, the rows that have any modality; by default all.

        Raises:
            ValueError: If the labels are of another kind or shape, or out of their range.
        """
        problem = self._problem(labels)
        if problem == "single_label_classification":
            losses, counts = self._of_classes(logits, labels)
        else:
            losses, counts = self._of_each(logits, labels, problem)
        if there is not None:
            losses, counts = losses.where(there, 0), counts.where(there, 0)
        return torch.stack([losses, counts], dim=1)

    def _problem(self, labels: Tensor) -> str:
        """What is said, as transformers finds it where the config does not tell."""
        if self.config.problem_type is not None:
            return self.config.problem_type
        if self.config.num_labels == 1:
            return "regression"
        return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"

    def _of_classes(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if labels.shape != logits.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(
                f"labels {tuple(labels.shape)} {labels.dtype}: classes are whole numbers, one a row, ({len(logits)},)"
                "; several labels of a row or numbers need problem_type: multi_label_classification or regression"
            )
        classes, known = logits.shape[1], labels != IGNORED
        wrong = known & ((labels < 0) | (labels >= classes))
        if wrong.any():
            raise ValueError(
                f"labels {labels[wrong].tolist()[0]}: this model has {classes} classes, give 0 to {classes - 1}"
            )
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
        return losses, known.to(losses)

    def _of_each(self, logits: Tensor, labels: Tensor, problem: str) -> tuple[Tensor, Tensor]:
        """Of labels of a row, or of numbers."""
        numbers = problem == "regression"
        what = "numbers" if numbers else "zeros and ones"
        if labels.ndim == 1 and logits.shape[1] == 1:
            labels = labels[:, None]
        if labels.shape != logits.shape:
            raise ValueError(
                f"labels {tuple(labels.shape)} {labels.dtype}: problem_type {problem} with num_labels "
                f"{logits.shape[1]} reads {what}, {tuple(logits.shape)}"
            )
        labels = labels.to(logits)
        known = ~labels.isnan()
        if not numbers and ((labels != 0) & (labels != 1) & known).any():
            raise ValueError(f"labels: problem_type {problem} reads zeros and ones, {tuple(logits.shape)}")
        aims = labels.where(known, 0)
        of = F.mse_loss if numbers else F.binary_cross_entropy_with_logits
        losses = of(logits, aims, reduction="none").where(known, 0)
        return losses.sum(dim=1), known.to(losses).sum(dim=1)


CoMMForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
