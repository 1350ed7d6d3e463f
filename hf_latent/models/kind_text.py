"""Texts as tokens."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .inputs import tokenize
from .kinds import InputKind
from .text_towers import own_limit


class TextKind(InputKind):
    """Strings as `input_ids` and `attention_mask`.

    Options: `max_length`, the most tokens (by default as many as the tokenizer says, or 77); `padding`, `longest`
    (default) or `max_length`, as SigLIP's towers.
    """

    kind = "text"
    reads_tokenizer = True

    def __init__(self, name: str, options: dict[str, Any], tokenizer: Any = None) -> None:
        super().__init__(name, options, tokenizer)
        if tokenizer is None:
            raise ValueError(f"modality {name!r} is text: give its tokenizer in tokenizers[{name!r}]")
        options.setdefault("max_length", own_limit(tokenizer))

    def stack(self, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        own = {"max_length": self.options["max_length"], "padding": self.options.get("padding", "longest")}
        return tokenize(self.name, values, self.tokenizer, **{**own, **text})
