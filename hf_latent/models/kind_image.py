"""Images as squares of pixels."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from .images import fitted, keeps_squares, mean_and_std, output_size, scratch_processor, stored_processor
from .inputs import IMAGENET_MEAN, IMAGENET_STD, normalised, stack_images
from .kinds import InputKind


class ImageKind(InputKind):
    """What `images.read_image` takes, or lists of it, as many in each row, as `pixel_values`.

    Options: `size`, the side in pixels (224); `fit`, `squash` (default), `crop` or `pad`; `resample`, `bilinear`
    (default) or `bicubic`; `mean` and `std` of each channel (ImageNet's); or `image_processor`, the settings of one of
    transformers, which then decide all of these.
    """

    kind = "image"

    def __init__(self, name: str, options: dict[str, Any], tokenizer: Any = None) -> None:
        super().__init__(name, options, tokenizer)
        options.setdefault("size", 224)
        options.setdefault("mean", IMAGENET_MEAN)
        options.setdefault("std", IMAGENET_STD)
        if "image_processor" in options:
            self.processor = stored_processor(options["image_processor"])
            options["size"] = output_size(self.processor)
            options["mean"], options["std"] = mean_and_std(self.processor)
        else:
            fit, resample = options.get("fit", "squash"), options.get("resample", "bilinear")
            self.processor = scratch_processor(options["size"], options["mean"], options["std"], fit, resample)
        self.keeps = keeps_squares(self.processor, options["size"])

    @property
    def crop(self) -> tuple[int, int]:
        """The side of the squares, in pixels, and how Pillow resamples them."""
        return self.options["size"], int(self.processor.resample)

    def stack(self, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        """`pixel_values`, uint8 `(batch, 3, size, size)`, or `(batch, images, 3, size, size)` of lists."""
        pad = self.options.get("fit") == "pad"
        return stack_images(
            self.name, values, self.options["size"], partial(fitted, self.processor, pad=pad), self.keeps
        )

    def finish(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        pixels = normalised(inputs["pixel_values"], self.options["mean"], self.options["std"])
        return {**inputs, "pixel_values": pixels}
