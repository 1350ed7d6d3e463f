"""Model cards, written from what a run measured."""

import html
import os
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..errors import UserError
from ..resources import resource_path
from ..results import RESULTS
from ..runs import CONFIG, METRICS, RECIPE, read_json, read_metrics, run_file

# What a card may tell of a recipe. Everything else (paths, tokens, names of people and machines) stays at home.
TRAINING_FIELDS = (
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "bf16",
    "fp16",
    "global_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_steps",
    "num_train_epochs",
    "optim",
    "per_device_train_batch_size",
    "seed",
    "warmup_steps",
    "weight_decay",
)
DATA_FIELDS = (
    "biased",
    "image_size",
    "max_pairs",
    "name",
    "renders",
    "seed",
    "test_renders",
    "texture_period",
    "tokenizers",
)

TASKS = {
    "feature-extraction": "Measurement of frozen features",
    "zero-shot-image-classification": "Zero-shot image classification",
}
PIPELINES = {"latent_clip": "zero-shot-image-classification"}
FIGURES = {
    "interactions.png": "What a linear probe reads from the representation; dashed lines are chance.",
    "latent_map.png": "The representation of held-out pairs in two dimensions, colored by factor.",
    "losses.png": "The training loss and its terms.",
}


def write_card(run: Path) -> Path:
    """Write `README.md` of a run from its config, recipe, metrics and figures.

    Raises:
        UserError: If the folder holds no finished run.
    """
    text = render_card(run)
    path = run / "README.md"
    partial = path.with_suffix(".md.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return path


def render_card(run: Path) -> str:
    """The card of a run as Markdown with its YAML header."""
    config = read_json(run_file(run, CONFIG), "train it again")
    try:
        recipe = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(run_file(run, RECIPE))))
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{run / RECIPE} cannot be read: {error}") from None
    metrics = read_metrics(run) if (run / METRICS).is_file() else {}
    return render(run.resolve().name, config, recipe, metrics, {f for f in FIGURES if (run / "figures" / f).is_file()})


def render(
    name: str, config: dict[str, Any], recipe: dict[str, Any], metrics: dict[str, Any], figures: set[str]
) -> str:
    """Render a card from plain values; see [`render_card`]."""
    results = [
        {"title": result.title, "value": metrics[key], "chance": result.chance, "unit": result.unit, "key": key}
        for key, result in RESULTS.items()
        if key in metrics
    ]
    template = resource_path("model_cards", f"{config['model_type']}.md.jinja")
    # A name or a setting is text: it must neither become markup nor be evaluated.
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(template.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["text"] = _text
    body = environment.get_template(template.name).render(
        name=name,
        config=config,
        recipe=_shareable(recipe),
        recipe_yaml=_fenced(yaml.safe_dump(_shareable(recipe), sort_keys=False)),
        metrics=metrics,
        results=results,
        protocol=recipe.get("evaluation", {}).get("protocol", "standard"),
        figures=[(file, caption) for file, caption in FIGURES.items() if file in figures],
    )
    return f"---\n{_header(name, config, recipe, results)}\n---\n\n{body}"


def _shareable(recipe: dict[str, Any]) -> dict[str, Any]:
    def only(section: str, allowed: tuple[str, ...]) -> dict[str, Any]:
        return {key: value for key, value in recipe.get(section, {}).items() if key in allowed}

    kept: dict[str, Any] = {key: recipe[key] for key in ("model", "lora", "views", "evaluation") if key in recipe}
    return {**kept, "data": only("data", DATA_FIELDS), "training": only("training", TRAINING_FIELDS)}


def _header(name: str, config: dict[str, Any], recipe: dict[str, Any], results: list[dict[str, Any]]) -> str:
    dataset = str(recipe.get("data", {}).get("name", "dataset"))
    evaluations = [
        EvalResult(
            task_type=RESULTS[result["key"]].task,
            task_name=TASKS.get(RESULTS[result["key"]].task, "Retrieval"),
            dataset_type=dataset,
            dataset_name=f"{dataset} (held-out combinations)" if dataset.startswith("trifeature") else dataset,
            metric_type=RESULTS[result["key"]].metric,
            metric_name=result["key"],
            metric_value=round(float(result["value"]), 4),
        )
        for result in results
    ]
    data = ModelCardData(
        library_name="hf_latent",
        pipeline_tag=PIPELINES.get(str(config["model_type"]), "feature-extraction"),
        tags=["multimodal", "contrastive-learning", "representation-learning", str(config["model_type"])],
        model_name=" ".join(name.split()),
        eval_results=evaluations or None,
    )
    return data.to_yaml(line_break="\n").strip()


def _text(value: Any) -> str:
    """`value` on one line, with nothing left that Markdown or HTML would interpret."""
    line = html.escape(" ".join(str(value).split()))
    return "".join(f"\\{character}" if character in "\\`*_{}[]()#+!|" else character for character in line)


def _fenced(text: str) -> str:
    """`text` for a code block: it must not be able to close the block."""
    return text.replace("```", "'''").strip()
