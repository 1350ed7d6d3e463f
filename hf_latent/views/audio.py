"""Noise, gain, shifts and masks of sound."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .base import AMOUNT, PROBABILITY, VIEWS, Inputs, View, check, send, take

KEYS = ("input_values", "input_features")
SEED = 2**30  # a row's noise has one of as many seeds


@VIEWS.register("audio")
@dataclass(frozen=True)
class AudioView(View):
    """Augmentation of sound, as waveforms `input_values` (B, samples), or as features (B, ..., frames, bins).

    Of waveforms: a shift in time, a gain and white noise. Of features: masks of time and of frequency, SpecAugment
    (Park et al. 2019, arXiv 1904.08779) without its time warping; what is masked becomes the mean of the row. Padding
    (`attention_mask` 0) is left as it is, and what is drawn does not depend on it.

    Args:
        noise: standard deviation of the noise as a share of the root mean square of the row, drawn from U(0, noise).
        noise_probability: probability that a row is noisy.
        gain: the row is multiplied by U(-gain, gain) decibels.
        shift: the row is shifted to either side by a share U(0, shift) of its length, in a circle.
        time_masks: how many masks of time are drawn.
        time_mask: each is U(0, time_mask) of the frames of the row long.
        frequency_masks: how many masks of frequency are drawn.
        frequency_mask: each is U(0, frequency_mask) of the bins high.
    """

    kinds = ("audio",)

    noise: float = 0.1
    noise_probability: float = 0.5
    gain: float = 6.0
    shift: float = 0.2
    time_masks: int = 2
    time_mask: float = 0.15
    frequency_masks: int = 2
    frequency_mask: float = 0.2

    def __post_init__(self) -> None:
        check(self, "noise gain", *AMOUNT)
        check(self, "noise_probability shift time_mask frequency_mask", *PROBABILITY)
        whole = "a whole number, 0 or more"
        check(self, "time_masks frequency_masks", lambda v: isinstance(v, int) and v >= 0, whole)

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        """Of waveforms noise, gain, shift, each (rows,), and seed (rows,) of the noise; of features time, frequency
        (rows, masks, 2): size and place of each mask, as shares."""
        if _taken(inputs)[1].ndim == 2:
            amount, noisy, gain, shift = torch.rand(4, rows, generator=generator)
            return {
                "noise": amount * self.noise * (noisy < self.noise_probability),
                "gain": 10 ** ((2 * gain - 1) * self.gain / 20),
                "shift": (2 * shift - 1) * self.shift,
                "seed": torch.randint(SEED, (rows,), generator=generator),
            }
        time = torch.rand(rows, self.time_masks, 2, generator=generator)
        frequency = torch.rand(rows, self.frequency_masks, 2, generator=generator)
        sizes = {"time": self.time_mask, "frequency": self.frequency_mask}
        scale = {name: torch.tensor([size, 1.0]) for name, size in sizes.items()}
        return {"time": time * scale["time"], "frequency": frequency * scale["frequency"]}

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        key, values = _taken(inputs)
        time = values.shape[1] if values.ndim == 2 else values.shape[-2]
        real = torch.ones(len(values), time, dtype=torch.bool, device=values.device)
        if "attention_mask" in inputs:
            real = inputs["attention_mask"].bool()
        change = _waveforms if values.ndim == 2 else _masked
        return {**inputs, key: change(values, real, {name: send(part, values) for name, part in noise.items()})}


def _taken(inputs: Inputs) -> tuple[str, Tensor]:
    key = next((key for key in KEYS if key in inputs), KEYS[0])
    return key, take(inputs, key, "audio")


def _waveforms(values: Tensor, real: Tensor, noise: Inputs) -> Tensor:
    lengths, place = real.sum(1, keepdim=True), torch.arange(values.shape[1], device=values.device)
    by = (noise["shift"][:, None] * lengths).round().long()
    moved = values.gather(1, torch.where(real, (place - by) % lengths.clamp(min=1), place))
    power = _mean_of_real(values.square(), lengths)
    white = white_noise(noise["seed"], values.shape[1]) * (power.sqrt() * noise["noise"][:, None])
    changed = (moved + white.to(values.dtype)) * noise["gain"][:, None].to(values.dtype)
    return torch.where(real, changed, values)


def _masked(values: Tensor, real: Tensor, noise: Inputs) -> Tensor:
    """Features with masks; channels between the row and its frames are masked alike."""
    shape, lengths = values.shape, real.sum(1, keepdim=True)
    values = values.flatten(1, -3) if values.ndim > 3 else values.unsqueeze(1)
    frames, bins = (torch.arange(size, device=values.device)[None] for size in values.shape[-2:])
    hidden = _within(frames, noise["time"], lengths)[:, :, None]
    hidden = hidden | _within(bins, noise["frequency"], torch.full_like(lengths, values.shape[-1]))[:, None]
    weights = real[:, None, :, None]
    mean = _mean_of_real(values.mean((1, 3)), lengths)
    changed = torch.where(hidden[:, None] & weights, mean[..., None, None], values)
    return changed.reshape(shape)


def _mean_of_real(values: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the real places of (rows, n), (rows, 1). A running sum, which does not depend on what follows, gives
    the same bits whatever the padding; a sum does not."""
    sums = values.cumsum(1).gather(1, (lengths - 1).clamp(min=0))
    return sums / lengths.clamp(min=1)


def _within(places: Tensor, masks: Tensor, lengths: Tensor) -> Tensor:
    """Which places (1, n) lie in a mask (rows, masks, 2) of rows of some lengths (rows, 1): (rows, n)."""
    size = (masks[..., 0] * lengths).floor()
    start = (masks[..., 1] * (lengths - size + 1)).floor()
    place = places[..., None]
    return ((place >= start[:, None]) & (place < (start + size)[:, None])).any(-1)


def white_noise(seeds: Tensor, length: int) -> Tensor:
    """Standard normal numbers `(rows, length)` on the device of the seeds, each by its place and its seed.

    They are made where the sound is, for a batch holds millions of samples, and by whole numbers, so that every device
    and every length gives the same: two hashes of place and seed are the uniform numbers of a Box-Muller transform.
    """
    place = torch.arange(length, device=seeds.device)
    first, second = (_uniform(seeds[:, None] + SEED * part, place) for part in (1, 2))
    return (-2 * first.log()).sqrt() * (2 * math.pi * second).cos()


def _uniform(seed: Tensor, place: Tensor) -> Tensor:
    """Numbers above 0 and at most 1, by a hash of 31 bits; products stay below 2^63."""
    mask, mixed = 2**31 - 1, (place + 1) * 0x9E3779B1 % 2**31
    mixed = (mixed ^ (seed * 0x85EBCA6B % 2**61 >> 7)) & mask
    for factor in (0x45D9F3B, 0x2C1B3C6D):
        mixed = (mixed ^ (mixed >> 15)) * factor & mask
    return ((mixed ^ (mixed >> 13)) + 1).float() / 2**31
