"""Processor of LatentCLIP: images and sentences in, tensors out."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin

from .images import fitted, keeps_squares, mean_and_std, output_size, padded, scratch_processor
from .inputs import IMAGENET_MEAN, IMAGENET_STD, images_per_row, read_row, stack_images, tokenize
from .text_towers import own_limit

FLOATS = (np.float16, np.float32, np.float64)


class LatentCLIPProcessorKwargs(ProcessingKwargs, total=False):
    _defaults = {"common_kwargs": {"return_tensors": "pt"}}  # type: ignore[misc]


class LatentCLIPProcessor(ProcessorMixin):
    """An image processor and a tokenizer, as every two-tower model of transformers has, for a LatentCLIP of `image`
    and `text`. One of other modalities has a [`CoMMProcessor`].

    `processor(images=..., text=...)` gives `pixel_values`, `input_ids` and `attention_mask`, padded to the longest
    sentence and cut at the tokenizer's `model_max_length`.

    Args:
        image_processor: Any image processor of transformers.
        tokenizer: Any tokenizer of transformers. One without a limit is given one of 77 tokens.
        padding: `"longest"`, to the longest sentence of the batch, or `"max_length"`, as SigLIP's towers want it.
        pad_images: Pad each image to a square first.
    """

    valid_processor_kwargs = LatentCLIPProcessorKwargs

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        padding: str = "longest",
        pad_images: bool = False,
        **kwargs: Any,
    ) -> None:
        self.padding, self.pad_images = padding, pad_images
        if tokenizer is not None:
            tokenizer.model_max_length = own_limit(tokenizer)
        super().__init__(image_processor, tokenizer, **kwargs)

    @classmethod
    def for_size(
        cls,
        size: int,
        tokenizer: Any,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        padding: str = "longest",
        fit: str = "squash",
        resample: str = "bilinear",
    ) -> Self:
        """A processor for towers from scratch, which makes squares of `size` px; see `images.scratch_processor`."""
        return cls(scratch_processor(size, mean, std, fit, resample), tokenizer, padding, pad_images=fit == "pad")

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> Any:
        """As every processor: `pixel_values`, `input_ids` and `attention_mask`, as torch tensors.

        Where `images` is a list of lists, as many in each, `pixel_values` is `(batch, images, 3, height, width)`.

        Args:
            images: One image, a list of images, or a list of lists of images, each as [`~images.read_image`] takes it.
                Float arrays with `do_rescale=False` go to the image processor as they are.
            text: A sentence or a list of sentences.
            **kwargs: Of the tokenizer and the image processor, flat or in `text_kwargs`, `images_kwargs` and
                `common_kwargs`, as every processor of transformers takes them. `padding=True` is the `padding` of
                this processor.

        Raises:
            ValueError: If the lists differ in length; it names the row.
        """
        if text is not None and self.tokenizer is not None:
            kwargs = self._with_text_options(kwargs)
        count = images_per_row("image", images) if isinstance(images, list | tuple) else None
        if images is not None:
            images = self._read(images, kwargs)
        batch = super().__call__(images=images, text=text, **kwargs)
        if count is not None:
            batch["pixel_values"] = _in_rows(batch["pixel_values"], count)
        return batch

    def _with_text_options(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """`kwargs` with what this processor asks of its tokenizer wherever the caller asks for nothing else."""
        own = {"padding": True, "truncation": True, "max_length": self.tokenizer.model_max_length}
        own = {key: value for key, value in own.items() if key not in kwargs}

        def resolved(options: Mapping[str, Any]) -> dict[str, Any]:
            return {**options, "padding": self.padding} if options.get("padding") is True else dict(options)

        return {**resolved(kwargs), "text_kwargs": resolved({**own, **(kwargs.get("text_kwargs") or {})})}

    @property
    def modalities(self) -> dict[str, dict[str, Any]]:
        """What each modality is, as in a [`CoMMProcessor`]."""
        mean, std = mean_and_std(self.image_processor)
        return {
            "image": {"kind": "image", "size": self._size[0], "mean": mean, "std": std},
            "text": {"kind": "text", "max_length": self.tokenizer.model_max_length},
        }

    @cached_property
    def _size(self) -> tuple[int, bool]:
        """The side of the images that the model sees, and whether squares of it stay as they are."""
        size = output_size(self.image_processor)
        return size, keeps_squares(self.image_processor, size)

    def _fit(self, images: Sequence[Any]) -> Tensor:
        return fitted(self.image_processor, images, self.pad_images)

    @property
    def tokenizers(self) -> dict[str, Any]:
        """The tokenizer of each text modality, as in a [`CoMMProcessor`]."""
        return {"text": self.tokenizer}

    def stack(self, name: str, values: Sequence[Any], word_ids: bool = False) -> dict[str, Tensor]:
        """The values of one modality as tensors, before any view: images are uint8 squares."""
        options = self.modalities[name]
        if name == "image":
            return stack_images(name, values, self._size[0], self._fit, keep=self._size[1])
        return tokenize(name, values, self.tokenizer, options["max_length"], word_ids, self.padding)

    def crop_of(self, name: str) -> tuple[int, int]:
        """The side of the images of a modality, in pixels, and how Pillow resamples them."""
        return self._size[0], int(self.image_processor.resample)

    def batch(self, values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """What the model reads, from raw values of one modality or both."""
        given = {"images": values.get("image"), "text": values.get("text")}
        return dict(self(**{name: list(rows) for name, rows in given.items() if rows is not None}))

    def _read(self, images: Any, kwargs: Mapping[str, Any]) -> Any:
        """One image, a list of images or one of lists of them, each in RGB; a ValueError names the row."""
        scaled = {**kwargs, **(kwargs.get("images_kwargs") or {})}.get("do_rescale") is False

        def read(row: int, value: Any) -> Any:
            if scaled and _holds_floats(value):
                if self.pad_images:
                    raise ValueError("do_rescale=False with float images, which this processor pads: leave it out")
                return value
            image = read_row("image", row, value)
            return padded(image, self.image_processor.image_mean) if self.pad_images else image

        if not isinstance(images, list | tuple) and getattr(images, "ndim", 3) != 4:
            return read(0, images)
        rows = enumerate(images)
        return [
            [read(n, v) for v in value] if isinstance(value, list | tuple) else read(n, value) for n, value in rows
        ]


def _holds_floats(value: Any) -> bool:
    return torch.is_floating_point(value) if isinstance(value, Tensor) else getattr(value, "dtype", None) in FLOATS


def _in_rows(pixels: Any, count: int) -> Any:
    """`(rows * count, ...)`, a tensor, an array or a list, as `(rows, count, ...)`."""
    if isinstance(pixels, list):
        return [pixels[first : first + count] for first in range(0, len(pixels), count)]
    return pixels.reshape(-1, count, *pixels.shape[1:])


LatentCLIPProcessor.register_for_auto_class()
