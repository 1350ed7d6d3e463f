"""Pre-training of LatentALBEF: contrast, matching and masked words, with momentum encoders as teachers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertForMaskedLM
from transformers.utils import can_return_tuple

from .albef_layers import IGNORED, MaskedLanguageHead, TokensRead
from .albef_momentum import MomentumDistilled, distilled_cross_entropy
from .configuration_latent_albef import MODALITIES
from .embeddings import Embeddings, HardNegatives, full_precision, image_inputs, text_inputs, wide
from .encoders import EncoderOutput
from .feature_queue import FeatureQueue
from .modeling_latent_albef import LatentALBEFForImageTextRetrieval, LatentALBEFModel, LatentALBEFOutput


@dataclass(frozen=True)
class MaskedWords:
    """Texts with masked words.

    Attributes:
        inputs: Of the text encoder.
        labels: `(batch, length)`, the token at each place that is to be guessed, -100 at all others.
    """

    inputs: dict[str, Tensor]
    labels: Tensor

    @cached_property
    def read(self) -> TokensRead:
        """Where the words are that are to be guessed. An accelerator is waited for once, whoever asks."""
        return TokensRead.where(self.labels != IGNORED)


class LatentALBEFTeacher(LatentALBEFModel):
    """The momentum copy of a model: it follows, and is never trained. It has no dropout."""

    def build(self) -> None:
        super().build()
        if self.config.mlm_weight and self.config.alpha:
            self.mlm_head = MaskedLanguageHead(self.bert.config)


class LatentALBEFForPreTraining(MomentumDistilled, LatentALBEFForImageTextRetrieval):
    """A [`LatentALBEFModel`] with its three pre-training tasks: image-text contrast, matching, masked words.

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
        self.fusion.requires_grad_(self.config.itm_weight > 0 or self.config.mlm_weight > 0)

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
            return_loss: Compute the objective. By default in training mode, and where `labels` are given. In
                evaluation mode the negatives of matching are the nearest ones, not drawn.

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
        if return_loss is None:
            return_loss = self.training or labels is not None
        if not self.training and not return_loss:
            return output
        self.check_paired(output)
        words = self._words(text, masked_input_ids, labels)
        taught = self._taught(output, image, text, words)
        hard_negatives = {name: HardNegatives(rows, {}) for name, rows in self._negatives(output).items()}
        self._add_row_losses(output, encoded, words, taught, hard_negatives)
        if return_loss:
            output.loss = self.loss_of(output)
        return output

    # The same in the two passes of the gradient cache: the momentum copy runs once, in the first, and matching and the
    # words in the second.

    def first_pass(self, **batch: Any) -> tuple[Embeddings, Any]:
        image, text = inputs_of(batch)
        words = self._words(text, batch.get("masked_input_ids"), batch.get("labels"))
        output, _ = self.embed(image, text, batch.get("ids"))
        self.check_paired(output)
        taught = self._taught(output, image, text, words)
        blank = wide(cast(dict[str, Tensor], output.embeds)["image"]).new_zeros(len(text["input_ids"]), 1)
        losses = {}
        if self.config.itm_weight:
            losses["itm"] = blank.expand(-1, 2).clone()
        if words is not None:
            losses["mlm"] = torch.cat([blank, blank, (words.labels != IGNORED).sum(1, keepdim=True).to(blank)], dim=1)
        output.row_losses = losses or None
        return output, (output.augmented, output.independent_augmented, words, taught)

    @torch.no_grad()
    def choose_hard_negatives(self, embeddings: Embeddings) -> dict[str, Tensor]:
        negatives = self._negatives(embeddings)
        if negatives:
            counts = cast(dict[str, Tensor], embeddings.row_losses)["itm"][:, 1]
            counts.fill_(1)
            for rows in negatives.values():
                counts += rows >= 0
        return negatives

    def second_pass(self, known: Any, hard_negatives: Mapping[str, HardNegatives], **batch: Any) -> Embeddings:
        image, text = inputs_of(batch)
        output, encoded = self.embed(image, text, batch.get("ids"))
        output.augmented, output.independent_augmented, words, taught = known
        self._add_row_losses(output, encoded, words, taught, hard_negatives)
        return output

    def _words(self, text: dict[str, Tensor], masked: Tensor | None, labels: Tensor | None) -> MaskedWords | None:
        """None without the task."""
        if not self.config.mlm_weight:
            return None
        if masked is None or labels is None:
            raise ValueError("masked language modelling needs masked_input_ids and labels, or mlm_weight 0")
        return MaskedWords({**text, "input_ids": masked}, labels)

    @torch.no_grad()
    def _taught(
        self,
        output: LatentALBEFOutput,
        image: dict[str, Tensor],
        text: dict[str, Tensor],
        words: MaskedWords | None,
    ) -> Tensor | None:
        """Adds the second view, that of the momentum copy; returns what it makes of the masked words, `(words,
        hidden_size)`, or None where it is not heard."""
        taught, tokens = self.momentum.embed(image, text)
        output.augmented, output.independent_augmented = taught.embeds, taught.independent
        if words is None or not self.config.alpha:
            return None
        masked = self.momentum.encoders["text"](**words.inputs)
        seen = self.momentum.fusion.image_tokens(tokens["image"])
        return self.momentum.fusion(masked.tokens, seen, masked.attention_mask, read=words.read)

    def _negatives(self, output: Embeddings) -> dict[str, Tensor]:
        """For each row the text that is wrong for its image, and the image that is wrong for its text; -1 for none."""
        if not self.config.itm_weight:
            return {}
        with torch.no_grad(), full_precision(self.device):
            z = cast(Any, self.score(output))
            ids = torch.arange(len(z.embeds["image"]), device=self.device) if output.ids is None else output.ids
            same = ids[:, None] == ids
            found = {}
            for name, other in (("text", "image"), ("image", "text")):
                rows, there = pick_negatives(self.scale * z.embeds[other] @ z.augmented[name].T, same, self.training)
                found[name] = torch.where(there, rows, -1)
        return found

    def _add_row_losses(
        self,
        output: LatentALBEFOutput,
        encoded: dict[str, EncoderOutput],
        words: MaskedWords | None,
        taught: Tensor | None,
        hard_negatives: Mapping[str, HardNegatives],
    ) -> None:
        """What needs tokens: all of it goes through the fusion in one call, where each image's keys and values are
        made once, and in the last layer only what is read: the first token of a pair, the words that are masked."""
        if not (self.config.itm_weight or self.config.mlm_weight):
            return
        images, text = self.fusion.image_tokens(encoded["image"]), encoded["text"]
        rows = torch.arange(len(images), device=images.device)
        tasks = {}  # of each: the texts and their mask, the image that each sees, and what is read of them
        if self.config.itm_weight:
            images, text = self._with_hard_negatives(images, text, hard_negatives)
            wrong_text, wrong_image = hard_negatives["text"].places, hard_negatives["image"].places
            which = torch.cat([rows, wrong_text, rows])
            mask = None if text.attention_mask is None else text.attention_mask[which]
            first = TokensRead.first(len(which), which.device)
            tasks["itm"] = cast(Tensor, text.tokens)[which], mask, torch.cat([rows, rows, wrong_image]), first
        if words is not None:
            masked = self.encoders["text"](**words.inputs)
            tasks["mlm"] = cast(Tensor, masked.tokens), masked.attention_mask, rows, words.read
        texts, masks, seen, reads = zip(*tasks.values(), strict=True)
        mask = None if masks[0] is None else torch.cat(masks)
        hidden = self.fusion(torch.cat(texts), images, mask, torch.cat(seen) % len(images), TokensRead.join(reads))
        fused = dict(zip(tasks, hidden.split([len(read) for read in reads]), strict=True))
        losses = {}
        if self.config.itm_weight:
            there = torch.cat([torch.ones_like(rows), wrong_text >= 0, wrong_image >= 0])
            losses["itm"] = self._matching_losses(fused["itm"], there)
        if words is not None:
            losses["mlm"] = self._word_losses(fused["mlm"], words.read, words.labels, taught)
        output.row_losses = losses

    def _with_hard_negatives(
        self, images: Tensor, text: EncoderOutput, hard_negatives: Mapping[str, HardNegatives]
    ) -> tuple[Tensor, EncoderOutput]:
        """Image tokens and texts, with those of the hard negatives that the batch does not hold behind them."""
        if others := hard_negatives["image"].inputs:
            more = self.encoders["image"](**inputs_of(others)[0])
            images = torch.cat([images, self.fusion.image_tokens(more)])
        if others := hard_negatives["text"].inputs:
            more = self.encoders["text"](**inputs_of(others)[1])
            mask = None if text.attention_mask is None else torch.cat([text.attention_mask, more.attention_mask])
            text = EncoderOutput(tokens=torch.cat([cast(Tensor, text.tokens), more.tokens]), attention_mask=mask)
        return images, text

    def _matching_losses(self, fused: Tensor, there: Tensor) -> Tensor:
        """`(batch, 2)`: the sum of the cross-entropies of a pair and its two negatives, and how many there are."""
        logits = wide(self.itm_head(fused))
        truth = torch.zeros_like(there)
        truth[: len(there) // 3] = 1
        counted = there.to(logits)
        losses = F.cross_entropy(logits, truth.long(), reduction="none") * counted
        return torch.stack([part.view(3, -1).sum(0) for part in (losses, counted)], dim=1)

    def _word_losses(self, fused: Tensor, read: TokensRead, labels: Tensor, taught: Tensor | None) -> Tensor:
        """`(batch, 3)`: cross-entropies against the masked words, against the momentum copy's guesses of them, and how
        many words a row has masked.

        Args:
            fused: `(words, hidden_size)`, the masked words.
            read: Where they are.
            labels: `(batch, length)`.
            taught: As `fused`, of the momentum copy; None where it is not heard.
        """
        guessed = guess_words(self, fused)
        if taught is not None:
            with torch.no_grad():
                taught = guess_words(self.momentum, taught)
        sums = distilled_cross_entropy(guessed, labels[read.rows, read.places], taught)
        return sums.new_zeros(len(labels), 3).index_add(0, read.rows, sums)


def inputs_of(batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The arguments of the image encoder and of the text encoder."""
    text = (batch.get(name) for name in ("input_ids", "attention_mask", "token_type_ids"))
    return image_inputs(batch.get("pixel_values")), text_inputs(*text)


def guess_words(model: Any, hidden: Tensor) -> Tensor:
    """`(words, vocabulary)` logits, in float32 or wider."""
    return wide(model.mlm_head(hidden, model.bert.get_input_embeddings().weight))


def pick_negatives(logits: Tensor, same: Tensor, draw: bool) -> tuple[Tensor, Tensor]:
    """A hard negative for every row, the likelier the more it looks like the right one.

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
