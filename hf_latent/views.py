"""Views: batched random augmentations of images, text, series and tables, on whatever device the tensors are on.

A `View` augments one modality in two steps. `draw` makes every random number, on the CPU; `augment` applies them, and
an output row depends on its own input row and its own numbers only. `Views` holds one view a modality and draws for
the whole global batch from a generator keyed by (seed, rows consumed so far, view, modality). So a row looks the same
on one process or many, in one piece or in chunks, and after a resume.

    views = Views({"image": build_view("image", size=64), "text": build_view("text", mask_token_id=103)}, seed=0)
    second = views.augmented(batch, view=1, position=rows_seen)

Text and series may be right-padded to different widths in different chunks: the numbers of a step do not depend on
how many steps follow it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Inputs = dict[str, Tensor]

# NTSC's luma and two chroma axes (YIQ). LUMA maps a colour to its grey, TURN to its chroma turned by 90 degrees, from
# red towards green as hue does in HSV. Greys have no chroma and turning keeps the luma: LUMA @ TURN = TURN @ LUMA = 0.
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
LUMA = torch.tensor(YIQ[0], dtype=torch.float32).expand(3, 3)
TURN = torch.tensor(np.linalg.inv(YIQ) @ [[0, 0, 0], [0, 0, 1], [0, -1, 0]] @ YIQ, dtype=torch.float32)
CROP_TRIES = 10  # as torchvision's RandomResizedCrop
CPU_BLOCK = 32  # images augmented at a time on a CPU, so that they stay in its caches: 1.1 to 1.3 times as fast

# Rules for options: what is valid, and what to write instead.
Rule = tuple[Callable[[Any], bool], str]
PROBABILITY: Rule = (lambda v: 0 <= v <= 1, "a number from 0 to 1")
AMOUNT: Rule = (lambda v: 0 <= v < math.inf, "a number, 0 or more")
RANGE: Rule = (lambda v: len(v) == 2 and 0 < v[0] <= v[1] < math.inf, "(low, high) with 0 < low <= high")
SHARES: Rule = (lambda v: RANGE[0](v) and v[1] <= 1, "(low, high) with 0 < low <= high <= 1")
TOKEN: Rule = (lambda v: isinstance(v, int) and v >= 0, "a token id of the tokenizer, a whole number")


@dataclass(frozen=True)
class View(ABC):
    """One modality's augmentation. `inputs` is what a collator gives; keys that a view does not touch pass through."""

    @abstractmethod
    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        """All random numbers of `rows` rows: CPU tensors with leading dimension `rows`.

        `inputs` tells shapes beyond the batch dimension only; its own batch may be smaller than `rows`.
        """

    @abstractmethod
    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        """`inputs` augmented with the numbers of `draw`, row by row; nothing is changed in place."""

    def plain(self, inputs: Inputs) -> Inputs:
        """The deterministic view, for evaluation: the inputs as they are, unless a view says otherwise."""
        return dict(inputs)


@dataclass(frozen=True)
class NoView(View):
    """No augmentation, for features computed beforehand."""

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        return {}

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        return dict(inputs)


@dataclass(frozen=True)
class ImageView(View):
    """SimCLR's image augmentation (arXiv 2002.05709, appendix A) in three batched steps: crop, colour, blur.

    `pixel_values` (B, 3, H, W), uint8 or floats in [0, 1], become float32 (B, 3, size, size), normalised. Defaults are
    those of CoMM (arXiv 2409.07402).

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
        mean, std: normalisation of each channel, on the [0, 1] scale; ImageNet's.

    Approximations, next to the same recipe in Pillow: brightness, contrast, saturation, hue always come in this order;
    hue turns the chroma plane of YIQ instead of HSV's cone; colours are clamped to [0, 1] once, after all of them; a
    crop larger than `size` is sampled bilinearly without antialiasing; its corners need not fall on whole pixels.
    """

    size: int = 224
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_probability: float = 0.8
    grayscale: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        _check(self, "size", lambda v: isinstance(v, int) and v >= 8, "a whole number of pixels, 8 or more")
        _check(self, "crop_scale", *SHARES)
        _check(self, "crop_ratio blur_sigma", *RANGE)
        _check(self, "flip jitter_probability grayscale blur", *PROBABILITY)
        wanted = "brightness, contrast, saturation >= 0 and 0 <= hue <= 0.5"
        _check(self, "jitter", lambda v: len(v) == 4 and all(map(AMOUNT[0], v)) and v[3] <= 0.5, wanted)
        _check(self, "mean", lambda v: len(v) == 3 and all(map(math.isfinite, v)), "three numbers")
        _check(self, "std", lambda v: len(v) == 3 and all(0 < x < math.inf for x in v), "three numbers above 0")
        most = (self.size - 1) // 3
        wanted = f"at most {most} pixels at size={self.size}: the kernel reaches 3 sigma to either side"
        _check(self, "blur_sigma", lambda v: v[1] <= most, wanted)

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        """crop: top, left, height, width as shares of the image; jitter: brightness, contrast, saturation factors and
        hue in radians; sigma: 0 where there is no blur."""
        height, width = _take(inputs, "pixel_values", "image").shape[-2:]

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(rows, *shape, generator=generator) * (high - low) + low

        def chance(probability: float) -> Tensor:
            return torch.rand(rows, generator=generator) < probability

        area = uniform(*self.crop_scale, CROP_TRIES)
        ratio = uniform(math.log(self.crop_ratio[0]), math.log(self.crop_ratio[1]), CROP_TRIES).exp()
        shares = torch.stack((area / ratio * (width / height), area * ratio * (height / width)), dim=-1).sqrt()
        first = (shares <= 1).all(-1).int().argmax(1)  # none fits: the first try, cut to the image
        shares = shares[torch.arange(rows), first].clamp(max=1)
        corner = uniform(0, 1, 2) * (1 - shares)

        strength = torch.tensor([*self.jitter[:3], 2 * math.pi * self.jitter[3]])
        still = torch.tensor([1.0, 1.0, 1.0, 0.0])
        moved = still + uniform(-1, 1, 4) * strength
        moved[:, :3].clamp_(min=0)
        return {
            "crop": torch.cat((corner, shares), dim=1),
            "flip": chance(self.flip),
            "jitter": torch.where(chance(self.jitter_probability)[:, None], moved, still),
            "grayscale": chance(self.grayscale),
            "sigma": uniform(*self.blur_sigma) * chance(self.blur),
        }

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        pixels = _take(inputs, "pixel_values", "image")
        block = CPU_BLOCK if pixels.device.type == "cpu" else len(pixels)
        done = []
        # autocast would do the colours and the blur in half precision
        with torch.autocast(pixels.device.type, enabled=False):
            for start in range(0, len(pixels), block):
                rows = slice(start, start + block)
                images, unit = _as_float(pixels[rows])
                images = self._crop(images, noise["crop"][rows], noise["flip"][rows])
                images = self._recolour(images, unit, noise["jitter"][rows], noise["grayscale"][rows])
                done.append(self._blur(images, noise["sigma"][rows]))
        return {**inputs, "pixel_values": torch.cat(done)}

    def plain(self, inputs: Inputs) -> Inputs:
        """Resized to (size, size), antialiased, whatever the aspect ratio, and normalised."""
        images, unit = _as_float(_take(inputs, "pixel_values", "image"))
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return {**inputs, "pixel_values": torch.addcmul(-mean / std, images, unit / std)}

    def _crop(self, images: Tensor, crop: Tensor, flip: Tensor) -> Tensor:
        """Crop, resize and flip in one bilinear sampling."""
        centres = (torch.arange(self.size) + 0.5) / self.size
        across = torch.where(flip[:, None], 1 - centres, centres)
        top, left, height, width = crop[:, :, None].unbind(1)
        y, x = (_send(2 * share - 1, images) for share in (top + height * centres, left + width * across))
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
        shift = _send(-mean / std, images).expand(len(images), 3, 1)

        colours = images.flatten(2)
        shift = torch.baddbmm(shift, _send(offset, images), colours.mean(2, keepdim=True))
        colours = torch.baddbmm(shift, _send(matrix, images), colours)
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
        kernel = _send(kernel.repeat_interleave(3, dim=0), images)[:, None]

        where, planes = _send(chosen, images), len(kernel)
        blurred = F.pad(images.index_select(0, where), [radius] * 4, mode="reflect").flatten(0, 1)
        blurred = F.conv2d(blurred[None], kernel[:, :, :, None], groups=planes)
        blurred = F.conv2d(blurred, kernel[:, :, None, :], groups=planes)
        return images.index_copy_(0, where, blurred.view(len(chosen), *images.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class TextView(View):
    """Token masking: each token of `input_ids` (B, T) becomes `mask_token_id` with `mask_probability`, independently.

    CoMM's text augmentation (arXiv 2409.07402). Padding (where `attention_mask` is 0; none without that key) and
    `special_token_ids`, such as those of [CLS] and [SEP], are never masked.
    """

    mask_token_id: int
    mask_probability: float = 0.15
    special_token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check(self, "mask_probability", *PROBABILITY)
        _check(self, "mask_token_id", *TOKEN)
        _check(self, "special_token_ids", lambda v: all(map(TOKEN[0], v)), "a list of token ids of the tokenizer")

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        length = _take(inputs, "input_ids", "text").shape[1]
        # step by step, so that a wider padding changes nothing before it
        return {"mask": (torch.rand(length, rows, generator=generator) < self.mask_probability).T}

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        ids = _take(inputs, "input_ids", "text")
        special = torch.tensor(self.special_token_ids, dtype=ids.dtype, device=ids.device)
        masked = _send(noise["mask"], ids) & ~torch.isin(ids, special)
        if "attention_mask" in inputs:
            masked &= inputs["attention_mask"].bool()
        return {**inputs, "input_ids": ids.masked_fill(masked, self.mask_token_id)}


@dataclass(frozen=True)
class SeriesView(View):
    """Noise and dropped steps, each for a row as a whole or not at all, on floating `values` (B, T, F).

    CoMM's augmentation of MultiBench series (arXiv 2409.07402). Padding (`attention_mask` 0) is left as it is.

    Args:
        noise: standard deviation of the Gaussian noise, in the unit of the values.
        noise_probability: probability that a row is noisy.
        drop: a row loses a share U(0, drop) of its real steps, rounded down, which become zero.
        drop_probability: probability that a row loses any.
    """

    noise: float = 0.1
    noise_probability: float = 0.5
    drop: float = 0.8
    drop_probability: float = 0.5

    def __post_init__(self) -> None:
        _check(self, "noise", *AMOUNT)
        _check(self, "noise_probability drop drop_probability", *PROBABILITY)

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        length, features = _take(inputs, "values", "series").shape[1:]
        share, dropped, noisy = torch.rand(3, rows, generator=generator)
        # one draw, step by step, so that a wider padding changes nothing before it; its last feature ranks the steps
        normal = _normal((length, rows, features + 1), generator).transpose(0, 1)
        scale = self.noise * (noisy < self.noise_probability)
        return {
            "noise": normal[..., :-1] * scale[:, None, None],
            "order": normal[..., -1],
            "drop": share * self.drop * (dropped < self.drop_probability),
        }

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        values = _take(inputs, "values", "series")
        real = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        if "attention_mask" in inputs:
            real = inputs["attention_mask"].bool()
        order = _send(noise["order"], values).masked_fill(~real, math.inf)
        rank = order.argsort(dim=1, stable=True).argsort(dim=1)
        lost = rank < (_send(noise["drop"], values) * real.sum(1)).floor()[:, None]
        changed = (values + _send(noise["noise"], values).to(values.dtype)).masked_fill(lost[..., None], 0)
        return {**inputs, "values": torch.where(real[..., None], changed, values)}


@dataclass(frozen=True)
class TableView(View):
    """Gaussian noise of standard deviation `noise` on floating `values` (B, F) of a row, with `noise_probability`."""

    noise: float = 0.1
    noise_probability: float = 1.0

    def __post_init__(self) -> None:
        _check(self, "noise", *AMOUNT)
        _check(self, "noise_probability", *PROBABILITY)

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        (features,) = _take(inputs, "values", "table").shape[1:]
        scale = self.noise * (torch.rand(rows, 1, generator=generator) < self.noise_probability)
        return {"noise": _normal((rows, features), generator) * scale}

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        values = _take(inputs, "values", "table")
        return {**inputs, "values": values + _send(noise["noise"], values).to(values.dtype)}


VIEWS: dict[str, type[View]] = {
    "image": ImageView,
    "text": TextView,
    "series": SeriesView,
    "table": TableView,
    "none": NoView,
}


def build_view(kind: str, **options: Any) -> View:
    """The view named `kind`, a key of `VIEWS`; lists in `options`, as YAML gives them, become tuples.

    Raises:
        ValueError: unknown kind or option, a missing option, or a value out of its range; says what to write instead.
    """
    if kind not in VIEWS:
        raise ValueError(_unknown("view", kind, VIEWS))
    known = {field.name: field for field in fields(VIEWS[kind])}
    for name in options:
        if name not in known:
            raise ValueError(_unknown(f"option of the {kind} view", name, known))
    missing = [name for name, field in known.items() if field.default is MISSING and name not in options]
    if missing:
        raise ValueError(f"the {kind} view needs {', '.join(missing)}")
    lists = {name: tuple(v) for name, v in options.items() if isinstance(v, Sequence) and not isinstance(v, str)}
    return VIEWS[kind](**options | lists)


class Views:
    """The views of a whole batch `{modality: inputs}`, one `View` a modality, reproducible from `seed`."""

    def __init__(self, modalities: dict[str, View], seed: int = 0) -> None:
        self.modalities = dict(modalities)
        self.seed = seed
        _check(self, "seed", lambda v: isinstance(v, int) and v >= 0, "a whole number, 0 or more")

    def plain(self, modalities: dict[str, Inputs]) -> dict[str, Inputs]:
        """The deterministic views of a batch."""
        self._check_names(modalities)
        return {name: self.modalities[name].plain(inputs) for name, inputs in modalities.items()}

    def augmented(
        self,
        modalities: dict[str, Inputs],
        *,
        view: int,
        position: int = 0,
        rows: slice | None = None,
        global_rows: int | None = None,
    ) -> dict[str, Inputs]:
        """The random views of a batch, or of a slice of the global batch.

        Args:
            modalities: the rows at hand; a ValueError says which modality is unknown, missing or of another length.
            view: which of a row's views: 0, 1 or any later one.
            position: rows consumed by training before this global batch.
            rows: where the rows at hand lie in the global batch; all of it by default.
            global_rows: size of the global batch; the rows at hand by default.
        """
        self._check_names(modalities)
        sizes = {name: len(next(iter(inputs.values()))) for name, inputs in modalities.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"a batch needs modalities with the same number of rows, got {sizes}")
        here = next(iter(sizes.values()))
        total = here if global_rows is None else global_rows
        rows = slice(None) if rows is None else rows
        asked = len(range(total)[rows])
        if asked != here:
            raise ValueError(f"the batch has {here} rows, but {rows} of global_rows={total} are {asked}")

        result = {}
        for place, (name, augmentation) in enumerate(self.modalities.items()):
            key = np.random.SeedSequence((self.seed, view, place, position)).generate_state(1)
            generator = Generator().manual_seed(int(key[0]))
            noise = augmentation.draw(total, modalities[name], generator)
            noise = {part: numbers[rows] for part, numbers in noise.items()}
            result[name] = augmentation.augment(modalities[name], noise)
        return result

    def _check_names(self, modalities: Mapping[str, Inputs]) -> None:
        for name in modalities:
            if name not in self.modalities:
                raise ValueError(_unknown("modality", name, self.modalities))
        missing = [name for name in self.modalities if name not in modalities]
        if missing:
            raise ValueError(f"the batch lacks the modality {', '.join(missing)}; it has {', '.join(modalities)}")


def _send(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.to(like.device, non_blocking=True)


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Standard normal numbers, of which the first do not depend on how many follow."""
    count = math.prod(shape)
    whole = 16 * math.ceil(count / 16)  # randn works in blocks of 16 and draws a ragged last one twice
    return torch.randn(whole, generator=generator)[:count].view(shape)


def _take(inputs: Mapping[str, Tensor], key: str, kind: str) -> Tensor:
    if key not in inputs:
        raise ValueError(f"the {kind} view needs '{key}'; this modality has {', '.join(inputs) or 'nothing'}")
    if key == "values" and not inputs[key].is_floating_point():
        raise ValueError(f"the {kind} view needs floating values, got {inputs[key].dtype}")
    return inputs[key]


def _as_float(pixels: Tensor) -> tuple[Tensor, float]:
    """Pixels as float32, and the factor that brings them to [0, 1]: folded into later arithmetic, it saves a pass."""
    known = pixels.dtype == torch.uint8 or pixels.is_floating_point()
    if not known or pixels.dim() != 4 or pixels.shape[1] != 3:
        given = f"{pixels.dtype} of shape {tuple(pixels.shape)}"
        raise ValueError(f"pixel_values must be uint8, or floats in [0, 1], of shape (B, 3, H, W), got {given}")
    unit = 1 / 255 if pixels.dtype == torch.uint8 else 1.0
    return pixels.to(torch.float32, memory_format=torch.contiguous_format), unit


def _check(options: object, names: str, valid: Callable[[Any], bool], wanted: str) -> None:
    """Refuse the first of the options `names` that is not valid; a value of another kind is not."""
    for name in names.split():
        value = getattr(options, name)
        try:
            good = valid(value)
        except (TypeError, LookupError):
            good = False
        if not good:
            raise ValueError(f"{name}={value!r}: write {wanted}")


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    nearest = get_close_matches(str(name), known, n=1, cutoff=0.0)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else "."
    return f"unknown {what} '{name}'{hint} Known: {', '.join(known) or 'none'}"
