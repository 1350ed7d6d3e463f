"""Texts."""

from collections.abc import Mapping
from typing import Any

from .base import Kind, register_kind


@register_kind("text")
class TextKind(Kind):
    """Columns of strings, or of lists of them, of which each is a row."""

    PICTURED = False

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return '"a sentence"'
