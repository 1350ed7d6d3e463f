"""Sentences with words left out, and what they were: masked language modelling."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator

from .base import PROBABILITY, TOKEN, VIEWS, Inputs, Rule, View, check, send, take
from .text import TOKENS, fill_in, is_one_of, known, or_none

IGNORED = -100
COUNT: Rule = (lambda v: isinstance(v, int) and v > 0, "a whole number above 0")


@VIEWS.register("masked")
@dataclass(frozen=True, kw_only=True)
class MaskedView(View):
    """BERT's masking (Devlin et al. 2019, section 3.1): each token of `input_ids` (B, T) is chosen with
    `mask_probability`; of the chosen, 80 % become `mask_token_id`, 10 % a random token and 10 % stay.

    Adds `labels` (B, T): the token at each chosen place, -100 at all others. `for_tokenizer` fills in the ids that are
    left out. Padding (where `attention_mask` is 0; none without that key) and `special_token_ids` are never chosen.
    A row may have no chosen token.

    Args:
        mask_token_id: id of the mask token; the tokenizer's by default.
        mask_probability: probability that a token is chosen.
        vocab_size: number of ids from which random tokens are drawn; the tokenizer's by default.
        special_token_ids: ids of tokens that are never chosen; the tokenizer's special tokens by default.
    """

    kinds = ("text",)

    mask_token_id: int | None = None
    mask_probability: float = 0.15
    vocab_size: int | None = None
    special_token_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check(self, "mask_probability", *PROBABILITY)
        check(self, "mask_token_id", *or_none(TOKEN))
        check(self, "vocab_size", *or_none(COUNT))
        check(self, "special_token_ids", *or_none(TOKENS))

    def for_tokenizer(self, tokenizer: Any) -> "MaskedView":
        if tokenizer is None:
            return self
        if self.mask_token_id is None and tokenizer.mask_token_id is None:
            raise ValueError("the tokenizer has no mask token: write mask_token_id, or another kind of view")
        special = tuple(sorted(tokenizer.all_special_ids))
        ids = {"mask_token_id": tokenizer.mask_token_id, "special_token_ids": special}
        return fill_in(self, vocab_size=len(tokenizer), **ids)

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        """Uniform numbers (rows, T): which places, what becomes of them, and of which random token."""
        length = take(inputs, "input_ids", "masked").shape[1]
        # step by step, so that a wider padding changes nothing before it
        numbers = torch.rand(length, rows, 3, generator=generator).permute(2, 1, 0)
        return dict(zip(("choose", "become", "token"), numbers, strict=True))

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        ids = take(inputs, "input_ids", "masked")
        mask_token_id, vocab_size = known(self, "mask_token_id"), known(self, "vocab_size")
        noise = {name: send(numbers, ids) for name, numbers in noise.items()}
        chosen = (noise["choose"] < self.mask_probability) & ~is_one_of(ids, self.special_token_ids)
        if "attention_mask" in inputs:
            chosen &= inputs["attention_mask"].bool()
        masked = torch.where(chosen & (noise["become"] < 0.8), mask_token_id, ids)
        random = (noise["token"] * vocab_size).long().clamp(max=vocab_size - 1)  # rounding may reach vocab_size
        masked = torch.where(chosen & (noise["become"] >= 0.9), random.to(ids.dtype), masked)
        return {**inputs, "input_ids": masked, "labels": ids.masked_fill(~chosen, IGNORED)}
