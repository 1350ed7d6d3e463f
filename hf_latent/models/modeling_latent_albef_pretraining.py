"""Pre-training of LatentALBEF: contrast, matching and masked words, with momentum encoders as teachers."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertForMaskedLM
from transformers.utils import can_return_tuple

from .albef_layers import MaskedLanguageHead
from .albef_momentum import MomentumTaught
from .configuration_latent_albef import MODALITIES
from .embeddings import Embeddings, full_precision, image_inputs, text_inputs, wide
from .encoders import EncoderOutput
from .feature_queue import FeatureQueue
from .modeling_latent_albef import LatentALBEFForImageTextRetrieval, LatentALBEFModel, LatentALBEFOutput

IGNORED = -100  # the label of a token that is not guessed


class LatentALBEFTeacher(LatentALBEFModel):
    """The momentum copy of a model: it follows, and is never trained. It has no dropout."""

    def build(self) -> None:
        super().build()
        if self.config.mlm_weight and self.config.alpha:
            self.mlm_head = MaskedLanguageHead(self.bert.config)


class LatentALBEFForPreTraining(MomentumTaught, LatentALBEFForImageTextRetrieval):
    """A [`LatentALBEFModel`] with the three pre-training tasks of its paper.

    Image-text contrast compares a batch with the features that a momentum copy of the model gives of the rows of all
    processes and of earlier batches (the queue). Image-text matching tells pairs from hard negatives, out of the rows
    of this process. Masked language modelling guesses words from their neighbours and the image. The answers of the
    momentum copy soften the targets of contrast and of the words. See the objective in `hf_latent.objectives.albef`.

    `forward` changes no state: the momentum copy and the queue step in `on_optimizer_step`, after `on_batch_scored`
    was told the batch. `LatentTrainer` calls both; another training loop must. Its checkpoints hold momentum copy and
    queue, and what `save_pretrained` writes otherwise does not: loaded again, the copy begins as the model, the queue
    empty.
    """

    teacher_class = LatentALBEFTeacher
    training_state = ("momentum.", "feature_queue.")
    _keys_to_ignore_on_load_missing = [r"^momentum\.", r"^feature_queue\."]

    def build(self) -> None:
        super().build()
        if self.config.mlm_weight:
            self.mlm_head = MaskedLanguageHead(self.bert.config)
        size = self.config.queue_size
        self.feature_queue = FeatureQueue(size, self.config.projection_dim, MODALITIES) if size else None
        self._scored: list[tuple[dict[str, Tensor], Tensor | None]] = []

    def initialize_parts(self) -> None:
        super().initialize_parts()
        if self.config.mlm_weight:
            self.mlm_head.initialize()
        if self.feature_queue is not None:
            self.feature_queue.initialize()

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """As the base classes; what no task reads is not trained."""
        super().initialize_weights()
        self.itm_head.requires_grad_(self.config.itm_weight > 0)
        self.fusion.requires_grad_(self._fuses)

    def take_from_bert(self, source: BertForMaskedLM, missing: set[str]) -> None:
        """The last layers of a BERT, and its head for masked words where it has one."""
        super().take_from_bert(source, missing)
        if self.config.mlm_weight:
            self.mlm_head.take_from_bert(source, missing)

    # What moves between steps

    @property
    def queue(self) -> Embeddings | None:
        return None if self.feature_queue is None else self.feature_queue.embeddings()

    def on_batch_scored(self, embeddings: Embeddings) -> None:
        """Keep the momentum features of a training batch until the optimizer has stepped."""
        if self.feature_queue is not None:
            features = cast(dict[str, Tensor], embeddings.augmented)
            self._scored.append(({name: rows.detach() for name, rows in features.items()}, embeddings.ids))

    @torch.no_grad()
    def on_optimizer_step(self) -> None:
        """Keep the temperature in its range, let the momentum copy follow, and queue what was scored."""
        super().on_optimizer_step()
        for features, ids in self._scored:
            cast(FeatureQueue, self.feature_queue).push(features, ids)
        self._scored.clear()

    # Batches

    @property
    def why_whole(self) -> str | None:
        if not self.config.itm_weight:
            return None
        return "image-text matching (model.itm_weight) picks hard negatives among all rows of a process"

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        """The masked words."""
        return {"text"} if self.config.mlm_weight else set()

    def pack(
        self,
        modalities: Mapping[str, Any],
        augmented: Mapping[str, Any] | None = None,
        ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Any]:
        packed = super().pack(modalities, ids=ids)
        if augmented is not None:
            if "labels" not in augmented["text"]:
                raise ValueError("masked language modelling needs a view that masks: write kind: masked for the text")
            packed |= {"masked_input_ids": augmented["text"]["input_ids"], "labels": augmented["text"]["labels"]}
        return packed

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        masked_input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        ids: Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> LatentALBEFOutput:
        """Embed a batch, and in training mode all that the objective reads of it.

        Args:
            pixel_values: `(batch, 3, height, width)`.
            input_ids, attention_mask, token_type_ids: `(batch, length)`.
            masked_input_ids: `(batch, length)`, the same words with some of them masked.
            labels: `(batch, length)`, the token at each place that is to be guessed, -100 at all others.
            ids: `(batch,)`, rows with the same id are positives of each other.
            return_loss: Compute the objective. By default in training mode. In evaluation mode the negatives of
                matching are the nearest ones, not drawn.

        Returns:
            Raw embeddings. In training mode, or with `return_loss`, also those of the momentum copy (`augmented`) and
            `row_losses`: `itm`, `(batch, 2)`, and `mlm`, `(batch, 3)` with the sums against the true words and
            against the momentum copy's.

        Raises:
            ValueError: If images and texts do not come in pairs, or the masked words are missing.
        """
        text = text_inputs(input_ids, attention_mask, token_type_ids)
        image = image_inputs(pixel_values)
        output, encoded = self.embed(image, text, ids)
        if not self.training and not return_loss:
            return output
        self.check_paired(output)
        with torch.no_grad():
            taught, teacher = self.momentum.embed(image, text)
        output.augmented, output.independent_augmented = taught.embeds, taught.independent
        tokens, losses = self.fusion.image_tokens(encoded["image"]) if self._fuses else None, {}
        if self.config.itm_weight:
            losses["itm"] = self._matching_losses(cast(Tensor, tokens), encoded["text"], output)
        if self.config.mlm_weight:
            if masked_input_ids is None or labels is None:
                raise ValueError("masked language modelling needs masked_input_ids and labels, or mlm_weight 0")
            masked = {**text, "input_ids": masked_input_ids}
            losses["mlm"] = self._word_losses(cast(Tensor, tokens), masked, labels, teacher["image"])
        output.row_losses = losses or None
        if return_loss is not False:
            output.loss = self.loss_of(output)
        return output

    @property
    def _fuses(self) -> bool:
        return self.config.itm_weight > 0 or self.config.mlm_weight > 0

    def _matching_losses(self, image_tokens: Tensor, text: EncoderOutput, output: LatentALBEFOutput) -> Tensor:
        """`(batch, 2)`: the sum of the cross-entropies of a pair and its two negatives, and how many there are."""
        with torch.no_grad(), full_precision(self.device):
            z = cast(Any, self.score(output))
            own, ids = torch.arange(len(image_tokens), device=self.device), output.ids
            ids = own if ids is None else ids
            same = ids[:, None] == ids
            of_image, text_there = pick_negatives(
                self.scale * z.embeds["image"] @ z.augmented["text"].T, same, self.training
            )
            of_text, image_there = pick_negatives(
                self.scale * z.embeds["text"] @ z.augmented["image"].T, same, self.training
            )
        texts, images = torch.cat([own, of_image, own]), torch.cat([own, own, of_text])
        mask = None if text.attention_mask is None else text.attention_mask[texts]
        logits = self.match(image_tokens[images], cast(Tensor, text.tokens)[texts], mask)
        there = torch.cat([torch.ones_like(text_there), text_there, image_there]).to(logits)
        truth = (texts == images).long()
        losses = F.cross_entropy(logits, truth, reduction="none") * there
        return torch.stack([part.view(3, -1).sum(0) for part in (losses, there)], dim=1)

    def _word_losses(
        self, image_tokens: Tensor, masked: dict[str, Tensor], labels: Tensor, teacher_image: EncoderOutput
    ) -> Tensor:
        """`(batch, 3)`: cross-entropies against the masked words, against the momentum copy's guesses of them, and how
        many words a row has masked."""
        rows, places = (labels != IGNORED).nonzero(as_tuple=True)
        log_guess = F.log_softmax(guess_words(self, image_tokens, masked, rows, places), dim=-1)
        hard = soft = -log_guess.gather(1, labels[rows, places, None]).squeeze(1)
        if self.config.alpha:
            with torch.no_grad():
                tokens = self.momentum.fusion.image_tokens(teacher_image)
                taught = guess_words(self.momentum, tokens, masked, rows, places).softmax(dim=-1)
            soft = -(taught * log_guess).sum(dim=1)
        sums = torch.stack([hard, soft, torch.ones_like(hard)], dim=1)
        return sums.new_zeros(len(labels), 3).index_add(0, rows, sums)


def guess_words(model: Any, image_tokens: Tensor, masked: dict[str, Tensor], rows: Tensor, places: Tensor) -> Tensor:
    """`(words, vocabulary)` logits of the tokens at some places, in float32 or wider."""
    text = model.encoders["text"](**masked)
    hidden = model.fusion(text.tokens, image_tokens, text.attention_mask)[rows, places]
    return wide(model.mlm_head(hidden, model.bert.get_input_embeddings().weight))


def pick_negatives(logits: Tensor, same: Tensor, draw: bool) -> tuple[Tensor, Tensor]:
    """A wrong partner for every row, the likelier the more it looks like the right one.

    Args:
        logits: `(batch, batch)`, of every row against all candidates.
        same: `(batch, batch)` bool, where a candidate is right for a row, so no negative.
        draw: By the softmax of the logits; otherwise the largest one.

    Returns:
        `(batch,)` candidates, and whether the row has a wrong one at all; where not, the candidate is arbitrary.
    """
    logits = logits.masked_fill(same, float("-inf"))
    if draw:
        # An exponential race draws by the softmax, whatever the logits are; torch.multinomial stops at sums of zero.
        logits = logits - torch.empty_like(logits).exponential_().log()
    return logits.argmax(dim=1), ~same.all(dim=1)


LatentALBEFForPreTraining.register_for_auto_class("AutoModelForPreTraining")
