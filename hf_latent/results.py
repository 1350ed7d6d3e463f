"""What a run can have measured: the one list that tables and cards read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import printable


@dataclass(frozen=True)
class Group:
    """Results that belong together in a card: their heading, and what all of them are."""

    title: str
    text: str


# In the order of a card: first what the model can do, then what its space looks like.
GROUPS: dict[str, Group] = {
    "zero_shot": Group("Zero-shot classification", "Every image takes the caption whose embedding lies nearest."),
    "retrieval": Group(
        "Retrieval", "Held-out images and captions look for each other by cosine; a caption that repeats counts once."
    ),
    "grounding": Group(
        "Grounding",
        "Where matching looks (Grad-CAM on its cross-attention) when it is given a phrase and a held-out picture, "
        "against the box of what the phrase names. No box was seen in training.",
    ),
    "answers": Group(
        "Questions",
        "What the model answers to questions on held-out images: the likeliest of a closed list of answers.",
    ),
    "classes": Group(
        "Sentences about images",
        "Whether a sentence is right of held-out images, or which of them it is about, told by the model as a class.",
    ),
    "interactions": Group(
        "Redundant, unique and synergistic information",
        "What a linear probe reads from the frozen representation of a pair of images, as macro accuracy: what both "
        "of them show, what only one of them shows, and what only the two together tell. On synergy, a representation "
        "that holds none may lie below chance: a color that is frequent among the training images of a shape is "
        "rare among the held-out ones, and what a probe learns of such frequencies is reversed on held-out pairs.",
    ),
    "probes": Group("Factors", "What a linear probe reads from the frozen embedding of an image, as accuracy."),
    "gap": Group(
        "The gap between the modalities",
        "How far image and text embeddings lie from each other on the unit sphere (Liang et al. 2022; Wang and Isola "
        "2020).",
    ),
    "spread": Group(
        "The spread of each modality",
        "How much of the space the embeddings use (Wang and Isola 2020; Roy and Vetterli 2007).",
    ),
    "agreement": Group(
        "The agreement of the modalities",
        "Whether what lies near each other in one modality does so in the other (Kornblith et al. 2019; Huh et al. "
        "2024).",
    ),
    "parameters": Group("Heads and temperature", "What became of them in training."),
}
STRUCTURE = ("gap", "spread", "agreement", "parameters")
"""The groups that describe the space, and no task."""


@dataclass(frozen=True)
class Result:
    """One number of `metrics.json`.

    Attributes:
        title: What it tells, in words.
        group: The key of its [`Group`].
        chance: What a constant guess reaches; or the key of `metrics.json` that tells, where it depends on the data.
        reading: How to read it, where there is no chance level.
        unit: `%`, or nothing.
        column: Whether tables on the terminal show it.
        short: The head of its column; the key by default.
        metric: The type of the metric in a model card's index.
        task: The task that it belongs to there.
    """

    title: str
    group: str
    chance: str = ""
    reading: str = ""
    unit: str = ""
    column: bool = True
    short: str = ""
    metric: str = "accuracy"
    task: str = "feature-extraction"

    def cell(self, value: float | None) -> str:
        """The number as tables print it."""
        return "n/a" if value is None else f"{value:.1f}" if self.unit == "%" else f"{value:.3f}"


def _interaction(title: str, chance: str) -> Result:
    return Result(title, "interactions", chance, unit="%", metric="balanced_accuracy")


def _probe(factor: str, features: str) -> Result:
    return Result(f"{factor}, from {features}", "probes", "10", unit="%")


def _zero_shot(k: int) -> Result:
    return Result(
        "Right caption nearest of 100" if k == 1 else f"Right caption among the nearest {k} of 100",
        "zero_shot",
        str(k),
        unit="%",
        column=k == 1,
        short="zero_shot",
        metric="accuracy" if k == 1 else f"top_{k}_accuracy",
        task="zero-shot-image-classification",
    )


def _recall(query: str, candidate: str, k: int, reranked: bool = False) -> Result:
    short = f"{query[0]}2{candidate[0]}_r{k}"
    return Result(
        f"{query.capitalize()} to {candidate}, recall at {k}" + (", re-ranked by matching" if reranked else ""),
        "retrieval",
        reading=f"share of {query}s with a right {candidate} among the nearest {k}",
        unit="%",
        column=k == 1,
        short=f"itm_{short}" if reranked else short,
        metric=f"recall_at_{k}",
    )


def _median_rank(query: str, candidate: str) -> Result:
    title = f"{query.capitalize()} to {candidate}, median rank"
    return Result(
        title, "retrieval", reading=f"of the nearest right {candidate}; 1 is best", column=False, metric="median_rank"
    )


def _task(name: str, plural: str, task: str, overall: dict[str, str], kinds: dict[str, str]) -> dict[str, Result]:
    """What `metrics.task_accuracy` gives: over all, by class, and of each kind of `{kind: "title, chance"}`."""

    def accuracy(title: str, **options: Any) -> Result:
        return Result(title, plural, unit="%", task=task, **options)

    found = {
        f"{name}_accuracy": accuracy(f"Right {name}", short=name, **overall),
        f"{name}_accuracy_balanced": accuracy(
            f"Right {name}, mean over the {plural}",
            reading="a constant guess reaches 100 / their number",
            column=False,
            metric="balanced_accuracy",
        ),
    }
    for kind, text in kinds.items():
        title, _, chance = text.rpartition(", ")
        found[f"{name}_accuracy_{kind}"] = accuracy(f"Right {name}: {title}", chance=chance, column=False, short=kind)
    return found


def _geometry(metric: str, group: str, title: str, reading: str, column: bool = False) -> Result:
    return Result(title, group, reading=reading, column=column, metric=metric)


def _grounding(short: str, title: str, chance: str) -> Result:
    metric = {"pointing": "pointing_accuracy", "box": "accuracy", "energy": "energy_in_box"}[short]
    reading = "share of phrases" if short != "energy" else "mean over phrases"
    return Result(
        title, "grounding", chance, reading, unit="%", column=short == "pointing", short=short, metric=metric
    )


RESULTS: dict[str, Result] = {
    "redundancy": _interaction("Redundancy: the shape that both images share", "10"),
    "uniqueness1": _interaction("Uniqueness 1: the texture of the first image", "10"),
    "uniqueness2": _interaction("Uniqueness 2: the texture of the second image", "10"),
    "synergy": _interaction("Synergy: does the second color fit the first texture? (class-weighted probe)", "50"),
    "synergy_unweighted": _interaction("Synergy, unweighted probe (the protocol of the CoMM paper)", "50"),
    "synergy_auroc": Result("Synergy, area under the ROC curve", "interactions", "0.5", metric="roc_auc"),
    **{f"zero_shot_top{k}": _zero_shot(k) for k in (1, 3, 5)},
    **{f"image_to_text_r{k}": _recall("image", "text", k) for k in (1, 5, 10)},
    "image_to_text_median_rank": _median_rank("image", "text"),
    **{f"text_to_image_r{k}": _recall("text", "image", k) for k in (1, 5, 10)},
    "text_to_image_median_rank": _median_rank("text", "image"),
    **{f"reranked_image_to_text_r{k}": _recall("image", "text", k, reranked=True) for k in (1, 5, 10)},
    **{f"reranked_text_to_image_r{k}": _recall("text", "image", k, reranked=True) for k in (1, 5, 10)},
    "grounding_pointing": _grounding("pointing", "The largest value of the map lies in the box", "grounding_chance"),
    "grounding_box": _grounding("box", "The right box, chosen among those of all objects", "grounding_box_chance"),
    "grounding_energy": _grounding("energy", "Share of the map in the box", "grounding_chance"),
    **_task(
        "answer",
        "answers",
        "visual-question-answering",
        {"chance": "answer_chance"},
        {
            "color": "what color?, 10",
            "shape": "what shape?, 10",
            "texture": "what texture?, 10",
            "yes_no": "yes or no?, 50",
        },
    ),
    **_task(
        "class",
        "classes",
        "visual-question-answering",
        {"chance": "class_chance"},
        {
            "plain": "what the picture shows, 50",
            "open": "with a word that no picture tells, 50",
            "either": "what it shows, or a word that no picture tells, 40",
            "both": "of both pictures, 50",
            "one": "of exactly one, 50",
            "same": "what both have in common, 50",
            "side": "of the left or the right one, 50",
            "near": "which of two that are much alike, 33.3",
            "far": "which of two that are not, 33.3",
        },
    ),
    "probe_shape": _probe("Shape", "the image embedding"),
    "probe_color": _probe("Color", "the image embedding"),
    "probe_texture": _probe("Texture, which no caption names", "the image embedding"),
    "probe_texture_full": _probe("Texture", "the image embedding and its independent one, side by side"),
    "gap_centroid": _geometry(
        "gap_centroid",
        "gap",
        "Modality gap: distance between the mean image and the mean text",
        "0 where the two clouds have one center, 2 at most",
        column=True,
    ),
    "gap_paired": _geometry(
        "gap_paired", "gap", "Mean distance between an image and its caption", "0 where they coincide, 1.41 unrelated"
    ),
    "paired_cosine": _geometry(
        "paired_cosine", "gap", "Mean cosine of an image and its caption", "1 where they coincide, 0 unrelated"
    ),
    "alignment": _geometry(
        "alignment", "gap", "Alignment: mean squared distance of pairs", "0 where they coincide, 2 unrelated"
    ),
    **{
        f"uniformity_{name}": _geometry(
            f"uniformity_{name}", "spread", f"Uniformity of the {name}s", "-4 spread evenly, 0 collapsed to a point"
        )
        for name in ("image", "text")
    },
    **{
        f"effective_rank_{name}": _geometry(
            f"effective_rank_{name}",
            "spread",
            f"Effective rank of the {name} embeddings",
            "how many directions they use",
        )
        for name in ("image", "text")
    },
    "cka": _geometry(
        "cka",
        "agreement",
        "Linear CKA of images and their captions",
        "1 for one structure, 0 for none in common",
        column=True,
    ),
    "cka_unbiased": _geometry("cka_unbiased", "agreement", "The same, without its bias", "0 for unrelated modalities"),
    "mutual_knn": _geometry(
        "mutual_knn",
        "agreement",
        "Share of the 10 nearest neighbours that images and captions agree on",
        "1 for all, 0 for none",
    ),
    "separation": _geometry(
        "separation",
        "parameters",
        "Mean absolute cosine of an image's embedding and its independent one",
        "0 where they are orthogonal",
    ),
    "temperature": _geometry("temperature", "parameters", "Temperature after training", "lower is a sharper contrast"),
}


Rows = Mapping[str, Mapping[str, Any]]


def columns(rows: Rows) -> dict[str, str]:
    """The results that tables show of some runs, and the heads of their columns."""
    return {k: r.short or k for k, r in RESULTS.items() if r.column and any(k in row for row in rows.values())}


def table(metrics: Rows) -> str:
    """Runs as rows, results as columns; a result that no run has is left out."""
    heads = columns(metrics)
    names = {name: " ".join(printable(name).split()) for name in metrics}
    width = max(len("run"), *map(len, names.values()))
    lines = ["  ".join(["run".ljust(width), *heads.values()])]
    for name, values in metrics.items():
        cells = [RESULTS[key].cell(values.get(key)).rjust(len(head)) for key, head in heads.items()]
        lines.append("  ".join([names[name].ljust(width), *cells]))
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
