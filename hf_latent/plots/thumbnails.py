"""Small pictures of values."""

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from .look import BARS

SIDE = 96  # pixels
LINES, BINS = len(BARS), 32  # the most channels of a series, and bars of a row of numbers, that are drawn
MARGIN = 6
GROUND, AXIS = "#f3f3f3", "#9a9a9a"


def of_images(values: list[Image.Image]) -> Image.Image:
    """Images side by side, each whole."""
    shown, width = Image.new("RGB", (SIDE, SIDE), "grey"), SIDE // len(values)
    for place, value in enumerate(values):
        shown.paste(ImageOps.pad(value, (width, SIDE), color="grey"), (place * width, 0))
    return shown


def of_series(values: np.ndarray) -> Image.Image:
    """A line for each of the first channels of (length, channels) values, over time; each has its own scale."""
    shown = Image.new("RGB", (2 * SIDE, 2 * SIDE), GROUND)  # drawn larger: lines of Pillow are not smoothed
    draw, space = ImageDraw.Draw(shown), 2 * (SIDE - 2 * MARGIN)
    x = 2 * MARGIN + space * np.linspace(0, 1, max(2, len(values)))
    for channel in reversed(range(min(LINES, values.shape[1]))):
        column = values[:, channel] if len(values) > 1 else np.repeat(values[:1, channel], 2)
        low, high = column.min(), column.max()
        y = 2 * MARGIN + space * (high - column) / (high - low) if high > low else np.full(len(column), float(SIDE))
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), BARS[channel], 3)
    return shown.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def of_numbers(values: np.ndarray) -> Image.Image:
    """Numbers as bars up and down from zero, on the scale of the largest; of many, means of neighbours."""
    bars = [float(part.mean()) for part in np.array_split(values, min(BINS, len(values)))] if len(values) else [0.0]
    shown = Image.new("RGB", (SIDE, SIDE), GROUND)
    draw, most = ImageDraw.Draw(shown), max(map(abs, bars)) or 1.0
    width, middle = (SIDE - 2 * MARGIN) / len(bars), SIDE / 2
    for place, height in enumerate(bars):
        left, end = MARGIN + place * width, middle - (middle - MARGIN) * height / most
        box = (left, min(middle, end), left + max(1.0, width - 1), max(middle, end))
        draw.rectangle(box, BARS[0] if height >= 0 else BARS[5])
    draw.line((MARGIN, middle, SIDE - MARGIN, middle), AXIS)
    return shown


def of_waveform(samples: np.ndarray) -> Image.Image:
    """The lowest and the highest sample of each moment of `(samples,)`, on the scale of the loudest."""
    shown = Image.new("RGB", (SIDE, SIDE), GROUND)
    draw, middle = ImageDraw.Draw(shown), SIDE / 2
    most = float(np.abs(samples).max(initial=0)) or 1.0
    parts = np.array_split(samples, min(SIDE - 2 * MARGIN, max(1, len(samples))))
    width = (SIDE - 2 * MARGIN) / len(parts)
    for place, part in enumerate(parts):
        low, high = (float(part.min()), float(part.max())) if len(part) else (0.0, 0.0)
        top, bottom = (middle - (middle - MARGIN) * height / most for height in (max(high, 0.0), min(low, 0.0)))
        draw.rectangle((MARGIN + place * width, top, MARGIN + (place + 1) * width - 1, max(top + 1, bottom)), BARS[0])
    return shown
