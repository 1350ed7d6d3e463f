"""Processor of CoMM: raw modalities in, tensors out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor
from transformers import AutoTokenizer
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .encoders import nearest
from .inputs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalised,
    stack_images,
    stack_numbers,
    stack_series,
    tokenize,
)
from .text_towers import own_limit

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")
KINDS = ("features", "image", "series", "table", "text")


class CoMMProcessor(ProcessorMixin):
    """Turns raw modalities into the batch that a [`CoMMModel`] reads.

    Args:
        modalities: What each modality is, `{name: {"kind": "image", "size": 224}}`. The kinds are

            - `image`: PIL images, uint8 arrays `(height, width, 3)` or uint8 tensors `(3, height, width)`; resized to
              `size` x `size` (bilinear, antialiased) and normalised with `mean` and `std` (of ImageNet by default); or
              lists of these, as many in each row;
            - `text`: strings, tokenized to at most `max_length` tokens (by default as many as the tokenizer says, or
              77) and padded to the longest, or to `max_length` with `"padding": "max_length"`, as SigLIP's towers;
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
                if name not in self.tokenizers:
                    raise ValueError(f"modality {name!r} is text: give its tokenizer in tokenizers[{name!r}]")
                options.setdefault("max_length", own_limit(self.tokenizers[name]))

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
                options = self.modalities[name]
                images = normalised(stacked["pixel_values"], options["size"], options["mean"], options["std"])
                stacked["pixel_values"] = images
            batch[name] = stacked
        return BatchFeature({"modalities": batch})

    def stack(self, name: str, values: Sequence[Any], word_ids: bool = False) -> dict[str, Tensor]:
        """The values of one modality as tensors, before any view: arrays of one size stay uint8.

        With `word_ids`, also the word that each token of a sentence belongs to, -1 where none.
        """
        if name not in self.modalities:
            raise ValueError(f"unknown modality {name!r}: {nearest(name, list(self.modalities))}")
        options = self.modalities[name]
        if options["kind"] == "image":
            return stack_images(name, values, options["size"])
        if options["kind"] == "text":
            padding = options.get("padding", "longest")
            return tokenize(name, values, self.tokenizers[name], options["max_length"], word_ids, padding)
        return stack_series(name, values) if options["kind"] == "series" else stack_numbers(name, values)

    def batch(self, values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """What the model reads, from raw values: `__call__` as a dict."""
        return dict(self(values))

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
                **{key: value for key, value in kwargs.items() if key in HUB_OPTIONS},
            )
            for name in texts
        }
        return super().from_pretrained(pretrained_model_name_or_path, tokenizers=tokenizers, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        return ["modalities"]


CoMMProcessor.register_for_auto_class()
