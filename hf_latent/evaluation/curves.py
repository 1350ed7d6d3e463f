"""What was measured during training, step by step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .measurement import Measurement

MOST = 8  # panels


def plot_evaluations(log_history: Sequence[Mapping[str, Any]], found: Sequence[Measurement], path: Path) -> None:
    """Draw the loss of the validation rows and the headline measurements of each evaluation; nothing where there were
    fewer than two.

    Args:
        log_history: The Trainer's `state.log_history`.
        found: What was measured, as described for the validation rows: it says what is a headline, and its chance.
        path: Where the PNG goes.
    """
    from ..plots import Curve, plot_curves

    entries = [entry for entry in log_history if "eval_loss" in entry and "step" in entry]
    if len({entry["step"] for entry in entries}) < 2:
        return
    heads = [measurement for measurement in found if measurement.headline]
    curves = [Curve("loss of the validation rows", _points(entries, "eval_loss"))]
    for measurement in heads:
        points = _points(entries, f"eval_{measurement.key}")
        if len(points) > 1:
            title = (measurement.short or measurement.key).replace("_", " ")
            curves.append(Curve(title, points, measurement.unit, measurement.chance))
    plot_curves(curves[:MOST], path)


def _points(entries: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    return [(entry["step"], float(entry[key])) for entry in entries if key in entry]
