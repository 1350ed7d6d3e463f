"""What a run is measured with, while it trains and after it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from peft import PeftModel

from .benchmark_files import BenchmarkFile, measure_files
from .data.loaded import EvaluationData, LoadedData, Split
from .data.texts import check_known
from .errors import UserError, blamed_on
from .evaluation import Chosen, choose, described, draw, flat, measured
from .evaluation.benchmark import fits
from .evaluation.chosen import Found
from .evaluation.curves import plot_evaluations
from .hub.card import write_card
from .hub.trainer import LatentTrainer
from .plots import plot_losses
from .recipe import Recipe
from .results import renewed, started
from .runs import METRICS, START, read_json
from .training.checkpoints import staged_files
from .training.encode import TrainerEncode
from .training.gradient_cache import random_state, set_random_state

# Training arguments that need rows which are not trained on, to choose by.
NEED_VALIDATION = {
    "eval_strategy": ("steps", "epoch"),
    "eval_on_start": (True,),
    "do_eval": (True,),
    "load_best_model_at_end": (True,),
    "save_strategy": ("best",),
}


def validation_of(recipe: Recipe, data: LoadedData) -> Split | None:
    """The rows to choose by, where the recipe evaluates during training."""
    wanted = [key for key, values in NEED_VALIDATION.items() if recipe.training.get(key) in values]
    if not wanted:
        return None
    if data.evaluation is None or data.evaluation.validation is None:
        raise UserError(
            f"training.{wanted[0]}={recipe.training[wanted[0]]} needs rows to validate on, and the test split is to "
            "report: write data.splits.validation, or data.validation_share: 0.1"
        )
    return data.evaluation.validation


def benchmarks_of(recipe: Recipe, trainer: LatentTrainer, data: LoadedData) -> Chosen:
    """What the run is measured with, checked; none where the data has no rows to measure on."""
    evaluation = recipe.evaluation
    if data.evaluation is None:
        if evaluation.benchmarks:
            raise UserError("evaluation.benchmarks needs rows that are not trained on: write data.splits.test")
        return {}
    encode = TrainerEncode(trainer, data.evaluation)
    defaults = {"protocol": evaluation.protocol, "rerank": evaluation.rerank}
    chosen = choose(evaluation.benchmarks, encode, data.evaluation, defaults)
    tokenizers = cast(Any, trainer.processing_class).tokenizers
    if len(tokenizers) != 1:
        return chosen
    (tokenizer,) = tokenizers.values()  # of the text tower which embeds sentences
    known = {}
    for name, benchmark in chosen.items():
        try:
            check_known(tokenizer, benchmark.sentences(data.evaluation), benchmark.reads)
        except UserError as error:
            if evaluation.benchmarks is not None:
                raise UserError(f"evaluation.benchmarks.{name}: {error}; or use other words") from None
            if trainer.args.should_save:
                print(f"Not measured: {name}: {error}")
            continue
        known[name] = benchmark
    return known


def benchmarks_to_choose_by(recipe: Recipe, benchmarks: Chosen, data: EvaluationData) -> Chosen:
    """Those of the benchmarks that are measured during training: what nobody asked for may not fit these rows.

    Args:
        recipe: Of the run.
        benchmarks: Of the run.
        data: What is measured during training.
    """
    if recipe.evaluation.benchmarks is not None:
        return benchmarks
    return {name: own for name, own in benchmarks.items() if fits(own, data, f"{name} during training")}


def measure_start(
    recipe: Recipe, trainer: LatentTrainer, data: LoadedData, benchmarks: Chosen, others: Sequence[BenchmarkFile]
) -> dict[str, Any]:
    """Measure the model before training, where the recipe wants that; training is the same with and without it.

    Args:
        others: Benchmark files to measure on, too; one process does it, and the others wait for it.

    Returns:
        What `metrics.json` holds of it; nothing on every process but the first.
    """
    if not recipe.evaluation.start:
        return {}
    device = trainer.args.device
    state = random_state(device)
    _, found = _found(trainer, data.evaluation, benchmarks, "Measuring before training ...")
    measurements = flat(benchmarks, found)
    if trainer.args.should_save and others:
        model: Any = trainer.model
        model = model.get_base_model() if isinstance(model, PeftModel) else model
        measurements += measure_files(others, model.eval(), trainer.processing_class, not trainer.args.disable_tqdm)
    set_random_state(state, device)
    return started(measurements)


def read_start(run: Path) -> dict[str, Any]:
    """What `metrics.json` holds of the model before training, of a run that measured it."""
    path = run / START
    return read_json(path, "remove it, and what was measured before training is left out") if path.is_file() else {}


def _found(
    trainer: LatentTrainer, evaluation: EvaluationData | None, benchmarks: Chosen, told: str
) -> tuple[TrainerEncode | None, Found]:
    """What embeds the rows, and what the benchmarks find; the latter on the first process."""
    if evaluation is None or not benchmarks:
        return None, {}
    encode = TrainerEncode(trainer, evaluation)
    if trainer.args.should_save:
        print(told)

    def find() -> Found:
        found = measured(benchmarks, encode, evaluation)
        if evaluation.target is None:
            encode(evaluation.test.rows)  # all processes take part, and the map of the latent space reads it
        return found

    return encode, encode.run(find)


def measure(
    run: Path, trainer: LatentTrainer, data: LoadedData, benchmarks: Chosen, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Measure, draw and write the card; every file appears whole.

    Args:
        run: The folder.
        metrics: What is known of the run already, which is kept.

    Returns:
        The content of `metrics.json`; nothing on every process but the first.
    """
    evaluation = data.evaluation
    encode, found = _found(trainer, evaluation, benchmarks, "Measuring ...")
    if not trainer.args.should_save:
        return {}
    measurements = flat(benchmarks, found)
    metrics = renewed(metrics, measurements)
    history = trainer.state.log_history
    with staged_files(run) as staging:
        (staging / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8", newline="\n")
        (staging / "figures").mkdir()
        with blamed_on("the figures cannot be drawn"):
            if any("loss" in entry for entry in history):
                plot_losses(history, staging / "figures" / "losses.png")
            if encode is not None and evaluation is not None:
                if evaluation.validation is not None:
                    validation = replace(evaluation, test=evaluation.validation)
                    heads = described(benchmarks, encode, validation)
                    plot_evaluations(history, heads, staging / "figures" / "evaluations.png")
                draw(benchmarks, encode, evaluation, found, staging / "figures", run.resolve().name)
    write_card(run)
    return metrics
