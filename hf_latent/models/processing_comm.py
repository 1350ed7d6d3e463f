"""Processor of CoMM: raw modalities in, tensors out."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, cast

from torch import Tensor
from transformers import AutoTokenizer
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .kind_audio import AudioKind
from .kind_image import ImageKind
from .kind_numbers import FeaturesKind, SeriesKind, TableKind
from .kind_text import TextKind
from .kind_video import VideoKind
from .kinds import InputKind
from .registry import nearest

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")
# A closed set: what loads a model reads these files alone.
KINDS: dict[str, type[InputKind]] = {
    cls.kind: cls for cls in (AudioKind, FeaturesKind, ImageKind, SeriesKind, TableKind, TextKind, VideoKind)
}


class CoMMProcessor(ProcessorMixin):
    """Turns raw modalities into the batch that a [`CoMMModel`] reads, or a LatentCLIP of others than image and text.

    Args:
        modalities: What each modality is, `{name: {"kind": "image", "size": 224}}`. The kinds
            are those of `KINDS`, whose docstrings say what they take and what their options are.
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
        self._kinds: dict[str, InputKind] = {}
        for name, options in self.modalities.items():
            kind = options.get("kind")
            if kind not in KINDS:
                raise ValueError(f"modality {name!r}: unknown kind {kind!r}: {nearest(str(kind), list(KINDS))}")
            self._kinds[name] = KINDS[kind](name, options, self.tokenizers.get(name))

    def __call__(
        self,
        modalities: Mapping[str, Sequence[Any]],
        *,
        padding: bool | str = True,
        truncation: bool | str = True,
        max_length: int | None = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Process a batch.

        Args:
            modalities: A sequence of raw values for each modality; any subset of the modalities.
            padding, truncation, max_length: Of the tokenizers. By default (`padding=True`, no `max_length`) as each
                modality says.
            return_tensors: `"pt"` for torch tensors, `"np"` for arrays.

        Returns:
            `{"modalities": {name: {"pixel_values" | "input_ids" | "values" | "attention_mask": tensor}}}`.

        Raises:
            ValueError: If a modality is unknown, their lengths differ, or a value cannot be read; it names the row.
        """
        if return_tensors not in ("pt", "np"):
            raise ValueError(f"return_tensors={return_tensors!r}: write 'pt' or 'np'")
        lengths = {name: len(values) for name, values in modalities.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the modalities differ in their number of rows: {lengths}")
        text = {"padding": padding, "truncation": truncation, "max_length": max_length}
        asked = {key: value for key, value in text.items() if value is not None and value is not True}
        batch: dict[str, Any] = {}
        for name, values in modalities.items():
            stacked = self._stack(name, values, **asked)
            batch[name] = self._kinds[name].finish(stacked)
        if return_tensors == "np":
            batch = {name: {key: rows.numpy() for key, rows in stacked.items()} for name, stacked in batch.items()}
        return BatchFeature({"modalities": batch})

    def stack(self, name: str, values: Sequence[Any], word_ids: bool = False) -> dict[str, Tensor]:
        """The values of one modality as tensors, before any view: images are uint8 squares.

        With `word_ids`, also the word that each token of a sentence belongs to, -1 where none.
        """
        return self._stack(name, values, word_ids=word_ids)

    def _stack(self, name: str, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        """`stack`; `text` are arguments of `tokenize` in place of those of the modality."""
        if name not in self.modalities:
            raise ValueError(f"unknown modality {name!r}: {nearest(name, list(self.modalities))}")
        if not len(values):
            raise ValueError(f"modality {name!r}: there is no row")
        return self._kinds[name].stack(values, **text)

    def crop_of(self, name: str) -> tuple[int, int]:
        """The side of the images of a modality, in pixels, and how Pillow resamples them."""
        return cast(ImageKind, self._kinds[name]).crop

    def batch(self, values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """What the model reads, from raw values: `__call__` as a dict."""
        return dict(self(values))

    @classmethod
    def get_attributes(cls) -> list[str]:
        # The sub-processors are as many as the modalities; the base class knows only those of the signature.
        return []

    def to_dict(self) -> dict[str, Any]:
        output = super().to_dict()
        for key in ("tokenizers", "_kinds"):
            output.pop(key, None)
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
        texts = [name for name, modality in options["modalities"].items() if _reads_tokenizer(modality)]
        tokenizers = {
            name: AutoTokenizer.from_pretrained(
                pretrained_model_name_or_path,
                subfolder=str(PurePosixPath(kwargs.get("subfolder") or "", f"tokenizer_{name}")),
                **{key: value for key, value in kwargs.items() if key in HUB_OPTIONS},
            )
            for name in texts
        }
        return super().from_pretrained(pretrained_model_name_or_path, tokenizers=tokenizers, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        return ["modalities"]


def _reads_tokenizer(options: Mapping[str, Any]) -> bool:
    kind = KINDS.get(str(options.get("kind")))
    return kind is not None and kind.reads_tokenizer


CoMMProcessor.register_for_auto_class()
