"""Runs: train a recipe, measure what it learned, and put runs side by side."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoProcessor, TrainerState, set_seed
from transformers.trainer_utils import get_last_checkpoint

from . import __version__
from .data.collator import LatentCollator
from .data.loading import LoadedData, Probes
from .errors import UserError
from .hub.card import write_card
from .metrics.interactions import interactions
from .models.processing_comm import CoMMProcessor
from .plots import MAX_RUNS, plot_interactions, plot_latent_map, plot_losses
from .recipe import Recipe, load_recipe
from .runs import CONFIG, METRICS, RECIPE, STATE, read_json, read_metrics, run_file
from .training import LatentTrainer, LatentTrainingArguments
from .training.checkpoints import staged_files
from .training.distributed import barrier
from .views import VIEWS, ImageView, NoView, SeriesView, TableView, TextView, View, Views

COLUMNS = ("redundancy", "uniqueness1", "uniqueness2", "synergy", "synergy_unweighted", "synergy_auroc")
MAP_ROWS = 1500
RESUME_MAY_CHANGE = frozenset(
    [
        "disable_tqdm",
        "logging_steps",
        "logging_strategy",
        "max_steps",
        "num_train_epochs",
        "output_dir",
        "per_device_eval_batch_size",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "use_cpu",
        "dataloader_num_workers",
    ]
)
# The views that fit what an encoder reads. An image has no NoView: something must resize and normalise it.
VIEWS_OF: dict[str, tuple[type[View], ...]] = {
    "image": (ImageView,),
    "text": (TextView, NoView),
    "series": (SeriesView, NoView),
    "table": (TableView, NoView),
    "features": (TableView, SeriesView, NoView),
}


def train(recipe: Recipe, resume: bool = False) -> dict[str, Any]:
    """Train a recipe and leave a whole run folder behind.

    Args:
        recipe: From `load_recipe`.
        resume: Go on from the last checkpoint of the run; a run that has none begins.

    Returns:
        The content of `metrics.json`.

    Raises:
        UserError: If the folder holds a run and `resume` is not set, or holds the run of another recipe.
    """
    run = recipe.output_dir
    checkpoint = _claim(run, recipe, resume)
    if checkpoint is not None and (run / METRICS).exists() and load_recipe(run / RECIPE).values == recipe.values:
        print(f"{run} is finished already\n")
        return _report(run, read_metrics(run))
    arguments = _arguments(recipe)
    main = arguments.should_save
    data = recipe.data.load(progress=main and not arguments.disable_tqdm)
    with _blamed_on("training.seed"):
        set_seed(recipe.seed)  # of the model; the order of the rows and the views have the same
    with _blamed_on("model"):
        model = recipe.model_class(recipe.config)
        _ = model.objective
    processor = build_processor(model, recipe.views)
    trainer = _trainer(model, processor, arguments, data, recipe)
    print(data.summary)
    barrier()  # all have looked at the folder before one writes into it
    if main:
        with staged_files(run) as staging:
            (staging / RECIPE).write_text(recipe.to_yaml())
    with _blamed_on("the first batch cannot be embedded"):
        trainer.try_batch()
    if checkpoint is None or not trainer.is_finished(checkpoint):
        trainer.train(resume_from_checkpoint=checkpoint)
    if main:
        _save(run, trainer)
        metrics = _training_metrics(trainer, recipe)
        if checkpoint is not None:
            # The clock of the Trainer knows the last stretch only.
            metrics |= {"train_runtime": None, "train_samples_per_second": None}
    return _measure(run, recipe, trainer, data, metrics if main else {})


def evaluate(run: Path) -> dict[str, Any]:
    """Measure a finished run again, from the weights on the disk, and write its metrics, figures and card anew."""
    recipe = load_recipe(run_file(run, RECIPE))
    recipe.training.update(output_dir=str(run))
    model_type = read_json(run_file(run, CONFIG), "train it again").get("model_type")
    if model_type != recipe.config.model_type:
        raise UserError(f"{run} holds a model of type {model_type!r}, its recipe is of {recipe.config.model_type!r}")
    with _blamed_on(f"{run} holds no model that can be loaded"):
        model, report = AutoModel.from_pretrained(run, output_loading_info=True)
        processor = AutoProcessor.from_pretrained(run)
    strange = sorted(str(key) for kind in ("missing_keys", "unexpected_keys") for key in report[kind])
    if strange:
        raise UserError(f"the weights in {run} are of another model: {len(strange)} names differ, as {strange[0]}")
    data = recipe.data.load(progress=True)
    trainer = _trainer(model, processor, _arguments(recipe), data, recipe)
    with _blamed_on(f"{run / STATE} cannot be read"):
        trainer.state = TrainerState.load_from_json(str(run_file(run, STATE)))
    try:
        metrics = read_metrics(run)
    except UserError:
        metrics = _training_metrics(trainer, recipe)
    return _measure(run, recipe, trainer, data, metrics)


def compare(runs: Sequence[Path], output: Path | None = None) -> Path:
    """Print the metrics of runs side by side, and draw them as bars.

    Args:
        runs: Run folders; each is called by its folder's name.
        output: The picture; `comparison.png` beside the first run by default.

    Returns:
        The path of the picture.
    """
    metrics = {}
    for run in runs:
        name = run.resolve().name
        metrics[name if name not in metrics else str(run)] = read_metrics(run)
    print(table(metrics))
    if len(metrics) > MAX_RUNS:
        raise UserError(f"the picture holds at most {MAX_RUNS} runs, not {len(metrics)}: compare fewer at a time")
    with _blamed_on("the picture cannot be drawn"):
        picture = plot_interactions(metrics, output or runs[0].resolve().parent / "comparison.png")
    print(f"\nBars: {picture}")
    return picture


def table(metrics: dict[str, dict[str, Any]]) -> str:
    """Runs as rows, measurements as columns; a measurement that no run has is left out."""
    columns = [column for column in COLUMNS if any(column in values for values in metrics.values())]
    width = max(len("run"), *map(len, metrics))
    lines = ["  ".join(["run".ljust(width), *(column.rjust(len(column)) for column in columns)])]
    for name, values in metrics.items():
        cells = [_cell(column, values.get(column)).rjust(len(column)) for column in columns]
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join(lines)


def _cell(column: str, value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}" if column.endswith("auroc") else f"{value:.1f}"


def build_processor(model: Any, views: dict[str, View]) -> CoMMProcessor:
    """The processor that makes of raw inputs what the model saw in evaluation."""
    modalities = {}
    for name, encoder in model.encoders.items():
        modalities[name] = {"kind": encoder.kind}
        view = views[name]
        if not isinstance(view, VIEWS_OF[encoder.kind]):
            known = " or ".join(kind for kind, cls in VIEWS.items() if issubclass(cls, VIEWS_OF[encoder.kind]))
            raise UserError(f"views.{name}: its encoder reads {encoder.kind}; write kind: {known}")
        if isinstance(view, ImageView):
            modalities[name].update(size=view.size, mean=list(view.mean), std=list(view.std))
    with _blamed_on("model"):
        return CoMMProcessor(modalities)


def _claim(run: Path, recipe: Recipe, resume: bool) -> str | None:
    """The checkpoint to go on from, once it is clear that the folder is ours to write into."""
    if not (run / RECIPE).exists():
        return None
    if not resume:
        raise UserError(
            f"{run} already holds a run: go on with --resume, or write training.output_dir=... for another folder"
        )
    before = load_recipe(run / RECIPE).values
    for section in ("model", "data", "views"):
        if before.get(section) != recipe.values.get(section):
            raise UserError(
                f"{run} was made with another section {section!r}: --resume needs the recipe it began with"
            )
    old, new = before.get("training", {}), recipe.values.get("training", {})
    for key in sorted((old.keys() | new.keys()) - RESUME_MAY_CHANGE):
        if old.get(key) != new.get(key):
            raise UserError(f"{run} was made with training.{key}={old.get(key)}: --resume cannot change it")
    return get_last_checkpoint(str(run))


@contextmanager
def _blamed_on(section: str) -> Iterator[None]:
    """What a library refuses in here is a mistake in this section of the recipe."""
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError) as error:
        raise UserError(f"{section}: {error}") from error
    except (TypeError, ValueError, SafetensorError) as error:
        raise UserError(f"{section}: {error}") from error


def _arguments(recipe: Recipe) -> LatentTrainingArguments:
    with _blamed_on("training"):
        return LatentTrainingArguments(
            **{"per_device_eval_batch_size": recipe.evaluation.batch_size, **recipe.training}
        )


def _trainer(
    model: Any, processor: Any, arguments: LatentTrainingArguments, data: LoadedData, recipe: Recipe
) -> LatentTrainer:
    with _blamed_on("training"):
        return LatentTrainer(
            model=model,
            args=arguments,
            views=Views(recipe.views, seed=recipe.seed),
            train_dataset=data.train,
            data_collator=LatentCollator(processor, data.columns),
            processing_class=processor,
        )


def _save(run: Path, trainer: LatentTrainer) -> None:
    """The trained model comes first: whatever fails while it is measured, it is there."""
    with staged_files(run) as staging:
        trainer.save_model(str(staging))
        (staging / "training_args.bin").unlink(missing_ok=True)
        trainer.state.save_to_json(str(staging / STATE))


def _measure(
    run: Path, recipe: Recipe, trainer: LatentTrainer, data: LoadedData, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Probe, draw and write the card; every file appears whole."""
    features: dict[str, np.ndarray] = {}
    if data.probes is not None:
        features = {"train": trainer.features(data.probes.train), "test": trainer.features(data.probes.test)}
    if not trainer.args.should_save:
        return {}
    if data.probes is not None:
        print("Fitting the probes ...")
        with _blamed_on("the probes cannot be fitted"):
            metrics |= interactions(
                features["train"],
                data.probes.train_labels,
                features["test"],
                data.probes.test_labels,
                protocol=recipe.evaluation.protocol,
            )
    with staged_files(run) as staging:
        (staging / METRICS).write_text(json.dumps(metrics, indent=2) + "\n")
        (staging / "figures").mkdir()
        if any("loss" in entry for entry in trainer.state.log_history):
            plot_losses(trainer.state.log_history, staging / "figures" / "losses.png")
        if data.probes is not None:
            _figures(staging / "figures", run.resolve().name, metrics, features["test"], data.probes)
    write_card(run)
    return _report(run, metrics)


def _report(run: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Say what was measured and where it lies."""
    if any(column in metrics for column in COLUMNS):
        print("\n" + table({run.resolve().name: metrics}))
    print(f"\nRun: {run}   card: {run / 'README.md'}   pictures: {run / 'figures'}")
    return metrics


def _figures(folder: Path, name: str, metrics: dict[str, Any], features: np.ndarray, probes: Probes) -> None:
    plot_interactions({name: metrics}, folder / "interactions.png")
    rows = np.linspace(0, len(features) - 1, min(MAP_ROWS, len(features))).astype(int)
    titles = {name: title for name, title in probes.titles.items() if name in probes.test_labels}
    factors = {title: probes.test_labels[name][rows] for name, title in titles.items()}
    classes = {title: probes.class_names[name] for name, title in titles.items()}
    plot_latent_map(features[rows], factors, folder / "latent_map.png", classes)


def _training_metrics(trainer: LatentTrainer, recipe: Recipe) -> dict[str, Any]:
    history = trainer.state.log_history
    logged = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    summary: dict[str, Any] = next((entry for entry in reversed(history) if "train_runtime" in entry), {})
    spans = np.diff([0, *(step for step, _ in logged)])
    return {
        # From the log, which survives a resume; the Trainer's own mean covers the last stretch only.
        "train_loss": float(np.average([loss for _, loss in logged], weights=spans)) if logged else None,
        "train_runtime": summary.get("train_runtime"),
        "train_samples_per_second": summary.get("train_samples_per_second"),
        "seed": recipe.seed,
        "hf_latent_version": __version__,
        "torch_version": torch.__version__,
        "transformers_version": version("transformers"),
    }
