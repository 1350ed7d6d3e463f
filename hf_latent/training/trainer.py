"""A Trainer for objectives that look across the whole batch."""

import itertools
import warnings
from collections.abc import Callable, Collection, Mapping, Sized
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import EarlyStoppingCallback, ProgressCallback
from transformers.trainer_utils import TrainOutput

from ..data.collator import LatentCollator
from ..data.loaded import EvaluationData
from ..errors import UserError, suggest
from ..losses import loss_tile_size
from ..memory import bytes_of, check_memory
from ..models.embeddings import Embeddings, LatentPreTrainedModel
from ..views import ImageView, Views
from .arguments import LatentTrainingArguments
from .batch_norm import keep_rows_apart
from .callbacks import LogBeforeSaveCallback, LossProgressCallback, OptimizerStepCallback
from .checkpointing import CheckpointTrainer
from .checks import check_arguments, check_missing, check_model, check_optimizers, check_rows
from .distributed import average_gradients, gather_embeddings, mean_over_processes
from .evaluation import EvaluationTrainer
from .finite import FiniteCheck
from .gradient_cache import cached_backward, rows_of
from .lora import without_adapters
from .modality_dropout import kept_modalities, row_seeds
from .optimizer import OptimizerTrainer
from .sampling import PlacedRows, PlaceSampler, ShuffledSampler, UniqueIdSampler, stream_loader
from .search import SearchTrainer
from .two_passes import TwoPasses


class ObjectiveTrainer(EvaluationTrainer, CheckpointTrainer, SearchTrainer, OptimizerTrainer):
    """All of the [`LatentTrainer`] but what goes to the Hub; the arguments are its own."""

    def __init__(
        self,
        model: nn.Module | None = None,
        args: LatentTrainingArguments | None = None,
        *,
        views: Views | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        benchmarks: Any = None,
        evaluation_data: EvaluationData | None = None,
        **kwargs: Any,
    ) -> None:
        if args is None:
            args = LatentTrainingArguments(output_dir="outputs/trainer")
        check_arguments(args)
        if kwargs.get("model_init") is None:
            check_model(model)
        if kwargs.get("compute_loss_func") is not None:
            raise UserError(
                "compute_loss_func: the loss is the objective that the config of the model names; leave it out, and "
                "write config.objective and config.regularizers"
            )
        check_optimizers(optimizers, model)
        if evaluation_data is not None and kwargs.get("eval_dataset") is None:
            kwargs["eval_dataset"] = evaluation_data.test.rows
        for name in ("train_dataset", "eval_dataset"):
            if kwargs.get(name) is not None and not (name == "eval_dataset" and isinstance(kwargs[name], Mapping)):
                check_rows(name, kwargs[name])
        if kwargs.get("data_collator") is None and hasattr(kwargs.get("processing_class"), "stack"):
            # Without views, nothing after the collator would resize and normalise.
            kwargs["data_collator"] = LatentCollator(
                kwargs["processing_class"], raw=views is not None, word_ids=views.of_words if views else ()
            )
        self.views = views
        super().__init__(model=model, args=args, optimizers=optimizers, **kwargs)
        # The objective is a mean over rows: accumulation averages it, see `accepts_loss_kwargs` of the models.
        self.loss_is_scaled_for_ga = False
        if args.gradient_accumulation_steps > 1:
            warnings.warn(
                f"gradient_accumulation_steps={args.gradient_accumulation_steps} averages gradients and adds no "
                "negatives: to contrast more rows in the same memory, write a larger global_batch_size and "
                "gradient_cache_chunk_size",
                stacklevel=2,
            )
        if self.model_init is None:
            self._fit_to(cast(nn.Module, self.model))
        if evaluation_data is not None:
            self.measure_with(benchmarks, evaluation_data)
        elif benchmarks is not None:
            raise UserError("benchmarks need rows with their ids and labels: give evaluation_data, too")
        if args.early_stopping_patience is not None:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience, args.early_stopping_threshold))
        self.add_callback(LogBeforeSaveCallback)
        self.add_callback(OptimizerStepCallback)
        if not args.disable_tqdm:
            self.remove_callback(ProgressCallback)
            self.add_callback(LossProgressCallback)
        self._begin_anew()

    def _fit_to(self, model: nn.Module) -> None:
        """What depends on the model, which `model_init` makes anew: BatchNorms, and the views that are augmented."""
        collator = getattr(self, "data_collator", None)  # with `model_init` the base class makes a model before it
        missing = getattr(collator, "examples", None) is not None
        keep_rows_apart(without_adapters(model), self.args, missing)
        self._augmented_first = self._first_views_to_augment(cast(LatentPreTrainedModel, model))
        _ = model.objective  # what does not fit is said now
        if missing:
            check_missing(without_adapters(model))
        if cast(LatentPreTrainedModel, model).modality_dropout:
            check_missing(without_adapters(model), "model.modality_dropout", "modality_dropout: 0")

    def _check_teacher(self) -> None:
        """A UserError where low-rank adapters are trained, whose checkpoints would not hold the teacher."""
        core: Any = without_adapters(cast(nn.Module, self.model))
        if core is not self.model and "teacher" in core.objective.requires:
            raise UserError(
                "low-rank adapters are not trained with a teacher, as of distillation: leave one of them out"
            )

    def _begin_anew(self) -> None:
        self._micro_batch = (-1, 0)
        self._finite = FiniteCheck()
        self._terms: dict[str, Tensor] = {}
        self._term_count = 0

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """As in `CheckpointTrainer`, by the batch sizes that the arguments have now."""
        self.share_batch()
        self._begin_anew()
        if self.model_init is None:
            self._check_teacher()
            cast(LatentPreTrainedModel, without_adapters(cast(nn.Module, self.model))).on_train_begin()
        return super().train(*args, **kwargs)

    # Batches and views

    def get_train_dataloader(self) -> DataLoader:
        """As in `Trainer`, without the incomplete last global batch: padding it would repeat rows as negatives."""
        size = self._checked_size()
        if hasattr(self.train_dataset, "share_of"):
            self._batches_per_epoch = None
            self._cuts_crops()
            return stream_loader(self.train_dataset, self.args, self.data_collator)
        keep, self.args.dataloader_drop_last = self.args.dataloader_drop_last, True
        rows = self.train_dataset
        try:
            self.train_dataset = PlacedRows(rows) if size is not None and self._cuts_crops() else rows
            loader = super().get_train_dataloader()
        finally:
            self.args.dataloader_drop_last, self.train_dataset = keep, rows
        self._batches_per_epoch = len(loader) if size is not None else None
        return loader

    def _checked_size(self) -> int | None:
        """The rows of the training set, at least one global batch; None of a stream."""
        if self.train_dataset is None:
            raise UserError("training needs rows: give the Trainer a train_dataset")
        check_rows("train_dataset", self.train_dataset)
        size = len(self.train_dataset) if isinstance(self.train_dataset, Sized) else None
        rows = self.args.rows_contrasted
        if size is not None and size < rows:
            raise UserError(
                f"the training set has {size} rows, fewer than one global batch of {rows}: "
                "write a smaller training.global_batch_size"
            )
        return size

    def _cuts_crops(self) -> bool:
        """Whether random crops are cut while rows are loaded: of images that are no arrays of the right size."""
        collator, views = self.data_collator, self.views
        shuffled = self.args.train_sampling_strategy == "random"
        if views is None or not isinstance(collator, LatentCollator) or not shuffled:
            return False
        first = next(iter(cast(Any, self.train_dataset)))
        images = [
            name for name, view in views.modalities.items() if isinstance(view, ImageView) and view.crops_decoded
        ]
        model = cast(LatentPreTrainedModel, self.model)
        second = set(model.second_views(images))
        third = model.objective.third_views(images)
        wanted = {}
        for name in images:
            value, size = first.get(collator.columns.get(name)), cast(ImageView, views.modalities[name]).size
            value = value[0] if isinstance(value, list | tuple) and value else value
            numbers = [number for number, names in enumerate((self._augmented_first, second, third)) if name in names]
            if numbers and getattr(value, "shape", None) not in ((size, size, 3), (3, size, size)):
                wanted[name] = numbers
        if wanted:
            collator.cut_crops(views, wanted, self.args.rows_contrasted)
        return bool(wanted)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        rows = self.train_dataset.source if isinstance(self.train_dataset, PlacedRows) else self.train_dataset
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        order: Any = None
        if self.args.unique_ids:
            ids = getattr(rows, "ids", None)
            if ids is None:
                raise UserError("training.unique_ids: this training set has no ids: leave it out")
            order = UniqueIdSampler(ids, self.args.rows_contrasted, seed)
        if not isinstance(self.train_dataset, PlacedRows):
            return order or super()._get_train_sampler(train_dataset)
        count = len(cast(Sized, rows))
        return PlaceSampler(order or ShuffledSampler(count, seed), count, self.args.rows_contrasted)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """As in `Trainer`, or chunk by chunk where `gradient_cache_chunk_size` asks for it."""
        chunk = self.args.gradient_cache_chunk_size
        if chunk is None:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        core = self.accelerator.unwrap_model(model)
        inputs = self._on_device(inputs)
        key = self._view_key()
        size = self.args.per_device_train_batch_size
        passes = TwoPasses(core, partial(self._some_rows, inputs, key), size, chunk)
        share = self.current_gradient_accumulation_steps

        def score(embeddings: Embeddings) -> Tensor:
            passes.choose_hard_negatives(embeddings)
            return self._score(model, embeddings) / share

        def within(function: Callable[..., Any], *args: Any) -> Any:
            with self.compute_loss_context_manager():
                return function(*args)

        first, again = ([partial(within, of, rows) for rows in passes.chunks] for of in (passes.first, passes.second))
        # Hooks of DistributedDataParallel would average after every chunk.
        with cast(Any, model).no_sync() if hasattr(model, "no_sync") else nullcontext():
            loss = cached_backward(first, partial(within, score), self.accelerator.backward, self.args.device, again)
        if self.accelerator.sync_gradients:
            average_gradients(core.parameters())
        return loss + self._score_rows(passes.late) / share if passes.late else loss

    def _some_rows(
        self,
        inputs: dict[str, Any],
        key: dict[str, Any],
        rows: slice | Tensor,
        only: Collection[str] | None = None,
        training: bool = True,
    ) -> dict[str, Any]:
        """What the objective reads of some rows of a batch; with `only`, the first view of those modalities. The first
        view is plain unless for `training`."""
        chunk = rows_of(inputs, rows)
        start = key["rows"].start
        moved = rows.cpu() + start if isinstance(rows, Tensor) else slice(start + rows.start, start + rows.stop)
        key = {**key, "rows": moved}
        if training:
            chunk = self._with_draws(chunk, **key)
        if self.views is None:
            return chunk
        second: list[str] | None = [] if only is not None else None
        return self._with_views(chunk, training, second, only, **key)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = self._on_device(inputs)
        if not cast(nn.Module, self.model).training:
            return inputs if self.views is None else self._with_views(inputs, False, [])
        key = self._view_key()
        inputs = self._with_draws(inputs, **key)
        return inputs if self.views is None else self._with_views(inputs, True, **key)

    def _with_draws(self, inputs: dict[str, Any], **key: Any) -> dict[str, Any]:
        """A batch of training with what the model asks to be drawn for its rows: modalities that they lack, seeds of
        masks."""
        model = cast(LatentPreTrainedModel, self.model)
        seed = self.args.seed if self.views is None else self.views.seed
        if "modalities" not in inputs:
            return inputs
        if model.modality_dropout:
            told: dict[str, Any] = {"seed": seed, "present": inputs.get("present"), "device": self.args.device}
            kept = kept_modalities(inputs["modalities"], model.modality_dropout, **told, **key)
            inputs = {**inputs, "present": kept}
        if model.draws_masks:
            inputs = {**inputs, "mask_seeds": row_seeds(seed=seed, device=self.args.device, **key)}
        return inputs

    def _first_views_to_augment(self, model: LatentPreTrainedModel) -> list[str]:
        names = [] if self.views is None else list(self.views.modalities)
        asked = self.args.augment_first_view
        if asked is None:
            usual = False if model.objective.reads_clean else model.augments_first_view
            return [name for name in names if usual is True or (usual and name in usual)]
        for name in asked:
            if name not in names:
                raise UserError(f"training.augment_first_view: {name!r} has no view; {suggest(name, names)}")
        return asked

    def _with_views(
        self,
        inputs: dict[str, Any],
        training: bool,
        second: Collection[str] | None = None,
        only: Collection[str] | None = None,
        **key: Any,
    ) -> dict[str, Any]:
        """What the model reads: the views of a batch; of `second`, or of what the objective needs, further ones."""
        if "modalities" not in inputs:
            raise UserError("views need a batch {'modalities': {name: inputs}}: leave out data_collator, or the views")
        rows, views = inputs["modalities"], cast(Views, self.views)
        core = cast(LatentPreTrainedModel, self.model)
        second = core.second_views(rows) if second is None else second
        augmented = views.augmented(rows, view=1, only=second, **key) if second else None
        third = core.objective.third_views(second)
        names = [name for name in rows if only is None or name in only]
        moved = [name for name in names if training and name in self._augmented_first]
        first = views.plain(rows, only=[name for name in names if name not in moved])
        first |= views.augmented(rows, view=0, only=moved, **key) if moved else {}
        packed = core.pack({name: first[name] for name in names}, augmented, inputs.get("ids"), inputs.get("labels"))
        packed |= {"third_modalities": views.augmented(rows, view=2, only=third, **key)} if third else {}
        return packed | {name: inputs[name] for name in ("present", "mask_seeds") if name in inputs}

    def _view_key(self) -> dict[str, Any]:
        """Where this micro-batch stands in the whole run: its views depend on nothing else."""
        step, accumulation = self.state.global_step, self.args.gradient_accumulation_steps
        micro = self._micro_batch[1] + 1 if self._micro_batch[0] == step else 0
        self._micro_batch = (step, micro)
        epoch, within = 0, step
        if self._batches_per_epoch is not None:
            epoch, within = divmod(step, -(-self._batches_per_epoch // accumulation))
        batches = epoch * (self._batches_per_epoch or 0) + within * accumulation + micro
        share, total = self.args.per_device_train_batch_size, self.args.rows_contrasted
        start = self.args.process_index * share
        return {"position": batches * total, "rows": slice(start, start + share), "global_rows": total}

    # Loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Embeddings]:
        embeddings = model(**inputs, return_loss=False)
        loss = self._score(model, embeddings)
        return (loss, embeddings) if return_outputs else loss

    def _score(self, model: nn.Module, embeddings: Embeddings) -> Tensor:
        """The loss of this process's rows among those of all processes; its terms are kept for the log."""
        whole, rows = gather_embeddings(embeddings)
        core = self.accelerator.unwrap_model(model)
        with loss_tile_size(self.args.loss_tile_size):
            scored = core.score(whole)
            loss, terms = core.objective_of(scored, rows=rows, progress=self._progress)
        if model.training:
            core.on_batch_scored(scored)
            self._note(loss, terms)
            self._term_count += 1
        return loss

    @torch.no_grad()
    def _score_rows(self, late: list[Embeddings]) -> Tensor:
        """The losses of rows that were not known when the batch was scored."""
        whole, _ = gather_embeddings(Embeddings.join(late))
        objective = cast(LatentPreTrainedModel, self.model).objective
        loss, terms = objective.of_rows(cast(dict[str, Tensor], whole.row_losses), self._progress)
        self._note(cast(Tensor, loss), terms)
        return cast(Tensor, loss)

    @property
    def _progress(self) -> float:
        return self.state.global_step / max(self.state.max_steps, 1)

    def _note(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Add terms to those for the log."""
        self._finite.note(self.state.global_step + 1, loss, terms)
        for name, value in terms.items():
            self._terms[name] = self._terms[name] + value.detach() if name in self._terms else value.detach()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        self._finite.flush()
        if "loss" in logs and self._term_count:
            means = mean_over_processes(torch.stack(list(self._terms.values())) / self._term_count)
            logs = {**logs, **{f"loss_{name}": mean for name, mean in zip(self._terms, means.tolist(), strict=True)}}
            self._terms.clear()
            self._term_count = 0
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        # The estimate of transformers counts text tokens; for these models it would be a made-up number.
        return 0

    def try_batch(self) -> None:
        """Run two rows through collator, views, model and objective: what does not fit is said before training.

        Nothing changes: no gradient, no statistics, no random state.
        """
        self._checked_size()
        if self.args.unique_ids:
            self._get_train_sampler()
        share, chunk = self.args.per_device_train_batch_size, self.args.gradient_cache_chunk_size
        for name, view in {} if self.views is None else self.views.modalities.items():
            if size := getattr(view, "size", None):
                told = f"the pictures of a batch (views.{name}.size={size})"
                check_memory(min(chunk or share, share) * 3 * size**2 * 4, told, self.args.device)
        self._check_teacher()
        cast(LatentPreTrainedModel, without_adapters(cast(nn.Module, self.model))).prepare_training()
        model = cast(LatentPreTrainedModel, self.model).eval()
        rows = list(itertools.islice(iter(cast(Any, self.train_dataset)), 2))
        batch = self.data_collator(rows)
        told = f"a batch of {share:,} rows a process (training.global_batch_size)"
        check_memory(bytes_of(batch) * share / max(len(rows), 1), told)
        inputs = self._on_device(batch)
        if self.views is not None:
            inputs = self._with_views(inputs, training=True)
        with torch.no_grad(), self.compute_loss_context_manager():
            model(**inputs, return_loss=True)
