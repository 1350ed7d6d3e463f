"""Evaluation: the loss of rows that are not trained on, and the user's metrics of their embeddings."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import find_batch_size
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from transformers import EvalPrediction
from transformers.trainer_utils import EvalLoopOutput, denumpify_detensorize

from ..data.loaded import EvaluationData
from ..errors import UserError, suggest
from ..evaluation import Benchmark, Chosen, choose, described, flat, measured
from ..losses import loss_tile_size
from ..models.embeddings import Embeddings, LatentPreTrainedModel
from .arguments import LatentTrainingArguments
from .checks import check_rows
from .distributed import gather_batch, gather_embeddings, world_size
from .encode import TrainerEncode
from .gradient_cache import random_state, set_random_state
from .lora import without_adapters
from .prediction import PredictionTrainer
from .sampling import StreamShare
from .two_passes import TwoPasses

Terms = dict[str, Tensor]


class MeanLoss:
    """The mean loss of rows that come batch by batch.

    Every row counts once. The last batch may be incomplete: the rows before it are added, so that as many negatives
    are contrasted as in the others, and it weighs as many rows as are new.

    Args:
        score: The loss of a whole batch of raw embeddings, and its terms.
        size: Rows of a batch.
    """

    def __init__(self, score: Callable[[Embeddings], tuple[Tensor, Terms]], size: int) -> None:
        self._score, self._size = score, size
        self._batches: list[tuple[int, Terms]] = []
        self._last: Embeddings | None = None
        self.rows = 0

    def add(self, batch: Embeddings) -> None:
        new = len(batch.tensors()[0])
        if new < self._size and self._last is not None:
            batch = Embeddings.join([self._last.take(slice(new, None)), batch])
        loss, terms = self._score(batch)
        self._batches.append((new, {"loss": loss, **{f"loss_{name}": term for name, term in terms.items()}}))
        self._last = batch
        self.rows += new

    def means(self) -> dict[str, float]:
        """`loss`, and `loss_<term>` of each term."""
        sums: dict[str, float] = {}
        for new, terms in self._batches:
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + new / self.rows * term.item()
        return sums

    def of_rows(self) -> np.ndarray:
        """`(rows,)`, of each row the loss of its batch."""
        return np.concatenate([np.full(new, terms["loss"].item()) for new, terms in self._batches])


class EvaluationTrainer(PredictionTrainer):
    """The part of the [`LatentTrainer`] that evaluates."""

    args: LatentTrainingArguments
    _some_rows: Callable[..., dict[str, Any]]
    _mean_loss: MeanLoss | None = None
    _measured_with: tuple[Chosen, EvaluationData] | None = None

    def measure_with(self, benchmarks: Mapping[str, Any] | Sequence[Benchmark] | None, data: EvaluationData) -> None:
        """Measure these benchmarks in each evaluation from now on.

        Args:
            benchmarks: By the names of their instances; or a list of them, which are called what they are; or None for
                all that data and model allow. A mapping may hold options in place of benchmarks, as a recipe does.
            data: What to measure with; its `test` split is measured.

        Raises:
            UserError: If a benchmark needs what data or model have not, or `args.metric_for_best_model` names no
                measurement; the nearest is named.
        """
        encode = TrainerEncode(self, data)
        chosen = choose(_named(benchmarks), encode, data)
        known = {measurement.key: measurement for measurement in described(chosen, encode, data)}
        wanted = (self.args.metric_for_best_model or "loss").removeprefix("eval_")
        for name in self.eval_dataset if isinstance(self.eval_dataset, dict) else ():
            wanted = wanted.removeprefix(f"{name}_")
        if wanted in known:
            if not self.args.direction_written:
                if known[wanted].better == "none":
                    raise UserError(
                        f"metric_for_best_model={wanted!r} is better neither high nor low: write greater_is_better"
                    )
                self.args.greater_is_better = known[wanted].better == "higher"
        elif not wanted.startswith("loss") and self.compute_metrics is None:
            raise UserError(f"metric_for_best_model={wanted!r} is not measured: {suggest(wanted, ['loss', *known])}")
        self._measured_with = chosen, data

    def _measured(self) -> dict[str, float]:
        """What the benchmarks find now; the first process measures, and all get it."""
        if self._measured_with is None:
            return {}
        chosen, data = self._measured_with
        encode = TrainerEncode(self, data)

        def measure() -> dict[str, float]:
            found = flat(chosen, measured(chosen, encode, data))
            return {measurement.key: measurement.value for measurement in found if measurement.group}

        return encode.run(measure)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The objective of rows that are not trained on, and what `compute_metrics` makes of their embeddings.

        `eval_loss` and `eval_loss_<term>` are means over batches of `args.global_batch_size` rows, in the order of the
        data set. Every row counts once: where fewer are left for the last batch, rows before them are added, so that
        as many are contrasted, and it weighs as many rows as were left. A data set of fewer rows is one batch.

        The first view of each row is plain. The second one, where the objective reads any, is augmented as in training
        and depends on the seed of the views and the number of the row alone. What a schedule changes has its last
        value, so that the losses of all steps compare. `per_device_eval_batch_size`, which is how many rows are
        embedded at a time, and the number of processes change nothing. Nor does an evaluation change the training
        around it: weights, statistics, queues and random numbers stay as they are.

        `compute_metrics` gets an `EvalPrediction`. Its `predictions` hold `embeds` and `independent` (by modality,
        `(rows, dim)` each), `fused`, `present` and `logits`, as far as there are any, of the first views; `label_ids`
        are the `labels` of the rows, or their `ids`, or None; `losses`, if `args.include_for_metrics` has `"loss"`,
        are of each row the loss of its batch, `(rows,)`.

        The benchmarks that [`measure_with`] was given are measured, too, as `eval_<key>`.

        Args:
            eval_dataset: Rows, or `{name: rows}`, whose metrics are `eval_<name>_loss` ...; by default those of the
                Trainer. A stream must end.
            ignore_keys: Fields that `predictions` leaves out.
            metric_key_prefix: What the names of the metrics begin with.

        Raises:
            UserError: If there are no rows.
        """
        return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The share of this process of each global batch, in the order of the data set."""
        own = eval_dataset is None or isinstance(eval_dataset, str)
        rows: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, str):
            rows = cast(Any, self.eval_dataset)[rows]
        if rows is None:
            raise UserError("an evaluation needs rows: give the Trainer an eval_dataset, or evaluate(rows)")
        check_rows("eval_dataset", rows)
        share = self.args.per_device_train_batch_size
        if isinstance(rows, IterableDataset):
            return self._stream_loader(rows, share)
        # Its workers stay, if they are asked to, for as long as rows and batches are the same.
        key = f"{id(rows)} by {share}" if own else None
        kept = getattr(self, "_eval_dataloaders", {})
        if self.args.dataloader_persistent_workers and key in kept:
            return kept[key]
        sampler: Any = self._get_eval_sampler
        return self._get_dataloader(rows, "Evaluation", share, sampler, dataloader_key=key)

    def _stream_loader(self, rows: Any, share: int) -> DataLoader:
        if hasattr(rows, "share_of"):
            raise UserError("eval_dataset is a stream that begins again without end: give rows that end")
        stream = StreamShare(rows, share, self.args.process_index, self.args.world_size)
        collate = self._get_collator_with_removed_columns(self.data_collator, "Evaluation")
        # Read by this process, in order: each worker would read rows of its own.
        loader = DataLoader(stream, share, collate_fn=collate, pin_memory=self.args.dataloader_pin_memory)
        alone = {"num_processes": 1, "process_index": 0, "dispatch_batches": False}
        free = self.args.copies_without_waiting
        return prepare_data_loader(loader, self.args.device, put_on_device=True, non_blocking=free, **alone)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As in `Trainer`; `compute_metrics` is called whether or not the rows have labels, and random numbers are
        left as they were."""
        arguments = (dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        loss = MeanLoss(self._loss_of_batch, self.args.rows_contrasted) if description == "Evaluation" else None
        compute, self._mean_loss = self.compute_metrics, loss
        if not self.args.batch_eval_metrics:
            self.compute_metrics = None  # it is called below
        try:
            with same_random_numbers(self.args.device):
                output = super().evaluation_loop(*arguments)
        finally:
            self.compute_metrics, self._mean_loss = compute, None
        metrics = dict(cast(Any, output.metrics))
        if loss is not None:
            if not loss.rows:
                raise UserError("eval_dataset has no rows: look at the split, and at what filters it")
            output = output._replace(num_samples=loss.rows)
            metrics |= _prefixed(loss.means(), metric_key_prefix)
            with same_random_numbers(self.args.device):
                metrics |= _prefixed(self._measured(), metric_key_prefix)
        if compute is not None and output.predictions is not None and not self.args.batch_eval_metrics:
            losses = loss.of_rows() if loss is not None and "loss" in self.args.include_for_metrics else None
            found = compute(EvalPrediction(output.predictions, cast(Any, output.label_ids), losses=losses))
            metrics |= _prefixed(denumpify_detensorize(found), metric_key_prefix)
        return output._replace(metrics=metrics)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, Any, Tensor | None]:
        """Embed one batch; of an evaluation the share of a global batch, whose loss is kept."""
        if self._mean_loss is None:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        inputs = self._on_device(inputs)
        labels = inputs.get("labels", inputs.get("ids"))
        if self.args.batch_eval_metrics and self.compute_metrics is not None and labels is None:
            raise UserError("batch_eval_metrics needs rows with labels or ids: give them, or leave it out")
        with torch.no_grad(), self.compute_loss_context_manager():
            whole, parts = self._embed_share(model, inputs)
        self._mean_loss.add(whole)
        return (None, None, None) if prediction_loss_only else (None, self._predicted(parts, ignore_keys), labels)

    def _embed_share(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Embeddings, list[Embeddings]]:
        """All that the objective reads of a global batch; and what the model gives of the rows of this process."""
        core: Any = self.accelerator.unwrap_model(model)
        rows, share, total = find_batch_size(inputs), self.args.per_device_train_batch_size, self.args.rows_contrasted
        first = self.args.process_index * share
        own, known = slice(0, rows), slice(first, first + share)
        chooses = type(without_adapters(core)).choose_hard_negatives
        if world_size() > 1 and chooses is not LatentPreTrainedModel.choose_hard_negatives:
            # The hard negative of a row may be another process's.
            inputs, own, known = gather_batch(inputs), known, slice(0, total)
        key = {"position": cast(MeanLoss, self._mean_loss).rows, "rows": known, "global_rows": total}

        def batch(chunk: slice | Tensor, only: Any = None) -> dict[str, Any]:
            return self._some_rows(inputs, key, chunk, only, training=False)

        passes = TwoPasses(core, batch, own, self.args.per_device_eval_batch_size)
        parts = [passes.first(chunk) for chunk in passes.chunks]
        whole = self._gathered(Embeddings.join(parts))
        if passes.needs_second:
            passes.choose_hard_negatives(whole)
            for chunk in passes.chunks:
                passes.second(chunk)
            whole.row_losses = self._gathered(Embeddings.join(passes.late)).row_losses
        return whole, parts

    def _gathered(self, embeddings: Embeddings) -> Embeddings:
        """The rows of all processes, without those that fill up the last batch."""
        whole, _ = gather_embeddings(embeddings)
        loader: Any = self.accelerator.gradient_state.active_dataloader
        if not loader.end_of_dataloader:
            return whole
        if isinstance(loader.dataset, StreamShare):
            loader.remainder = loader.dataset.rows % self.args.rows_contrasted  # `gather_for_metrics` reads it, too
        return whole.take(slice(loader.remainder)) if loader.remainder > 0 else whole

    def _loss_of_batch(self, embeddings: Embeddings) -> tuple[Tensor, Terms]:
        core: Any = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), self.compute_loss_context_manager(), loss_tile_size(self.args.loss_tile_size):
            return core.objective_of(core.score(embeddings))

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        try:
            return super()._determine_best_metric(metrics, trial)
        except KeyError:
            wanted, known = self.args.metric_for_best_model, ", ".join(sorted(metrics))
            raise UserError(f"metric_for_best_model={wanted!r} is none of an evaluation's metrics: {known}") from None


def _named(benchmarks: Any) -> Mapping[str, Any] | None:
    """Benchmarks by the names of their instances."""
    if benchmarks is None or isinstance(benchmarks, Mapping):
        return benchmarks
    found: dict[str, Benchmark] = {}
    for benchmark in benchmarks if isinstance(benchmarks, list | tuple) else [benchmarks]:
        if not isinstance(benchmark, Benchmark):
            raise UserError(f"benchmarks: {benchmark!r} is none: write a list of benchmarks, or {{name: options}}")
        if found.setdefault(benchmark.kind, benchmark) is not benchmark:
            raise UserError(f"benchmarks: two are called {benchmark.kind!r}: write {{name: benchmark}}")
    return found


def _prefixed(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    start = f"{prefix}_"
    return {name if name.startswith(start) else start + name: value for name, value in values.items()}


@contextmanager
def same_random_numbers(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, afterwards torch, numpy and Python draw as if nothing had been."""
    states = random.getstate(), np.random.get_state(), random_state(device)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        set_random_state(states[2], device)
