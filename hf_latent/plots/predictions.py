"""The figure of what a model says of held-out pictures: each with its sentence, and whether the model is right."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .look import BARS, save_png, titled_panels

COLUMNS = 4
MOST = 12
RIGHT, WRONG = BARS[2], BARS[5]
GAP = 0.06  # between two pictures, of their width

Pictures = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]


def plot_predictions(
    pictures: Sequence[Pictures],
    texts: Sequence[str],
    answers: Sequence[str],
    predictions: Sequence[str],
    path: str | Path,
) -> Path:
    """Pictures with what was said or asked above, and below what the model says: with a green tick where it is right,
    else with an orange cross and the right answer.

    Args:
        pictures: `(H, W, 3)` uint8 each, or several of one size, which are shown side by side; 1 to 12 of them.
        texts: The sentence or question of each.
        answers: What is right of each.
        predictions: What the model says.
        path: where the PNG goes.

    Raises:
        ValueError: nothing to draw, more than 12, lists of different lengths, pictures of other shapes, or the path
            does not end in `.png`.
    """
    return save_png(predictions_figure(pictures, texts, answers, predictions), path)


def predictions_figure(
    pictures: Sequence[Pictures], texts: Sequence[str], answers: Sequence[str], predictions: Sequence[str]
) -> Figure:
    """The figure of `plot_predictions`."""
    lengths = {len(pictures), len(texts), len(answers), len(predictions)}
    if len(lengths) > 1 or not 1 <= len(pictures) <= MOST:
        raise ValueError(
            f"Give 1 to {MOST} pictures, a text, an answer and a prediction for each; got {len(pictures)} pictures, "
            f"{len(texts)} texts, {len(answers)} answers and {len(predictions)} predictions."
        )
    shown = [_side_by_side(row) for row in pictures]
    right = sum(answer == said for answer, said in zip(answers, predictions, strict=True))
    columns = min(COLUMNS, len(shown))
    wide = max(picture.shape[1] / picture.shape[0] for picture in shown)
    width = 1.2 + 1.5 * wide
    height = 0.8 + (width - 0.4) / wide
    title = f"{right} of {len(shown)} right" if columns < 3 else f"Held-out pictures, {right} of {len(shown)} right"
    figure, panels = titled_panels(title, ceil(len(shown) / columns), columns, (width, height))
    letters = int(11 * width)  # that fit above a panel at this font size
    for panel, picture, text, answer, said in zip(panels, shown, texts, answers, predictions, strict=False):
        good = answer == said
        color = RIGHT if good else WRONG
        panel.set_visible(True)
        panel.imshow(picture)
        panel.set(xticks=[], yticks=[])
        for spine in panel.spines.values():
            spine.set(color=color, linewidth=3)
        panel.set_title(fill(text, letters), fontsize=11)
        verdict = f"✓ {said}" if good else f"✗ {said}\n(right: {answer})"
        panel.set_xlabel(verdict, fontsize=11, fontweight="bold", color=color)
    return figure


def _side_by_side(pictures: Pictures) -> NDArray[np.uint8]:
    """One picture, or several in a row with white between them."""
    row = [np.asarray(picture) for picture in ([pictures] if isinstance(pictures, np.ndarray) else pictures)]
    if not row or any(picture.ndim != 3 or picture.shape != row[0].shape for picture in row):
        shapes = [picture.shape for picture in row]
        raise ValueError(f"A picture must be (H, W, 3), and those of a row of one size; got {shapes}.")
    height, width = row[0].shape[:2]
    gap = np.full((height, max(1, round(GAP * width)), 3), 255, dtype=np.uint8)
    parts = [part for picture in row for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=1)
