"""What families of audio models differ in: feature extractor, length, mask, and what a whole model calls the tower."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

from .kind_audio import MAX_SECONDS, check_seconds, feature_extractor

WAVEFORMS = "Wav2Vec2FeatureExtractor"
# Families that read waveforms, and whether their attention mask keeps padding out of every layer: where it does not,
# as in the position convolutions of data2vec, all sound is padded to one length.
READS_WAVEFORMS = {
    **dict.fromkeys(("hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm"), True),
    **dict.fromkeys(("data2vec-audio", "sew", "sew-d", "wav2vec2-conformer"), False),
}
# Random choices of a model's own, for whole batches or for layers: a batch in parts would have others, and processes
# would wait for gradients of what was left out. Views mask instead.
UNUSED = {"layerdrop": 0.0, "encoder_layerdrop": 0.0, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}


@dataclass(frozen=True)
class AudioFamily:
    """How one `model_type` reads sound.

    Attributes:
        settings: Of its feature extractor, what follows from a model's config.
        seconds: How much sound its features hold; all have this length.
        whole: The class of a checkpoint that holds the tower among others, and the name of the tower in it.
        part: The name of the tower's config in that of the checkpoint.
        bins_first: Whether its features are `(bins, frames)`.
    """

    settings: Callable[[Any], dict[str, Any]]
    seconds: Callable[[Any], float]
    whole: tuple[str, str] | None = None
    part: str | None = None
    bins_first: bool = False


def _ast(config: Any) -> dict[str, Any]:
    return {"num_mel_bins": config.num_mel_bins, "max_length": config.max_length}


def _whisper(config: Any) -> dict[str, Any]:
    if config.max_source_positions % 50:
        raise ValueError(f"max_source_positions={config.max_source_positions}: write 50 for each second")
    return {"feature_size": config.num_mel_bins, "chunk_length": config.max_source_positions // 50}


def _clap(config: Any) -> dict[str, Any]:
    frames = config.spec_size * (config.spec_size // config.num_mel_bins)
    return {
        "feature_size": config.num_mel_bins,
        "max_length_s": min(10, frames * 480 // 48000),
        "truncation": "fusion" if config.enable_fusion else "rand_trunc",  # sound is cut before either would draw
    }


FAMILIES = {
    "audio-spectrogram-transformer": AudioFamily(_ast, lambda made: ((made.max_length - 1) * 160 + 400) / 16000),
    "whisper": AudioFamily(
        _whisper, lambda made: made.n_samples / made.sampling_rate, ("WhisperModel", "encoder"), bins_first=True
    ),
    "clap_audio_model": AudioFamily(
        _clap, lambda made: made.nb_max_samples / made.sampling_rate, ("ClapModel", "audio_model"), "audio_config"
    ),
}
EXTRACTORS = {"clap_audio_model": "ClapFeatureExtractor"}  # which transformers knows by the names of whole models


def audio_options(config: Any, settings: Mapping[str, Any] | None, max_seconds: float | None) -> dict[str, Any]:
    """What a processor stores for a tower, see `kind_audio.AudioKind`.

    Args:
        config: Of the model.
        settings: Of its checkpoint's feature extractor; by default those of the model type.
        max_seconds: As written; by default 10, or as long as its features are.

    Raises:
        ValueError: If `max_seconds` is longer than these, there is no such feature extractor, or the model is of
            another family.
    """
    family = FAMILIES.get(config.model_type)
    if family is None and config.model_type not in READS_WAVEFORMS:
        known = ", ".join(sorted({*FAMILIES, *READS_WAVEFORMS}))
        raise ValueError(f"how a {config.model_type!r} model reads sound is not known here: write one of {known}")
    if settings is None:
        name = EXTRACTORS.get(config.model_type) or FEATURE_EXTRACTOR_MAPPING_NAMES.get(config.model_type, WAVEFORMS)
        made = getattr(transformers, name)(**(family.settings(config) if family else {}))
    else:
        made = feature_extractor(settings)
    most = family.seconds(made) if family else None
    seconds = max_seconds if max_seconds is not None else (MAX_SECONDS if most is None else most)
    check_seconds(seconds)
    if most is not None and seconds > most:
        raise ValueError(f"max_seconds={seconds}: a {config.model_type!r} model reads {most:g} seconds")
    options = {"sampling_rate": made.sampling_rate, "max_seconds": seconds, "feature_extractor": made.to_dict()}
    options |= {"window": _receptive_field(config) if family is None else getattr(made, "fft_window_size", 400)}
    if family is not None and family.bins_first:
        options["bins_first"] = True
    if not reads_mask(config) or not READS_WAVEFORMS.get(config.model_type, True):
        options["padding"] = "max_length"
    return options


def reads_mask(config: Any) -> bool:
    """Whether a model of waveforms is given the attention mask.

    Where its first layer normalises over time (`feat_extract_norm="group"`), padding changes all that follows, with a
    mask or without: all sound is then padded to one length, as transformers' documentation says.
    """
    return getattr(config, "feat_extract_norm", None) != "group"


def _receptive_field(config: Any) -> int:
    """The fewest samples that give a frame."""
    kernels, strides = getattr(config, "conv_kernel", (400,)), getattr(config, "conv_stride", (160,))
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field, step = field + (kernel - 1) * step, step * stride
    return field


def frame_mask(model: Any, mask: Tensor | None, frames: int) -> Tensor | None:
    """Which tokens of a model are of real sound, `(batch, frames)` bool; None where all count.

    Args:
        model: The tower.
        mask: Of the samples or frames that it reads, `(batch, length)`.
        frames: How many tokens it gives.
    """
    if mask is None:
        return None
    if hasattr(model, "_get_feature_vector_attention_mask"):
        return model._get_feature_vector_attention_mask(frames, mask).bool()
    return mask[:, :: math.ceil(mask.shape[1] / frames)].bool()


def tower_config(config: Any) -> Any:
    """The config of the tower that reads sound, where that of a checkpoint holds others, too, as CLAP's."""
    for model_type, family in FAMILIES.items():
        part = getattr(config, family.part, None) if family.part else None
        if getattr(part, "model_type", None) == model_type:
            return part
    return config


def load_tower(model: Any, checkpoint: str, dtype: Any) -> tuple[Any, dict[str, Any]]:
    """The tower of a checkpoint, and the report of what was missing of it."""
    family = FAMILIES.get(model.config.model_type)
    if family is None or family.whole is None:
        return type(model).from_pretrained(checkpoint, dtype=dtype, output_loading_info=True)
    name, child = family.whole
    whole, report = getattr(transformers, name).from_pretrained(checkpoint, dtype=dtype, output_loading_info=True)
    missing = [str(key) for key in report["missing_keys"] if str(key).startswith(f"{child}.")]
    return getattr(whole, child), {**report, "missing_keys": missing}
