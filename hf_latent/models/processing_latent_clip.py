"""Processor of LatentCLIP: images and sentences in, tensors out."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor
from transformers import CLIPImageProcessorPil
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin

from .images import read_image
from .inputs import IMAGENET_MEAN, IMAGENET_STD, images_per_row, stack_images, tokenize
from .text_towers import own_limit


class LatentCLIPProcessorKwargs(ProcessingKwargs, total=False):
    _defaults = {"text_kwargs": {"truncation": True}, "common_kwargs": {"return_tensors": "pt"}}  # type: ignore[misc]


class LatentCLIPProcessor(ProcessorMixin):
    """An image processor and a tokenizer, as every two-tower model of transformers has.

    `processor(images=..., text=...)` gives `pixel_values`, `input_ids` and `attention_mask`, padded to the longest
    sentence and cut at the tokenizer's `model_max_length`.

    Args:
        image_processor: Any image processor of transformers.
        tokenizer: Any tokenizer of transformers. One without a limit is given one of 77 tokens.
        padding: `"longest"`, to the longest sentence of the batch, or `"max_length"`, as SigLIP's towers want it.
    """

    valid_processor_kwargs = LatentCLIPProcessorKwargs

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, padding: str = "longest", **kwargs: Any
    ) -> None:
        self.padding = padding
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
    ) -> Self:
        """A processor that resizes images to `size` x `size` (bilinear) and normalises them."""
        square = {"height": size, "width": size}
        options: Any = {"size": square, "resample": 2, "do_center_crop": False, "crop_size": square}
        image_processor = CLIPImageProcessorPil(**options, image_mean=list(mean), image_std=list(std))
        return cls(image_processor, tokenizer, padding)

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> Any:
        """As every processor: `pixel_values`, `input_ids` and `attention_mask`, as torch tensors.

        Where `images` is a list of lists, as many in each, `pixel_values` is `(batch, images, 3, height, width)`.

        Raises:
            ValueError: If the lists differ in length; it names the row.
        """
        if text is not None:
            kwargs.setdefault("padding", self.padding)
        count = images_per_row("image", images) if isinstance(images, list | tuple) else None
        if images is not None:
            images = _read("image", images)
        batch = super().__call__(images=images, text=text, **kwargs)
        if count is not None:
            batch["pixel_values"] = batch["pixel_values"].unflatten(0, (len(images), count))
        return batch

    @property
    def modalities(self) -> dict[str, dict[str, Any]]:
        """What each modality is, as in a [`CoMMProcessor`]."""
        images = self.image_processor
        side = dict(images.size).get("height") or images.size["shortest_edge"]
        pixels = {"mean": images.image_mean, "std": images.image_std}  # None where it does not normalise
        return {
            "image": {"kind": "image", "size": side, **{key: list(value) for key, value in pixels.items() if value}},
            "text": {"kind": "text", "max_length": self.tokenizer.model_max_length},
        }

    @property
    def tokenizers(self) -> dict[str, Any]:
        """The tokenizer of each text modality, as in a [`CoMMProcessor`]."""
        return {"text": self.tokenizer}

    def stack(self, name: str, values: Sequence[Any], word_ids: bool = False) -> dict[str, Tensor]:
        """The values of one modality as tensors, before any view: arrays of one size stay uint8."""
        options = self.modalities[name]
        if name == "image":
            return stack_images(name, values, options["size"])
        return tokenize(name, values, self.tokenizer, options["max_length"], word_ids, self.padding)

    def batch(self, values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """What the model reads, from raw values of one modality or both."""
        given = {"images": values.get("image"), "text": values.get("text")}
        return dict(self(**{name: list(rows) for name, rows in given.items() if rows is not None}))


def _read(name: str, images: Any) -> Any:
    """One image, a list of images or one of lists of them, each in RGB; a ValueError names the row."""
    if not isinstance(images, list | tuple) and getattr(images, "ndim", 3) != 4:
        return read_image(images)
    found = []
    for row, value in enumerate(images):
        try:
            found.append(
                [read_image(image) for image in value] if isinstance(value, list | tuple) else read_image(value)
            )
        except ValueError as error:
            raise ValueError(f"row {row} of modality {name!r} is not an image that can be read: {error}") from None
    return found


LatentCLIPProcessor.register_for_auto_class()
