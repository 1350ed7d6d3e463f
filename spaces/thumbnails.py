"""Small pictures of what rows hold, and players of what can be heard, by the kind of their modality."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from hf_latent.kinds import KINDS
from hf_latent.plots.thumbnails import SIDE

__all__ = ["SIDE", "player", "thumbnail"]


def thumbnail(value: Any, kind: str) -> Image.Image:
    """A square picture of one value.

    Args:
        value: As its data set has it.
        kind: Of its modality, as a processor names it; one of those that are pictured.
    """
    return KINDS[kind].thumbnail(value)


def player(value: Any, options: Mapping[str, Any]) -> str:
    """HTML that plays a value; empty where its kind is not heard.

    Args:
        value: As its data set has it.
        options: Of its modality, as a processor holds them.
    """
    return KINDS[options["kind"]].player(value, options)
