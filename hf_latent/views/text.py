"""Random masks of tokens, and random swaps, deletions and insertions of whole words."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from .base import PROBABILITY, TOKEN, VIEWS, Inputs, Rule, View, check, send, take

_V = TypeVar("_V", bound=View)
TOKENS: Rule = (lambda v: all(map(TOKEN[0], v)), "a list of token ids of the tokenizer")


@VIEWS.register("text")
@dataclass(frozen=True, kw_only=True)
class TextView(View):
    """Token masking: each token of `input_ids` (B, T) becomes `mask_token_id` with `mask_probability`, independently.

    CoMM's text augmentation (arXiv 2409.07402). `for_tokenizer` fills in the ids that are left out. Padding (where
    `attention_mask` is 0; none without that key) and `special_token_ids`, such as those of [CLS] and [SEP], are never
    masked.

    Args:
        mask_token_id: id of the mask token; the tokenizer's by default.
        mask_probability: probability that a token is masked.
        special_token_ids: ids of tokens that are never masked; the tokenizer's special tokens by default.
    """

    kinds = ("text",)

    mask_token_id: int | None = None
    mask_probability: float = 0.15
    special_token_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check(self, "mask_probability", *PROBABILITY)
        check(self, "mask_token_id", *or_none(TOKEN))
        check(self, "special_token_ids", *or_none(TOKENS))

    def for_tokenizer(self, tokenizer: Any) -> "TextView":
        if tokenizer is None:
            return self
        if self.mask_token_id is None and tokenizer.mask_token_id is None:
            raise ValueError("the tokenizer has no mask token: write mask_token_id, or kind: words")
        return fill_in(
            self, mask_token_id=tokenizer.mask_token_id, special_token_ids=tuple(sorted(tokenizer.all_special_ids))
        )

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        length = take(inputs, "input_ids", "text").shape[1]
        # step by step, so that a wider padding changes nothing before it
        return {"mask": (torch.rand(length, rows, generator=generator) < self.mask_probability).T}

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        ids = take(inputs, "input_ids", "text")
        mask_token_id = known(self, "mask_token_id")
        masked = send(noise["mask"], ids) & ~is_one_of(ids, self.special_token_ids)
        if "attention_mask" in inputs:
            masked &= inputs["attention_mask"].bool()
        return {**inputs, "input_ids": ids.masked_fill(masked, mask_token_id)}


@VIEWS.register("words")
@dataclass(frozen=True, kw_only=True)
class WordsView(View):
    """Random swaps, deletions and insertions of whole words: "easy data augmentation" (EDA, arXiv 1901.11196).

    Works on `input_ids` and `attention_mask` (B, L). `word_ids` (B, L), as a fast tokenizer's `word_ids()` with -1 for
    None, says which word a token belongs to; it is used up here and never reaches the model. Without it every real
    token that is not one of `special_token_ids` is a word, as it is for a word-level tokenizer.

    Args:
        pad_token_id: what fills the end that deletions leave empty; the tokenizer's, as `for_tokenizer` fills it in.
        swap: each word, with this probability, trades places with a random other one; a word trades once at most.
        delete: each word is left out with this probability; of a sentence that would lose all, a random word stays.
        insert: each word that stays is said a second time, with this probability, at a random place; while it fits.
        special_token_ids: what is no word where there is no `word_ids`; the tokenizer's special tokens by default.
        padding_side: "right" or "left", that of the output, for rows without padding too; the tokenizer's by default,
            else "right".

    What stands before the first word and behind the last one ([CLS], [SEP], end of text) stays there, next to the
    words; a special token between two words, such as an unknown word, counts as a word. Other keys pass as they are.

    A row never gets more tokens than it had, so insertions need the room that deletions make (at the defaults, in a
    sentence of ten words of one token, about half of them find it). Padding is no room: a row's view would depend on
    how wide its batch is, which differs between processes and chunks.

    Differs from EDA: each word tosses its own coin, so a sentence of n words sees about 0.1 n operations of each kind,
    perhaps none, where EDA applies one kind, max(1, 0.1 n) times; an inserted word is one of the sentence, since
    synonyms, and so EDA's synonym replacement, need a thesaurus of the language.

    Raises:
        ValueError: an option out of its range, `insert` without `delete`, a missing key, or `word_ids` of other shape.
    """

    kinds = ("text",)

    pad_token_id: int | None = None
    swap: float = 0.1
    delete: float = 0.1
    insert: float = 0.1
    special_token_ids: tuple[int, ...] | None = None
    padding_side: str | None = None

    def __post_init__(self) -> None:
        check(self, "swap delete insert", *PROBABILITY)
        check(self, "pad_token_id", *or_none(TOKEN))
        check(self, "special_token_ids", *or_none(TOKENS))
        check(self, "padding_side", lambda v: v in ("right", "left", None), "right or left, as the tokenizer's")
        check(self, "insert", lambda v: v == 0 or self.delete > 0, "0, or a delete above 0: only deletions make room")

    def for_tokenizer(self, tokenizer: Any) -> "WordsView":
        if tokenizer is None:
            return self
        return fill_in(
            self,
            pad_token_id=tokenizer.pad_token_id,
            special_token_ids=tuple(sorted(tokenizer.all_special_ids)),
            padding_side=tokenizer.padding_side,
        )

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        """Uniform numbers (rows, L) of the first, second, ... word of a row, wherever its tokens are."""
        length = take(inputs, "input_ids", "words").shape[1]
        # word by word, so that a wider padding changes nothing before it
        numbers = torch.rand(length, rows, 5, generator=generator).permute(2, 1, 0)
        return dict(zip(("swap", "partner", "delete", "insert", "place"), numbers, strict=True))

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        ids, mask = take(inputs, "input_ids", "words"), take(inputs, "attention_mask", "words")
        pad_token_id, on_right = known(self, "pad_token_id"), self.padding_side != "left"
        noise = {name: send(numbers, ids) for name, numbers in noise.items()}
        real, length = mask.bool(), ids.shape[1]
        inside, before, word, count = self._words(inputs, real)
        places = torch.arange(length, device=ids.device)
        exists = places < count

        # (B, L) by word from here: `slot` is where a word goes, `gone` that it is deleted, `again` that it is inserted
        slot = self._swapped(noise, exists, count)
        most = noise["delete"].masked_fill(~exists, -1).amax(1, keepdim=True)  # the word that outlives all others
        gone = (noise["delete"] < self.delete) & (noise["delete"] < most)
        room = (inside & gone.gather(1, word)).sum(1, keepdim=True)
        sizes = torch.zeros_like(word).scatter_add(1, word, inside.long())
        again = _fitting(noise["insert"], exists & ~gone & (noise["insert"] < self.insert), sizes, room)
        gap = (noise["place"] * (count + 1)).long().minimum(count)  # rounding may reach count + 1

        # by token, and a second time for the insertions: a sort by place; what is absent goes to the padded end
        absent = 2 * length + 2 if on_right else -2
        kept = torch.where(before, -1, 2 * length + 1)
        kept = torch.where(inside, 2 * slot.gather(1, word) + 1, kept)
        kept = kept.masked_fill(~real | inside & gone.gather(1, word), absent)
        inserted = 2 * gap.gather(1, word)
        inserted = inserted.masked_fill(~inside | ~again.gather(1, word), absent)
        keys = torch.cat((kept, inserted), dim=1)
        side = slice(None, length) if on_right else slice(length, None)
        order = keys.argsort(dim=1, stable=True)[:, side]
        filled = keys.gather(1, order) != absent
        tokens = ids.gather(1, order % length).masked_fill(~filled, pad_token_id)
        return {**self.plain(inputs), "input_ids": tokens, "attention_mask": filled.to(mask.dtype)}

    def plain(self, inputs: Inputs) -> Inputs:
        """The inputs as they are, without `word_ids`."""
        return {key: tensor for key, tensor in inputs.items() if key != "word_ids"}

    def _words(self, inputs: Inputs, real: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Which tokens (B, L) are in the sentence and which stand before it; each one's word, counted from 0 in its
        row, and how many words there are (B, 1)."""
        ids = inputs["input_ids"]
        if "word_ids" in inputs:
            names = inputs["word_ids"]
            if names.shape != ids.shape:
                raise ValueError(f"word_ids {tuple(names.shape)} must have the shape of input_ids {tuple(ids.shape)}")
            spoken = names >= 0
        else:
            names = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
            spoken = ~is_one_of(ids, self.special_token_ids)
        spoken &= real
        so_far = spoken.cumsum(1)
        before = so_far == 0
        inside = real & ~before & (spoken | (so_far < so_far[:, -1:]))
        starts = inside.clone()
        starts[:, 1:] &= ~inside[:, :-1] | (names[:, 1:] != names[:, :-1])
        return inside, before, (starts.cumsum(1) - 1).clamp(min=0), starts.sum(1, keepdim=True)

    def _swapped(self, noise: Inputs, exists: Tensor, count: Tensor) -> Tensor:
        """The slot of each word (B, L) after the trades.

        The words in random order, those that want to trade first: the k-th from the start and the k-th from the end
        trade if the former wants to. So no word trades twice, and all do where all want to, but one of an odd number.
        """
        wants = exists & (noise["swap"] < self.swap)
        order = (noise["partner"] - wants.float()).masked_fill(~exists, 2).argsort(dim=1, stable=True)
        rank = order.argsort(dim=1)
        opposite = (count - 1 - rank).clamp(min=0)
        trades = rank.minimum(opposite) < wants.sum(1, keepdim=True)  # beyond the last word it does not matter
        return torch.where(trades, order.gather(1, opposite), torch.arange(rank.shape[1], device=rank.device))


def is_one_of(ids: Tensor, tokens: tuple[int, ...] | None) -> Tensor:
    """Where the tokens of a batch are some of the given ones."""
    return torch.isin(ids, send(torch.tensor(tokens or (), dtype=ids.dtype), ids))


def or_none(rule: Rule) -> Rule:
    return lambda value: value is None or rule[0](value), rule[1]


def fill_in(view: _V, **values: Any) -> _V:
    """The view with the options that are None set."""
    return replace(view, **{name: value for name, value in values.items() if getattr(view, name) is None})


def known(view: View, option: str) -> int:
    value = getattr(view, option)
    if value is None:
        raise ValueError(f"{type(view).__name__} needs {option}: write it, or call for_tokenizer")
    return value


def _fitting(numbers: Tensor, wanted: Tensor, sizes: Tensor, room: Tensor) -> Tensor:
    """Those of the `wanted` words (B, L) that fit in `room` (B, 1) tokens together, taken by increasing number until
    one does not fit: in the order of the sentence its first words would be favoured."""
    order = numbers.argsort(dim=1, stable=True)
    fits = (sizes * wanted).gather(1, order).cumsum(1) <= room
    return wanted & fits.gather(1, order.argsort(dim=1))
