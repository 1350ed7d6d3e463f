"""Processor of LatentALBEF."""

from .processing_latent_clip import LatentCLIPProcessor


class LatentALBEFProcessor(LatentCLIPProcessor):
    """Images and sentences in, `pixel_values`, `input_ids` and `attention_mask` out; see [`LatentCLIPProcessor`]."""


LatentALBEFProcessor.register_for_auto_class()
