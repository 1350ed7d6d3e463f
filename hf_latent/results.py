"""What a run can have measured: the one list that tables and cards read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One number of `metrics.json`.

    Attributes:
        title: What it tells, in words.
        chance: What a constant guess reaches, or a collapsed space.
        unit: `%`, or nothing.
        column: Whether tables on the terminal show it.
        short: The head of its column; the key by default.
        metric: The type of the metric in a model card's index.
        task: The task that it belongs to there.
    """

    title: str
    chance: str = ""
    unit: str = ""
    column: bool = True
    short: str = ""
    metric: str = "accuracy"
    task: str = "feature-extraction"

    def cell(self, value: float | None) -> str:
        """The number as tables print it."""
        return "n/a" if value is None else f"{value:.1f}" if self.unit == "%" else f"{value:.3f}"


def _probe(factor: str, features: str) -> Result:
    return Result(f"Linear probe of the {factor} on {features}", "10", "%")


def _zero_shot(k: int) -> Result:
    title = f"Zero-shot classification among 100 captions, top {k}"
    metric, task = "accuracy" if k == 1 else f"top_{k}_accuracy", "zero-shot-image-classification"
    return Result(title, str(k), "%", k == 1, "zero_shot", metric, task)


def _recall(query: str, candidate: str, k: int) -> Result:
    return Result(
        f"Retrieval, {query} to {candidate}, recall at {k}", "", "%", k == 1, f"{query[0]}2{candidate[0]}_r{k}"
    )


RESULTS: dict[str, Result] = {
    "redundancy": Result("Redundancy: the shape that both images share", "10", "%"),
    "uniqueness1": Result("Uniqueness 1: the texture of the first image", "10", "%"),
    "uniqueness2": Result("Uniqueness 2: the texture of the second image", "10", "%"),
    "synergy": Result("Synergy: does the second color fit the first texture? (class-weighted probe)", "50", "%"),
    "synergy_unweighted": Result("Synergy, unweighted probe (the protocol of the CoMM paper)", "50", "%"),
    "synergy_auroc": Result("Synergy, area under the ROC curve", "0.5", metric="roc_auc"),
    **{f"zero_shot_top{k}": _zero_shot(k) for k in (1, 3, 5)},
    **{f"image_to_text_r{k}": _recall("image", "text", k) for k in (1, 5, 10)},
    **{f"text_to_image_r{k}": _recall("text", "image", k) for k in (1, 5, 10)},
    "probe_shape": _probe("shape", "the image embedding"),
    "probe_color": _probe("color", "the image embedding"),
    "probe_texture": _probe("texture (no caption names it)", "the image embedding"),
    "probe_texture_full": _probe("texture", "the image embedding and its independent one"),
    "gap_centroid": Result(
        "Modality gap: distance between the mean image and the mean text", "0", metric="gap_centroid"
    ),
    "gap_paired": Result("Mean distance between an image and its caption", "0", column=False, metric="gap_paired"),
    "cka": Result("Linear CKA of images and their captions", metric="cka"),
    "mutual_knn": Result(
        "Share of the 10 nearest neighbours that images and captions agree on", column=False, metric="mutual_knn"
    ),
    "uniformity_image": Result(
        "Uniformity of the images (lower is more even)", "0", column=False, metric="uniformity_image"
    ),
    "uniformity_text": Result("Uniformity of the texts", "0", column=False, metric="uniformity_text"),
    "effective_rank_image": Result(
        "Effective rank of the image embeddings", column=False, metric="effective_rank_image"
    ),
    "effective_rank_text": Result("Effective rank of the text embeddings", column=False, metric="effective_rank_text"),
    "separation": Result(
        "Mean absolute cosine of an image's embedding and its independent one", column=False, metric="separation"
    ),
    "temperature": Result("Temperature after training", column=False, metric="temperature"),
}


Rows = Mapping[str, Mapping[str, Any]]


def columns(rows: Rows) -> dict[str, str]:
    """The results that tables show of some runs, and the heads of their columns."""
    return {k: r.short or k for k, r in RESULTS.items() if r.column and any(k in row for row in rows.values())}


def table(metrics: Rows) -> str:
    """Runs as rows, results as columns; a result that no run has is left out."""
    heads = columns(metrics)
    width = max(len("run"), *map(len, metrics))
    lines = ["  ".join(["run".ljust(width), *heads.values()])]
    for name, values in metrics.items():
        cells = [RESULTS[key].cell(values.get(key)).rjust(len(head)) for key, head in heads.items()]
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join(lines)


def markdown(summary: Rows) -> str:
    """The same of means and spreads, `{"mean", "std", "runs"}`, as Markdown."""
    heads = columns(summary)
    lines = [f"| structure | {' | '.join(heads.values())} |", f"|---{'|---:' * len(heads)}|"]
    for name, row in summary.items():
        cells = []
        for result, cell in ((RESULTS[key], row.get(key)) for key in heads):
            spread = f" ± {result.cell(cell['std'])}" if cell and cell["runs"] > 1 else ""
            cells.append(result.cell(cell["mean"]) + spread if cell else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
