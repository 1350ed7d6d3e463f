"""Random crops, colours and blur of images."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .base import AMOUNT, PROBABILITY, RANGE, SHARES, VIEWS, Inputs, View, check, send, take
from .randaugment import RANDAUGMENT, draw_operations, randaugment

# NTSC's luma and two chroma axes (YIQ). LUMA maps a colour to its grey, TURN to its chroma turned by 90 degrees, from
# red towards green as hue does in HSV. Greys have no chroma and turning keeps the luma: LUMA @ TURN = TURN @ LUMA = 0.
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
LUMA = torch.tensor(YIQ[0], dtype=torch.float32).expand(3, 3)
TURN = torch.tensor(np.linalg.inv(YIQ) @ [[0, 0, 0], [0, 0, 1], [0, -1, 0]] @ YIQ, dtype=torch.float32)
FITS = ("squash", "crop", "pad")
RESAMPLES = ("bilinear", "bicubic")
# And the number of a view: its random crops, which were cut when the images were loaded; (B, 0) where `pixel_values`
# holds them.
CROPS = "crops_"
CROP_TRIES = 10  # as torchvision's RandomResizedCrop
CPU_BLOCK = 32  # images augmented at a time on a CPU, so that they stay in its caches: 1.1 to 1.3 times as fast


@VIEWS.register("image")
@dataclass(frozen=True)
class ImageView(View):
    """SimCLR's image augmentation (arXiv 2002.05709, appendix A) in three batched steps: crop, colour, blur.

    `pixel_values` (B, 3, H, W), uint8 or floats in [0, 1], become float32 (B, 3, size, size), normalised. Rows of
    several images, (B, N, 3, H, W), become (B, N, 3, size, size), each image with an augmentation of its own. Defaults
    are those of CoMM (arXiv 2409.07402).

    Args:
        size: side of the output, pixels; at least 8.
        crop_scale: area of the crop as a share of the image, (low, high).
        crop_ratio: width / height of the crop, log-uniform, (low, high).
        flip: probability of a horizontal flip.
        jitter: strengths of brightness, contrast, saturation (factors in 1 +- strength) and hue (in +- turns).
        jitter_probability: probability of that jitter.
        grayscale: probability of losing all colour.
        blur: probability of a Gaussian blur.
        blur_sigma: its standard deviation in output pixels, (low, high).
        randaugment: (count, magnitude) of RandAugment (arXiv 1909.13719) between crop and colors, (2, 7) in ALBEF: so
            many operations are drawn for each image, and each is done with a probability of one half; see
            `hf_latent.views.randaugment`. None (default) for none. `jitter`, `grayscale` and `blur` are as without it.
        mean, std: normalisation of each channel, on the [0, 1] scale; ImageNet's.
        fit: how the plain view makes a square of an image, `"squash"`, `"crop"` or `"pad"`, see
            `hf_latent.models.images`; by default as the checkpoint of the tower does, `"squash"` from scratch. Whoever
            loads the rows does it, by the processor.
        resample: beside `fit`, how whoever loads the rows resizes them and their random crops, `"bilinear"` (default)
            or `"bicubic"`.

    Approximations, next to the same recipe in Pillow: brightness, contrast, saturation, hue always come in this order;
    hue turns the chroma plane of YIQ instead of HSV's cone; colours are clamped to [0, 1] once, after all of them; a
    crop larger than `size` is sampled bilinearly without antialiasing; its corners need not fall on whole pixels.
    """

    kinds = ("image",)
    # Whether random crops are cut from the images as they are decoded, where they are loaded.
    crops_decoded: ClassVar[bool] = True

    size: int = 224
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_probability: float = 0.8
    grayscale: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    randaugment: tuple[int, float] | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    fit: str | None = None
    resample: str | None = None

    def __post_init__(self) -> None:
        check(self, "fit", lambda v: v in (None, *FITS), f"one of {', '.join(FITS)}")
        check(self, "resample", lambda v: v in (None, *RESAMPLES), f"one of {', '.join(RESAMPLES)}")
        check(self, "resample", lambda v: v is None or self.fit is not None, "fit beside it, such as fit: squash")
        check(self, "size", lambda v: isinstance(v, int) and v >= 8, "a whole number of pixels, 8 or more")
        check(self, "crop_scale", *SHARES)
        check(self, "crop_ratio blur_sigma", *RANGE)
        check(self, "randaugment", *RANDAUGMENT)
        check(self, "flip jitter_probability grayscale blur", *PROBABILITY)
        wanted = "brightness, contrast, saturation >= 0 and 0 <= hue <= 0.5"
        check(self, "jitter", lambda v: len(v) == 4 and all(map(AMOUNT[0], v)) and v[3] <= 0.5, wanted)
        check(self, "mean", lambda v: len(v) == 3 and all(map(math.isfinite, v)), "three numbers")
        check(self, "std", lambda v: len(v) == 3 and all(0 < x < math.inf for x in v), "three numbers above 0")
        most = (self.size - 1) // 3
        wanted = f"at most {most} pixels at size={self.size}: the kernel reaches 3 sigma to either side"
        check(self, "blur_sigma", lambda v: v[1] <= most, wanted)

    @property
    def processor_options(self) -> dict[str, Any]:
        written = {"fit": self.fit, "resample": self.resample}
        told = {key: value for key, value in written.items() if value is not None}
        return {"size": self.size, "mean": list(self.mean), "std": list(self.std), **told}

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        """crop: top, left, height, width as shares of the image; jitter: brightness, contrast, saturation factors and
        hue in radians; sigma: 0 where there is no blur; operation, sign: of RandAugment. Each (rows, ...), or
        (rows, N, ...) for rows of N images."""
        _, *several, _, height, width = _checked(take(inputs, "pixel_values", "image")).shape
        numbers = self._numbers(rows * math.prod(several), generator)
        area, ratio, corner = (numbers.pop(name) for name in ("area", "ratio", "corner"))
        numbers = {"crop": _boxes(area, ratio, corner, torch.tensor([width / height])), **numbers}
        return {name: values.unflatten(0, (rows, *several)) for name, values in numbers.items()}

    def draw_crops(self, rows: int, aspects: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
        """The crops that `draw` gives images of other sizes.

        Args:
            rows: As of `draw`.
            aspects: (n,) or (n, N) width / height of the images.
            chosen: (n,) which of the rows they are.
            generator: As of `draw`.

        Returns:
            (n, 4) or (n, N, 4): top, left, height, width as shares of the image.
        """
        several = math.prod(aspects.shape[1:])
        numbers = self._numbers(rows * several, generator)
        own = (chosen[:, None] * several + torch.arange(several)).flatten()
        area, ratio, corner = (numbers[name][own] for name in ("area", "ratio", "corner"))
        return _boxes(area, ratio, corner, aspects.flatten()[:, None]).unflatten(0, aspects.shape)

    def _numbers(self, images: int, generator: Generator) -> Inputs:
        """All random numbers of some images. The order in which they are drawn decides what a seed gives."""

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(images, *shape, generator=generator) * (high - low) + low

        def chance(probability: float) -> Tensor:
            return torch.rand(images, generator=generator) < probability

        area = uniform(*self.crop_scale, CROP_TRIES)
        ratio = uniform(math.log(self.crop_ratio[0]), math.log(self.crop_ratio[1]), CROP_TRIES).exp()
        corner = uniform(0, 1, 2)

        strength = torch.tensor([*self.jitter[:3], 2 * math.pi * self.jitter[3]])
        still = torch.tensor([1.0, 1.0, 1.0, 0.0])
        moved = still + uniform(-1, 1, 4) * strength
        moved[:, :3].clamp_(min=0)
        numbers = {
            "area": area,
            "ratio": ratio,
            "corner": corner,
            "flip": chance(self.flip),
            "jitter": torch.where(chance(self.jitter_probability)[:, None], moved, still),
            "grayscale": chance(self.grayscale),
            "sigma": uniform(*self.blur_sigma) * chance(self.blur),
        }
        if self.randaugment is not None:
            numbers |= draw_operations(images, self.randaugment[0], generator)
        return numbers

    def take_crops(self, inputs: Inputs, noise: Inputs, view: int) -> tuple[Inputs, Inputs]:
        """The inputs and the random numbers of a view whose crops were cut when the images were loaded."""
        crops = inputs[f"{CROPS}{view}"]
        crops = crops if crops.numel() else inputs["pixel_values"]
        whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand_as(noise["crop"])
        return {**inputs, "pixel_values": crops}, {**noise, "crop": whole}

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        pixels = _checked(take(inputs, "pixel_values", "image"))
        leading = pixels.shape[:-3]
        pixels, noise = pixels.flatten(0, -4), {k: v.flatten(0, len(leading) - 1) for k, v in noise.items()}
        block = CPU_BLOCK if pixels.device.type == "cpu" else len(pixels)
        done = []
        # autocast would do the colours and the blur in half precision
        with torch.autocast(pixels.device.type, enabled=False):
            for start in range(0, len(pixels), block):
                rows = slice(start, start + block)
                images, unit = _as_float(pixels[rows])
                images = self._crop(images, noise["crop"][rows], noise["flip"][rows])
                if self.randaugment is not None:
                    operations = noise["operation"][rows], noise["sign"][rows]
                    images, unit = randaugment(images * (255 * unit), *operations, self.randaugment[1]), 1 / 255
                images = self._recolour(images, unit, noise["jitter"][rows], noise["grayscale"][rows])
                done.append(self._blur(images, noise["sigma"][rows]))
        return {**_uncut(inputs), "pixel_values": torch.cat(done).unflatten(0, leading)}

    def plain(self, inputs: Inputs) -> Inputs:
        """Resized to (size, size), antialiased, whatever the aspect ratio, and normalised."""
        pixels = _checked(take(inputs, "pixel_values", "image"))
        images, unit = _as_float(pixels.flatten(0, -4), copy=True)
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            images[:, channel].mul_(unit / std).sub_(mean / std)  # in place: on CPUs new memory costs more than this
        return {**_uncut(inputs), "pixel_values": images.unflatten(0, pixels.shape[:-3])}

    def _crop(self, images: Tensor, crop: Tensor, flip: Tensor) -> Tensor:
        """Crop, resize and flip in one bilinear sampling."""
        centres = (torch.arange(self.size) + 0.5) / self.size
        across = torch.where(flip[:, None], 1 - centres, centres)
        top, left, height, width = crop[:, :, None].unbind(1)
        y, x = (send(2 * share - 1, images) for share in (top + height * centres, left + width * across))
        shape = (len(images), self.size, self.size)
        grid = torch.stack((x[:, None, :].expand(shape), y[:, :, None].expand(shape)), dim=-1)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _recolour(self, images: Tensor, unit: float, jitter: Tensor, grayscale: Tensor) -> Tensor:
        """Jitter, grayscale and normalisation as one affine map of the colours of each image.

        Brightness b and contrast c scale a colour by b c and add (1 - c) b times the mean luma of the image; then
        saturation s and hue h scale and turn its chroma and leave its luma. With L = LUMA and T = TURN, together:

            colour -> b c (L + s cos(h) (I - L) + s sin(h) T) colour + (1 - c) b mean_luma

        Grayscale is s = 0. Pixels times `unit` lie in [0, 1]; so do the clamped colours, before normalisation.
        """
        brightness, contrast, saturation, hue = jitter[:, :, None, None].unbind(1)
        saturation = saturation * ~grayscale[:, None, None]
        chroma = saturation * (hue.cos() * (torch.eye(3) - LUMA) + hue.sin() * TURN)
        mean, std = torch.tensor(self.mean)[:, None], torch.tensor(self.std)[:, None]
        matrix = brightness * contrast * (LUMA + chroma) * (unit / std)
        offset = (1 - contrast) * brightness * LUMA * (unit / std)  # acts on the mean colour
        shift = send(-mean / std, images).expand(len(images), 3, 1)

        colours = images.flatten(2)
        shift = torch.baddbmm(shift, send(offset, images), colours.mean(2, keepdim=True))
        colours = torch.baddbmm(shift, send(matrix, images), colours)
        for channel, (m, s) in enumerate(zip(self.mean, self.std, strict=True)):
            colours[:, channel].clamp_(-m / s, (1 - m) / s)  # [0, 1], normalised; scalar bounds are the fast ones
        return colours.view_as(images)

    def _blur(self, images: Tensor, sigma: Tensor) -> Tensor:
        """Separable Gaussian blur, in place, of the images with sigma > 0, mirrored at the borders.

        One kernel size, that of the largest sigma, makes it one depthwise convolution an axis with weights per image.
        """
        chosen = sigma.nonzero().squeeze(1)  # on the CPU: no wait for the device
        if len(chosen) == 0:
            return images
        radius = math.ceil(3 * self.blur_sigma[1])
        offsets = torch.arange(-radius, radius + 1)
        kernel = torch.softmax(-0.5 * (offsets / sigma[chosen, None]) ** 2, dim=1)
        # the far tails of a narrow kernel are subnormal numbers, which make a convolution several times slower
        kernel = F.threshold(kernel, 1e-9, 0)
        kernel = send(kernel.repeat_interleave(3, dim=0), images)[:, None]

        where, planes = send(chosen, images), len(kernel)
        blurred = F.pad(images.index_select(0, where), [radius] * 4, mode="reflect").flatten(0, 1)
        blurred = F.conv2d(blurred[None], kernel[:, :, :, None], groups=planes)
        blurred = F.conv2d(blurred, kernel[:, :, None, :], groups=planes)
        return images.index_copy_(0, where, blurred.view(len(chosen), *images.shape[1:]))


def _boxes(area: Tensor, ratio: Tensor, corner: Tensor, aspect: Tensor) -> Tensor:
    """Crops (images, 4) as shares of images of some width / height: the first try that fits."""
    shares = torch.stack((area / ratio * aspect, area * ratio / aspect), dim=-1).sqrt()
    first = (shares <= 1).all(-1).int().argmax(1)  # none fits: the first try, cut to the image
    shares = shares[torch.arange(len(shares)), first].clamp(max=1)
    return torch.cat((corner * (1 - shares), shares), dim=1)


def _uncut(inputs: Inputs) -> Inputs:
    return {name: values for name, values in inputs.items() if not name.startswith(CROPS)}


def _checked(pixels: Tensor) -> Tensor:
    known = pixels.dtype == torch.uint8 or pixels.is_floating_point()
    if not known or pixels.dim() not in (4, 5) or pixels.shape[-3] != 3:
        given = f"{pixels.dtype} of shape {tuple(pixels.shape)}"
        wanted = "uint8, or floats in [0, 1], of shape (B, 3, H, W) or (B, N, 3, H, W)"
        raise ValueError(f"pixel_values must be {wanted}, got {given}")
    return pixels


def _as_float(pixels: Tensor, copy: bool = False) -> tuple[Tensor, float]:
    """Pixels as float32, and the factor that brings them to [0, 1]: folded into later arithmetic, it saves a pass.

    With `copy`, they are new even where they were float32.
    """
    unit = 1 / 255 if pixels.dtype == torch.uint8 else 1.0
    return pixels.to(torch.float32, copy=copy, memory_format=torch.contiguous_format), unit
