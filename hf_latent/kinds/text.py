"""Texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from .base import Kind, Suggestion, register_kind
from .stored import dtype, inner

BERT = {
    **{"model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"intermediate_size": 128, "max_position_embeddings": 64},
    **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}


@register_kind("text")
class TextKind(Kind):
    """Columns of strings, or of lists of them, of which each is a row."""

    PICTURED = False
    NAMES = ("caption", "captions", "text", "texts", "txt", "title", "sentence", "sentences", "description")
    LISTED = True
    ASKED_LAST = True

    def suggest(self, feature: Any, values: Sequence[Any]) -> Suggestion | None:
        several = dtype(inner(feature)) == "string"
        if not several and dtype(feature) != "string":
            return None
        why = "lists of texts, of which each becomes a row, as a caption" if several else "texts"
        return Suggestion(why, {"encoder": "auto", "pooling": "mean", "config": BERT}, {"kind": "words"})

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return '"a sentence"'
