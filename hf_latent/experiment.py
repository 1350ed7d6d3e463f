"""One run: train a recipe, measure what it learned, and leave its folder behind."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoProcessor, TrainerState, set_seed
from transformers.training_args import OptimizerNames

from . import __version__
from .benchmark_files import BenchmarkFile, files_of, keep, measure_files
from .data.collator import LatentCollator
from .data.loaded import LoadedData
from .data.texts import check_known, report_texts
from .errors import UserError, blamed_on
from .finished import load_finished
from .fit_to_data import build_processor, fit_image_sizes, fit_recipe, fit_standardization
from .hub.push import push_run
from .hub.trainer import LatentTrainer
from .measuring import benchmarks_of, benchmarks_to_choose_by, measure, measure_start, read_start, validation_of
from .memory import check_model_memory
from .models.text_towers import check_text_tower
from .pretrained import check_vocabulary, load_pretrained_model, tokenizers_of
from .reading import reader_of
from .recipe import Recipe, load_run, without_progress
from .recipe_file import PLUGINS, read_values
from .results import before_training, read, table
from .runs import METRICS, RECIPE, START, STATE, read_metrics, run_file
from .tasks import task_of
from .training import LatentTrainingArguments
from .training.checkpoints import STAGING, last_checkpoint, staged_files
from .training.distributed import barrier
from .training.lora import add_lora
from .training.run_lock import LOCK, locked
from .trust import check_folder, permitted, remember, use_plugins
from .views import Views

RESUME_MAY_CHANGE = frozenset(
    [
        "disable_tqdm",
        "hub_always_push",
        "hub_model_id",
        "hub_private_repo",
        "hub_revision",
        "hub_strategy",
        "logging_steps",
        "logging_strategy",
        "max_steps",
        "num_train_epochs",
        "output_dir",
        "per_device_eval_batch_size",
        "push_to_hub",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "use_cpu",
        "dataloader_num_workers",
    ]
)
MAX_TERMS = 100  # of the losses of a log: each is a panel of a figure
# What of the training arguments matters when a model is measured.
EVALUATION_ARGUMENTS = (
    *("bf16", "bf16_full_eval", "disable_tqdm", "fp16", "fp16_full_eval", "freeze_batch_norm", "global_batch_size"),
    *("max_steps", "per_device_eval_batch_size", "seed", "use_cpu"),
)


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
    if resume and (run / RECIPE).exists() and _is_finished(run, recipe):
        print(f"{run} is finished already\n")
        metrics = _report(run, read_metrics(run))
        _push(run, recipe)
        return metrics
    arguments = _arguments(recipe)  # the processes of this run meet here
    with locked(run):
        return _train(run, recipe, arguments, _claim(run, recipe, resume))


def _train(run: Path, recipe: Recipe, arguments: LatentTrainingArguments, checkpoint: Path | None) -> dict[str, Any]:
    """Train a recipe in a folder that is this run's alone."""
    main = arguments.should_save
    others = files_of(recipe.evaluation)
    data = _load(recipe, progress=main and not arguments.disable_tqdm)
    if not isinstance(data.train, Sized) and arguments.max_steps < 1:
        raise UserError("training.max_steps is missing: a stream has no end, so say how many steps to train")
    with blamed_on("model"):
        recipe = fit_recipe(recipe, data)
        if checkpoint is not None:
            _check_splits(run, recipe)
        optim = OptimizerNames(arguments.optim).value
        check_model_memory(lambda: _without_weights(recipe), optim, arguments.device)
    with blamed_on("training.seed"):
        set_seed(recipe.seed)  # of the model; the order of the rows and the views have the same
    with blamed_on("model"):
        # A checkpoint of adapters holds only what was trained, and none of a CLIP's children its temperature range.
        begins = checkpoint is None or recipe.lora is not None or getattr(recipe.config, "clip", None)
        if begins and recipe.pretrained is not None:
            for name, place in tokenizers_of(recipe.pretrained, recipe.config).items():
                if name in data.tokenizers:
                    check_vocabulary(place, data.tokenizers[name], name)
            model = load_pretrained_model(recipe.model_class, recipe.pretrained, recipe.config)
        else:
            model = recipe.model_class(recipe.config)
        _ = model.objective
        if begins and recipe.pretrained is None:
            model.load_pretrained()
        fit_image_sizes(model, recipe.views)
    processor = build_processor(model, recipe.views, data.tokenizers, recipe.image_processors)
    for name, options in processor.modalities.items():
        if name in processor.tokenizers:
            with blamed_on(f"model.modalities.{name}"):
                tower, tokenizer = model.encoders[name], processor.tokenizers[name]
                check_text_tower(tower, tokenizer, options["max_length"], model.compared)
    task = task_of(recipe.model_class)
    if task is not None and task.labels == "answers" and data.target is not None:
        reader: Any = processor.tokenizer
        check_known(reader, data.target.names, "answer")
        most = processor.modalities["text"]["max_length"]
        tokens = reader(list(data.target.names), verbose=False)["input_ids"]
        name, length = max(zip(data.target.names, map(len, tokens), strict=True), key=lambda found: found[1])
        if length > most:
            raise UserError(
                f"data.target: the answer {name!r} has {length} tokens, and the model writes {most} at most: write "
                "data.target.names without it"
            )
    if recipe.lora is not None:
        with blamed_on("lora"):
            model = add_lora(model, recipe.lora, print if main else None)
    trainer = _trainer(model, processor, arguments, data, recipe)
    print(data.summary)
    benchmarks = benchmarks_of(recipe, trainer, data)  # what cannot be measured is said before training
    if (validation := validation_of(recipe, data)) is not None:
        with blamed_on("training"):
            chosen_by = replace(cast(Any, data.evaluation), test=validation)
            trainer.measure_with(benchmarks_to_choose_by(recipe, benchmarks, chosen_by), chosen_by)
    if main:
        report_texts(data, processor, contrasted=task is None)
    with blamed_on("the first batch cannot be embedded"):
        trainer.try_batch()
        if checkpoint is None and recipe.pretrained is not None:
            fit_standardization(trainer, data.train)
    with blamed_on("training"):
        trainer.try_optimizer(checkpoint)
    start = read_start(run) if checkpoint is not None else measure_start(recipe, trainer, data, benchmarks, others)
    barrier()  # all have looked at the folder before one writes into it
    if main:
        (run / METRICS).unlink(missing_ok=True)  # of what is trained on now: a run without them is not finished
        with staged_files(run) as staging:
            if start:
                (staging / START).write_text(json.dumps(start) + "\n", encoding="utf-8", newline="\n")
            (staging / RECIPE).write_text(recipe.to_yaml(), encoding="utf-8", newline="\n")
        remember(run)
    trainer.train(resume_from_checkpoint=checkpoint)
    if main:
        _save(run, trainer)
        metrics = _training_metrics(trainer, recipe) | ({} if data.missing is None else data.missing.numbers()) | start
        if checkpoint is not None:
            # The clock of the Trainer knows the last stretch only.
            metrics |= {"train_runtime": None, "train_samples_per_second": None}
    metrics = measure(run, trainer, data, benchmarks, metrics if main else {})
    if main:
        metrics = _report(run, _measure_others(run, others, metrics, not arguments.disable_tqdm))
        _push(run, recipe)
    return metrics


def evaluate(
    run: Path,
    trust_recipe: bool = False,
    progress: bool = True,
    change: Callable[[LatentTrainer, LoadedData, dict[str, Any]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure a finished run again, from the weights on the disk, and write its metrics, figures and card anew.

    Args:
        run: The folder. What its recipe may make this machine read is said in `trust.py`.
        trust_recipe: Read what a recipe that was not written here names, and print it.
        progress: Show progress bars, unless the recipe says otherwise.
        change: Given the model, in a Trainer, and the content of `metrics.json`, it may change both before the model
            is measured, and returns the content.

    Returns:
        The content of `metrics.json`.

    Raises:
        UserError: If the folder holds no finished run, or names what may not be read.
    """
    run_file(run, RECIPE)
    check_folder(run)
    use_plugins(run, trust_recipe)
    with blamed_on(f"{run} holds no processor that can be loaded"):
        processor: Any = AutoProcessor.from_pretrained(run, trust_remote_code=False)
        modalities = processor.modalities  # that of another model has none
    known = ("size", "mean", "std")
    pixels = {name: options for name, options in modalities.items() if all(key in options for key in known)}
    recipe = load_run(run, {name: {key: options[key] for key in known} for name, options in pixels.items()})
    source = permitted(recipe.data, run, trust_recipe)
    training = {key: recipe.training[key] for key in EVALUATION_ARGUMENTS if key in recipe.training}
    recipe = replace(recipe, data=source, training={**training, "output_dir": str(run)})
    recipe = recipe if progress else without_progress(recipe)
    others = files_of(recipe.evaluation, run, trust_recipe)
    with locked(run):
        return _evaluate(run, recipe, processor, others, change)


def _evaluate(
    run: Path,
    recipe: Recipe,
    processor: Any,
    others: Sequence[BenchmarkFile],
    change: Callable[[LatentTrainer, LoadedData, dict[str, Any]], dict[str, Any]] | None,
) -> dict[str, Any]:
    with blamed_on(f"{run} holds no model that can be loaded"):
        model, report = cast(Any, recipe.model_class).from_pretrained(run, output_loading_info=True)
    strange = sorted(str(key) for kind in ("missing_keys", "unexpected_keys") for key in report[kind])
    if strange:
        raise UserError(f"the weights in {run} are of another model: {len(strange)} names differ, as {strange[0]}")
    data = _load(recipe, progress=not recipe.training.get("disable_tqdm"))
    trainer = _trainer(model, processor, _arguments(recipe), data, recipe)
    with blamed_on(f"{run / STATE} cannot be read"):
        trainer.state = TrainerState.load_from_json(str(run_file(run, STATE)))
        trainer.state.log_history = _logged(trainer.state.log_history)
        try:
            metrics = read_metrics(run)
        except UserError:
            metrics = _training_metrics(trainer, recipe) | read_start(run)
    benchmarks = benchmarks_of(recipe, trainer, data)
    metrics = measure(run, trainer, data, benchmarks, metrics if change is None else change(trainer, data, metrics))
    return _report(run, _measure_others(run, others, metrics, not trainer.args.disable_tqdm))


def _measure_others(
    run: Path, files: Sequence[BenchmarkFile], metrics: dict[str, Any], progress: bool
) -> dict[str, Any]:
    """Measure the model in a run folder on other data, too. One process does it, and no other waits for it."""
    if not files:
        return metrics
    return keep(run, measure_files(files, *load_finished(str(run), run), progress))


def _load(recipe: Recipe, progress: bool) -> LoadedData:
    return recipe.data.load_for(reader_of(recipe.model_class, recipe.config), progress)


def _without_weights(recipe: Recipe) -> Any:
    """The model that is trained, with whatever weights."""
    model = recipe.model_class(copy.deepcopy(recipe.config))
    return model if recipe.lora is None else add_lora(model, recipe.lora)


def _is_finished(run: Path, recipe: Recipe) -> bool:
    """Whether the folder holds all of this recipe's run, however the folder is spelled."""
    if not (run / METRICS).exists() or not (run / "README.md").exists():
        return False
    return _without_folder(_as_written(read_values(run / RECIPE), recipe)) == _without_folder(recipe.values)


def _as_written(kept: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The values of the recipe in a run folder without the splits that were found in its data."""
    data = kept.get("data", {})
    written = recipe.values["data"].get("splits")
    if "splits" not in data or written is None:
        return {**kept, "data": {key: value for key, value in data.items() if key != "splits"}}
    return {**kept, "data": {**data, "splits": {key: data["splits"].get(key) for key in written}}}


def _check_splits(run: Path, recipe: Recipe) -> None:
    """A UserError where a run went on with other rows than it began with; runs of old versions do not tell."""
    kept = read_values(run / RECIPE)["data"].get("splits")
    if kept is not None and kept != recipe.values["data"].get("splits"):
        raise UserError(f"{run} was made with data.splits={kept}: --resume needs the data that it began with")


def _without_folder(values: dict[str, Any]) -> dict[str, Any]:
    training = {key: value for key, value in values.get("training", {}).items() if key != "output_dir"}
    return {**values, "training": training}


def _claim(run: Path, recipe: Recipe, resume: bool) -> Path | None:
    """The checkpoint to go on from, once it is clear that the folder is ours to write into.

    A folder with a recipe alone is of a run that ended before it had a checkpoint, and may be begun again.
    """
    checkpoint = last_checkpoint(run)
    if checkpoint is not None and not (run / RECIPE).exists():
        raise UserError(f"{run} holds {checkpoint.name} and no {RECIPE}: write another training.output_dir")
    if not (run / RECIPE).exists() or not {path.name for path in run.iterdir()} - {RECIPE, START, LOCK, STAGING}:
        return None
    if not resume:
        raise UserError(
            f"{run} already holds a run: go on with --resume, or write training.output_dir=... for another folder"
        )
    before = _as_written(read_values(run / RECIPE), recipe)
    for section in (PLUGINS, "model", "lora", "data", "views"):
        if before.get(section) != recipe.values.get(section):
            raise UserError(
                f"{run} was made with another section {section!r}: --resume needs the recipe it began with"
            )
    old, new = before.get("training", {}), recipe.values.get("training", {})
    for key in sorted((old.keys() | new.keys()) - RESUME_MAY_CHANGE):
        if old.get(key) != new.get(key):
            raise UserError(f"{run} was made with training.{key}={old.get(key)}: --resume cannot change it")
    return checkpoint


def _arguments(recipe: Recipe) -> LatentTrainingArguments:
    if "hub_token" in recipe.training:
        raise UserError("training.hub_token: recipes are kept and shared; run hf auth login, or set HF_TOKEN, instead")
    with blamed_on("training"):
        return LatentTrainingArguments(
            **{"per_device_eval_batch_size": recipe.evaluation.batch_size, **recipe.training}
        )


def _trainer(
    model: Any, processor: Any, arguments: LatentTrainingArguments, data: LoadedData, recipe: Recipe
) -> LatentTrainer:
    validation = validation_of(recipe, data)
    with blamed_on("training"):
        views = Views(
            {
                name: view.for_tokenizer(processor.tokenizers.get(name)).for_modality(processor.modalities[name])
                for name, view in recipe.views.items()
            },
            seed=recipe.seed,
        )
        return LatentTrainer(
            model=model,
            args=arguments,
            views=views,
            train_dataset=data.train,
            eval_dataset=None if validation is None else validation.rows,
            data_collator=LatentCollator(processor, data.columns, word_ids=views.of_words, examples=data.examples),
            processing_class=processor,
        )


def _save(run: Path, trainer: LatentTrainer) -> None:
    """The trained model comes first: whatever fails while it is measured, it is there.

    Adapters are kept in `adapter/`, and merged into the model that stands beside them.
    """
    with staged_files(run) as staging:
        if isinstance(trainer.model, PeftModel):
            trainer.model.save_pretrained(str(staging / "adapter"))
            trainer.model = trainer.model_wrapped = trainer.model.merge_and_unload()
        trainer.save_model(str(staging), _internal_call=True)  # it is pushed when it has been measured
        (staging / "training_args.bin").unlink(missing_ok=True)
        trainer.state.save_to_json(str(staging / STATE))


def _push(run: Path, recipe: Recipe) -> None:
    """Publish what was measured, where the recipe says so."""
    options = recipe.training
    if options.get("push_to_hub"):
        name, private = options.get("hub_model_id") or run.resolve().name, bool(options.get("hub_private_repo"))
        print(f"Pushed: {push_run(run, name, private=private, revision=options.get('hub_revision'))}")


def _report(run: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Say what was measured and where it lies."""
    if found := read(metrics):
        start = before_training(found)
        print("\n" + table({run.resolve().name: found, **({"before training": start} if start else {})}))
    print(f"\nRun: {run}   card: {run / 'README.md'}   pictures: {run / 'figures'}")
    return metrics


def _logged(history: Any) -> list[dict[str, Any]]:
    """The numbers of a log, by step; whatever else its file may hold is left."""
    entries = [
        {key: value for key, value in entry.items() if key.isidentifier() and _is_number(value)}
        for entry in history or ()
        if isinstance(entry, Mapping)
    ]
    terms = {key for entry in entries for key in entry if key.startswith("loss")}
    if len(terms) > MAX_TERMS:
        raise UserError(f"{STATE} logs {len(terms)} losses by name, not {MAX_TERMS} at most")
    return [entry for entry in entries if "step" in entry]


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


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
