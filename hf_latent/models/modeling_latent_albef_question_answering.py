"""LatentALBEF that answers questions about an image, in words."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertForMaskedLM, BertModel, DynamicCache, EncoderDecoderCache, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions
from transformers.models.bert.modeling_bert import BertPreTrainedModel

from .albef_heads import LatentALBEFHeadOutput, LatentALBEFWithHead, SupervisedLatentALBEF
from .albef_layers import IGNORED, MaskedLanguageHead
from .albef_momentum import distilled_cross_entropy
from .embeddings import text_inputs, wide

MAX_NEW_TOKENS = 20


class AnswerDecoder(LatentALBEFWithHead):
    """The head alone: as many layers as the fusion has, which write an answer from left to right while they look at
    the fused question, and the head for masked words that says which word comes next.

    The layers begin as those of the fusion, their embeddings as those of the text encoder.
    """

    def build(self) -> None:
        super().build()
        config = copy.deepcopy(self.bert.config)
        config.is_decoder = config.add_cross_attention = True
        config.num_hidden_layers = self.config.fusion_layers
        self.decoder = BertModel(config, add_pooling_layer=False)
        self.mlm_head = MaskedLanguageHead(config)

    def initialize_parts(self) -> None:
        super().initialize_parts()
        self.mlm_head.initialize()

    def take_from_bert(self, source: BertForMaskedLM, missing: set[str]) -> None:
        super().take_from_bert(source, missing)
        self.mlm_head.take_from_bert(source, missing)

    def initialized_from(self) -> Iterable[tuple[Tensor, Tensor]]:
        """Those of the decoder."""
        models = dict(self.fusion.layer.named_parameters(prefix="encoder.layer"))
        models |= dict(self.bert.embeddings.named_parameters(prefix="embeddings"))
        return [(part, models[name]) for name, part in self.decoder.named_parameters()]

    def guess(self, hidden: Tensor) -> Tensor:
        """`(..., hidden_size)` of the decoder -> `(..., vocabulary)` logits in float32 or wider."""
        return wide(self.mlm_head(hidden, self.decoder.get_input_embeddings().weight))

    def answer_states(
        self,
        question: Tensor,
        question_mask: Tensor | None,
        answer_ids: Tensor,
        answer_mask: Tensor | None = None,
    ) -> Tensor:
        """`(batch, length, hidden_size)` of the decoder; place t has seen the answer up to token t.

        Args:
            question: `(batch, words, hidden_size)`, the fused question.
            question_mask: `(batch, words)`, 1 or True at real tokens; None where all are.
            answer_ids, answer_mask: `(batch, length)`.
        """
        seen = {"encoder_hidden_states": question, "encoder_attention_mask": question_mask}
        return self.decoder(answer_ids, attention_mask=answer_mask, use_cache=False, **seen).last_hidden_state


class LatentALBEFForQuestionAnswering(SupervisedLatentALBEF, AnswerDecoder):
    """A [`LatentALBEFModel`] that answers a question about an image.

    Three ways to ask: `generate` writes an answer word by word; `rank_answers` orders a list of answers; and with
    `labels`, the tokens of the right answers, it is trained, see `hf_latent.objectives.supervised`.

    It starts from a pre-trained model by `from_pretrained`: the decoder begins as the layers of the fusion, and its
    last layer as the head for masked words.

    Source: Li et al., NeurIPS 2021, section 5.
    """

    task = "answer"
    teacher_class = AnswerDecoder

    def label_losses(
        self, output: LatentALBEFHeadOutput, taught: Tensor | None, attention_mask: Tensor | None, labels: Tensor
    ) -> Tensor:
        """As the base class. A row may hold the answers of several annotators, one behind the other: each counts in
        equal shares, and a row without any has no part in the loss."""
        question = cast(Tensor, output.last_hidden_state)
        shaped = labels.ndim == 2 and len(labels) == len(question) and labels.shape[1] > 1
        if not shaped or labels.is_floating_point():
            raise ValueError(
                f"labels {tuple(labels.shape)}: answers are tokens, [CLS], the words and [SEP], one row a question, "
                f"({len(question)}, length), with {IGNORED} behind their ends"
            )
        mask, words = labels != IGNORED, self.decoder.config.vocab_size
        wrong, torn = mask & ((labels < 0) | (labels >= words)), mask[:, 1:] & ~mask[:, :-1]
        several = (mask & (labels == labels[:, :1])).sum(1) > 1  # each answer begins with [CLS]
        bad, split = torch.stack([wrong.any() | torn.any(), several.any()]).tolist()  # the host waits for it: once
        if bad:
            if wrong.any():
                raise ValueError(f"labels {labels[wrong].tolist()[0]}: the tokens of this model are 0 to {words - 1}")
            raise ValueError(f"labels: {IGNORED} stands behind the end of an answer, not before or in one")
        answers = Answers.read(labels) if split else None
        if answers is not None:
            labels, mask = answers.labels, answers.labels != IGNORED
            question = question[answers.rows]
            attention_mask, taught = answers.pick(attention_mask), answers.pick(taught)
        answer = labels.masked_fill(~mask, self.decoder.config.pad_token_id or 0), mask.long()
        rows, places = mask[:, 1:].nonzero(as_tuple=True)
        guessed = self.guess(self.answer_states(question, attention_mask, *answer)[rows, places])
        if taught is not None:
            with torch.no_grad():
                states = self.momentum.answer_states(taught, attention_mask, *answer)
                taught = self.momentum.guess(states[rows, places])
        sums = distilled_cross_entropy(guessed, labels[rows, places + 1], taught)
        found = sums.new_zeros(len(labels), 3).index_add(0, rows, sums)
        return found if answers is None else answers.shared(found)

    @torch.no_grad()
    def generate(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """Write an answer to each question; the fused question is computed once.

        Args:
            pixel_values: `(batch, 3, height, width)`.
            input_ids, attention_mask, token_type_ids: `(batch, length)`. An answer begins with the first token of its
                question, [CLS], and ends with the last one, [SEP].
            **options: Of `transformers.GenerationMixin.generate`: `num_beams`, `do_sample`, `output_scores` ... At
                most 20 tokens are new by default.

        Returns:
            As that function does: `(batch, length)` tokens, padded behind the end.
        """
        text = text_inputs(input_ids, attention_mask, token_type_ids)
        start, end = _ends_of(input_ids, attention_mask)
        options = {"eos_token_id": end, "pad_token_id": self.decoder.config.pad_token_id or 0, **options}
        if not {"max_length", "max_new_tokens", "generation_config"} & set(options):
            options["max_new_tokens"] = MAX_NEW_TOKENS
        if options.get("use_cache") is not False:
            config = self.decoder.config
            options["past_key_values"] = EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
        if attention_mask is not None:
            options["encoder_attention_mask"] = attention_mask
        writer = AnswerWriter(self).train(self.training)
        return writer.generate(start, encoder_hidden_states=self.fuse(pixel_values, text), **options)

    @torch.no_grad()
    def rank_answers(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        answer_ids: Tensor | None = None,
        answer_mask: Tensor | None = None,
        k: int = 128,
        token_type_ids: Tensor | None = None,
        batch_size: int = 512,
    ) -> Tensor:
        r"""How likely each answer of a list is: \( \sum_t \log p(\text{token}_t \mid \text{tokens before}) \).

        In two stages, as in the paper: of each question the `k` answers whose first word is the likeliest are kept,
        and only these are scored whole. With as many as there are answers, the order is exact.

        The official code adds the logarithm of the first word's probability once more; here it counts once.

        Args:
            pixel_values: `(batch, 3, height, width)`.
            input_ids, attention_mask, token_type_ids: The questions, `(batch, length)`.
            answer_ids, answer_mask: `(answers, length)`, [CLS] and the words and [SEP]; padding has mask 0.
            k: Answers of a question that are scored whole.
            batch_size: Pairs of a question and an answer that are scored at a time.

        Returns:
            `(batch, answers)` log-likelihoods in float32, `-inf` for an answer that was not kept.

        Raises:
            ValueError: If there are no answers, `k` is below 1, or the answers are not tokens between [CLS] and [SEP].
        """
        if k < 1:
            raise ValueError(f"k={k}: give 1 or more candidates")
        answers, mask = _checked_answers(answer_ids, answer_mask)
        question = self.fuse(pixel_values, text_inputs(input_ids, attention_mask, token_type_ids))
        first = self.answer_states(question, attention_mask, answers[:1, :1].expand(len(question), 1))[:, 0]
        begins = F.log_softmax(self.guess(first), dim=-1)[:, answers[:, 1]]
        kept = begins.topk(min(k, len(answers))).indices
        asked = torch.arange(len(question), device=kept.device).repeat_interleave(kept.shape[1])
        found = []
        for rows, chosen in zip(asked.split(batch_size), kept.flatten().split(batch_size), strict=True):
            seen = None if attention_mask is None else attention_mask[rows]
            states = self.answer_states(question[rows], seen, answers[chosen], mask[chosen])[:, :-1]
            log_p = F.log_softmax(self.guess(states), dim=-1).gather(2, answers[chosen, 1:, None]).squeeze(2)
            found.append((log_p * mask[chosen, 1:]).sum(1))
        scores = torch.cat(found).float().view_as(kept)
        return scores.new_full(begins.shape, float("-inf")).scatter(1, kept, scores)


@dataclass
class Answers:
    """The different answers of each row, where rows have those of several annotators.

    Attributes:
        labels: `(answers, length)`, the tokens of each with -100 behind them.
        rows: `(answers,)`, the row that each is of.
        counts, of: `(answers,)`, how many of the annotators of its row gave it, and how many there are.
        batch: How many rows there are.
    """

    labels: Tensor
    rows: Tensor
    counts: Tensor
    of: Tensor
    batch: int

    @classmethod
    def read(cls, labels: Tensor) -> "Answers":
        """Those of `(batch, length)` tokens, in which answers stand one behind the other, each from [CLS] to [SEP]."""
        mask = labels != IGNORED
        rows, _ = mask.nonzero(as_tuple=True)
        begins = (mask & (labels == labels[:, :1]))[mask]
        which = begins.cumsum(0) - 1
        firsts = begins.nonzero().squeeze(1)
        places = torch.arange(len(which), device=labels.device) - firsts[which]
        each = labels.new_full((len(firsts), int(places.max()) + 1), IGNORED)
        each[which, places] = labels[mask]
        own = rows[firsts]
        distinct, counts = torch.unique(torch.cat([own[:, None], each], dim=1), dim=0, return_counts=True)
        of_row = torch.bincount(own, minlength=len(labels))
        return cls(distinct[:, 1:], distinct[:, 0], counts, of_row[distinct[:, 0]], len(labels))

    def pick(self, rows: Tensor | None) -> Tensor | None:
        """What each answer is of, from what there is of each row."""
        return None if rows is None else rows[self.rows]

    def shared(self, losses: Tensor) -> Tensor:
        """`(answers, 3)` losses, weighted and added up for each row, `(batch, 3)`."""
        weighted = losses * (self.counts.to(losses) / self.of)[:, None]
        return losses.new_zeros(self.batch, losses.shape[1]).index_add(0, self.rows, weighted)


class AnswerWriter(BertPreTrainedModel, GenerationMixin):
    """The decoder of a model as `transformers` generates with: a view of its parts, which has none of its own.

    The model itself is no `GenerationMixin`: that would take the temperature of its contrast for one of sampling.
    """

    def __init__(self, model: AnswerDecoder) -> None:
        super().__init__(model.decoder.config)
        self.decoder, self.mlm_head = model.decoder, model.mlm_head
        self.guess = model.guess

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        **inputs: Any,
    ) -> CausalLMOutputWithCrossAttentions:
        seen = {"encoder_hidden_states": encoder_hidden_states, "encoder_attention_mask": encoder_attention_mask}
        output = self.decoder(input_ids, attention_mask=attention_mask, **seen, **inputs)
        logits = self.guess(output.last_hidden_state)
        return CausalLMOutputWithCrossAttentions(logits=logits, past_key_values=output.past_key_values)


def _ends_of(input_ids: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, int]:
    """`(batch, 1)`, the tokens that the sentences begin with, and the one token that they all end with."""
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    if not mask.any(1).all():
        raise ValueError("attention_mask: a question is all padding; an empty one is [CLS] and [SEP]")
    place = torch.arange(input_ids.shape[1], device=input_ids.device)
    first, last = (place.where(mask.bool(), other) for other in (input_ids.shape[1], -1))
    ends = input_ids.gather(1, last.amax(1, keepdim=True)).unique().tolist()
    if len(ends) > 1:
        raise ValueError(f"the questions end in different tokens, {ends}: end each with the same, such as [SEP]")
    return input_ids.gather(1, first.amin(1, keepdim=True)), ends[0]


def _checked_answers(answer_ids: Tensor | None, answer_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    if answer_ids is None or len(answer_ids) == 0:
        raise ValueError("the list of answers is empty: give answer_ids, (answers, length)")
    mask = torch.ones_like(answer_ids) if answer_mask is None else answer_mask.long()
    shaped = answer_ids.ndim == 2 and answer_ids.shape[1] > 1 and mask.shape == answer_ids.shape
    whole = shaped and bool(mask[:, :2].all())
    if not whole or len(answer_ids[:, 0].unique()) > 1:
        raise ValueError(
            f"answer_ids {tuple(answer_ids.shape)}: each answer is a row of tokens, the same [CLS] and the words and "
            "[SEP], with padding behind them"
        )
    return answer_ids, mask


LatentALBEFForQuestionAnswering.register_for_auto_class("AutoModelForVisualQuestionAnswering")
