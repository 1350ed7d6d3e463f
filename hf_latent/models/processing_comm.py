"""Processor of CoMM: raw modalities in, tensors out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .encoders import nearest

KINDS = ("features", "image", "series", "table", "text")
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


class CoMMProcessor(ProcessorMixin):
    """Turns raw modalities into the batch that a [`CoMMModel`] reads.

    Args:
        modalities: What each modality is, `{name: {"kind": "image", "size": 224}}`. The kinds are

            - `image`: PIL images, uint8 arrays `(height, width, 3)` or uint8 tensors `(3, height, width)`; resized to
              `size` x `size` (bilinear, antialiased) and normalised with `mean` and `std` (of ImageNet by default);
            - `text`: strings, tokenized to at most `max_length` tokens (77 by default) and padded to the longest;
            - `series`: float arrays `(length, input_dim)`, zero-padded to the longest, with an `attention_mask`;
            - `table` and `features`: float arrays, stacked.
        tokenizers: The tokenizer of each text modality.

    Example:

    ```python
    batch = processor({"image1": [first], "image2": [second]})
    features = model.get_fused_features(**batch)
    ```
    """

    # The Trainer aligns the special tokens of generation with the model's config; an embedding model has none.
    tokenizer = SimpleNamespace(eos_token_id=None, bos_token_id=None, pad_token_id=None)

    def __init__(
        self, modalities: dict[str, dict[str, Any]], tokenizers: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.modalities = {name: dict(options) for name, options in modalities.items()}
        self.tokenizers = dict(tokenizers or {})
        for name, options in self.modalities.items():
            kind = options.get("kind")
            if kind not in KINDS:
                raise ValueError(f"modality {name!r}: unknown kind {kind!r}: {nearest(str(kind), KINDS)}")
            if kind == "image":
                options.setdefault("size", 224)
                options.setdefault("mean", IMAGENET_MEAN)
                options.setdefault("std", IMAGENET_STD)
            if kind == "text":
                options.setdefault("max_length", 77)
                if name not in self.tokenizers:
                    raise ValueError(f"modality {name!r} is text: give its tokenizer in tokenizers[{name!r}]")

    def __call__(self, modalities: Mapping[str, Sequence[Any]], **kwargs: Any) -> BatchFeature:
        """Process a batch.

        Args:
            modalities: A sequence of raw values for each modality; any subset of the modalities.

        Returns:
            `{"modalities": {name: {"pixel_values" | "input_ids" | "values" | "attention_mask": tensor}}}`.

        Raises:
            ValueError: If a modality is unknown, their lengths differ, or a value cannot be read; it names the row.
        """
        lengths = {name: len(values) for name, values in modalities.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the modalities differ in their number of rows: {lengths}")
        batch = {}
        for name, values in modalities.items():
            stacked = self.stack(name, values)
            if self.modalities[name]["kind"] == "image":
                stacked["pixel_values"] = self._normalised(name, stacked["pixel_values"])
            batch[name] = stacked
        return BatchFeature({"modalities": batch})

    def stack(self, name: str, values: Sequence[Any]) -> dict[str, Tensor]:
        """The values of one modality as tensors, before any view: arrays of one size stay uint8."""
        if name not in self.modalities:
            raise ValueError(f"unknown modality {name!r}: {nearest(name, list(self.modalities))}")
        options = self.modalities[name]
        if options["kind"] == "image":
            return {"pixel_values": self._stack_images(name, values)}
        if options["kind"] == "text":
            for row, text in enumerate(values):
                if not isinstance(text, str) or not text.strip():
                    raise ValueError(f"row {row} of modality {name!r}: expected a sentence, found {text!r}")
            tokens = self.tokenizers[name](
                list(values), padding=True, truncation=True, max_length=options["max_length"], return_tensors="pt"
            )
            return dict(tokens)
        rows = [self._numbers(name, row, value) for row, value in enumerate(values)]
        if options["kind"] == "series":
            return self._pad(name, rows)
        shapes = {tuple(row.shape) for row in rows}
        if len(shapes) > 1:
            raise ValueError(f"modality {name!r}: rows of different shapes, {sorted(shapes)}")
        return {"values": torch.stack(rows)}

    def _stack_images(self, name: str, values: Sequence[Any]) -> Tensor:
        images = [self._pixels(name, row, value) for row, value in enumerate(values)]
        decoded = any(hasattr(value, "convert") for value in values)
        if not decoded and len({image.shape for image in images}) == 1:
            return torch.stack(images)
        # Decoded pictures come in any size: all are resized, so that a row never depends on its neighbours.
        size = self.modalities[name]["size"]
        return torch.cat([resized(image.unsqueeze(0).float() / 255, size) for image in images])

    def _normalised(self, name: str, images: Tensor) -> Tensor:
        options = self.modalities[name]
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        mean, std = (torch.tensor(options[key], dtype=torch.float32).view(1, 3, 1, 1) for key in ("mean", "std"))
        return (resized(images, options["size"]) - mean) / std

    @staticmethod
    def _pixels(name: str, row: int, value: Any) -> Tensor:
        """One image as uint8 `(3, height, width)`."""
        pixels = np.array(value.convert("RGB")) if hasattr(value, "convert") else value
        if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
            # A view is enough, stacking copies; but torch takes no array that is read-only.
            pixels = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)
        if not isinstance(pixels, Tensor) or pixels.ndim != 3 or len(pixels) != 3 or pixels.dtype != torch.uint8:
            found = f"{type(value).__name__} {tuple(getattr(value, 'shape', ()))} {getattr(value, 'dtype', '')}"
            raise ValueError(f"row {row} of modality {name!r}: expected an RGB image, found {found.strip()}")
        return pixels

    @staticmethod
    def _numbers(name: str, row: int, value: Any) -> Tensor:
        tensor = torch.as_tensor(np.asarray(value, dtype=np.float32))
        if not torch.isfinite(tensor).all():
            raise ValueError(f"row {row} of modality {name!r} holds NaN or infinity")
        return tensor

    @staticmethod
    def _pad(name: str, rows: Sequence[Tensor]) -> dict[str, Tensor]:
        for number, row in enumerate(rows):
            if row.ndim != 2 or len(row) == 0 or row.shape[1] != rows[0].shape[-1]:
                found = tuple(row.shape)
                raise ValueError(f"row {number} of modality {name!r}: expected (length, input_dim), found {found}")
        length = max(len(row) for row in rows)
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
        return {"values": torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True), "attention_mask": mask}

    @classmethod
    def get_attributes(cls) -> list[str]:
        # The sub-processors are as many as the modalities; the base class knows only those of the signature.
        return []

    def to_dict(self) -> dict[str, Any]:
        output = super().to_dict()
        output.pop("tokenizers", None)
        return output

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """As `ProcessorMixin`; each tokenizer goes into a folder named after its modality."""
        files = super().save_pretrained(save_directory, push_to_hub=False, **kwargs)
        for name, tokenizer in self.tokenizers.items():
            files += tokenizer.save_pretrained(str(Path(save_directory) / f"tokenizer_{name}"))
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return files

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        tokenizers = kwargs.pop("tokenizers", None)
        return super().from_args_and_dict(args, {**processor_dict, "tokenizers": tokenizers}, **kwargs)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the others travel in kwargs
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> "CoMMProcessor":
        options, _ = cls.get_processor_dict(pretrained_model_name_or_path, **kwargs)
        texts = [name for name, modality in options["modalities"].items() if modality["kind"] == "text"]
        tokenizers = {
            name: AutoTokenizer.from_pretrained(
                pretrained_model_name_or_path,
                subfolder=f"tokenizer_{name}",
                **{key: value for key, value in kwargs.items() if key in ("revision", "token", "cache_dir")},
            )
            for name in texts
        }
        return super().from_pretrained(pretrained_model_name_or_path, tokenizers=tokenizers, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        return ["modalities"]


def resized(images: Tensor, size: int) -> Tensor:
    """Float images `(batch, 3, height, width)` at `size` x `size`: bilinear, with antialias; a no-op if they fit."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


CoMMProcessor.register_for_auto_class()
