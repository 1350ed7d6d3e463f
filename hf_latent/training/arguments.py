"""Training arguments of contrastive models."""

import math
import os
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

import torch
from accelerate.utils import str_to_bool
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy, IntervalStrategy, SaveStrategy, SchedulerType
from transformers.training_args import OptimizerNames

from ..errors import UserError, suggest

# What numbers may be: from the first on, and below the second.
RANGES = {
    "learning_rate": (0, math.inf),
    "weight_decay": (0, math.inf),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "adam_epsilon": (0, math.inf),
    "max_grad_norm": (0, math.inf),
    "warmup_steps": (0, math.inf),
    "num_train_epochs": (0, math.inf),
    "max_steps": (-1, 2**63),
    "logging_steps": (0, math.inf),
    "save_steps": (0, math.inf),
    "eval_steps": (0, math.inf),
    "eval_delay": (0, math.inf),
    "neftune_noise_alpha": (0, math.inf),
    "seed": (0, 2**32),
    "data_seed": (0, 2**32),
    "dataloader_num_workers": (0, math.inf),
    "dataloader_prefetch_factor": (1, math.inf),
    "per_device_train_batch_size": (1, math.inf),
    "per_device_eval_batch_size": (1, math.inf),
    "eval_accumulation_steps": (1, math.inf),
    "gradient_accumulation_steps": (1, math.inf),
    "gradient_cache_chunk_size": (1, math.inf),
    "loss_tile_size": (1, math.inf),
    "ddp_timeout": (1, 2**31),
}
CHOICES: dict[str, type[Enum]] = {
    "optim": OptimizerNames,
    "lr_scheduler_type": SchedulerType,
    "logging_strategy": IntervalStrategy,
    "eval_strategy": IntervalStrategy,
    "save_strategy": SaveStrategy,
    "hub_strategy": HubStrategy,
}
WORKERS_A_CPU = 16


@dataclass
class LatentTrainingArguments(TrainingArguments):
    """Arguments of the [`LatentTrainer`].

    Parameters that control the batch:
        global_batch_size: Rows that are contrasted with each other, over all processes. Sets
            `per_device_train_batch_size` to its share; the incomplete last global batch of an epoch is dropped.
            Without it, `per_device_train_batch_size` rows a process are contrasted together.
        gradient_cache_chunk_size: Embed so many rows of a process at a time, twice each, and score them all together:
            the memory of one chunk, the gradient of the whole batch. By default all at once. Matching encodes the
            negatives of a chunk, too, at most as many as its rows of each modality; where the encoders have dropout,
            it draws anew for them, and for the losses of rows, so that this gradient is then another draw.
        loss_tile_size: Losses look at so many rows and columns of similarities at once, whatever the batch. By default
            what suits the device. It changes memory and speed, never the gradient.
        freeze_batch_norm: BatchNorms in encoders normalise by their running statistics, which stay as they are. The
            cache, and several processes without GPUs, need it where an encoder has any.
        unique_ids: Keep rows with equal ids out of one global batch. By default they may meet, as positives of each
            other. The training set must have `ids`, an array of integers.
        augment_first_view: The modalities whose first view is augmented, too. By default all of CoMM, but for
            objectives that read clean inputs, and none of LatentCLIP, whose first view is what the data has, such as
            the picture and the caption.

    Parameters that control the optimizer:
        decay_all: Whether `weight_decay` reaches every parameter, as in CoMM's code. By default it does not reach
            biases, normalizations, temperatures and other parameters of fewer than two dimensions, nor the class
            tokens and position embeddings of image towers.
        learning_rates: `{part: rate}`, learning rates of parts of the model in place of `learning_rate`, by the
            beginning of the names of their parameters, such as `{"encoders": 1e-5}` or `{"encoders.image": 1e-5,
            "projections": 1e-3}`. The longest that fits counts; the scheduler scales all of them alike.

    Parameters that control evaluation:
        early_stopping_patience: End training when so many evaluations in a row have not improved
            `metric_for_best_model`. Needs `eval_strategy` and `load_best_model_at_end`.
        early_stopping_threshold: What counts as an improvement.

    A batch size that is assigned later, as a search for hyperparameters does, counts when training begins: that of the
    global batch and that of a process follow each other.

    Defaults that differ from `TrainingArguments`: `remove_unused_columns=False` (columns become modalities in the
    collator), `label_names=[]`, `logging_steps=10`, `ddp_find_unused_parameters=False` and
    `ddp_broadcast_buffers=False` (the heads are used outside `forward`, and are the same on every process), and
    `logging_nan_inf_filter=False` (a loss that is not finite stops the run). Without an `accelerator_config`,
    batches are copied from pinned memory to a GPU while the host goes on (its `non_blocking`).

    Raises:
        UserError: If a number is out of its range, or a name unknown; if `global_batch_size` cannot be shared evenly
            by the processes, or leaves fewer than 2 rows; if the weights were to be sharded (FSDP, DeepSpeed); if an
            argument of `TrainingArguments` would do nothing here.
    """

    global_batch_size: int | None = field(
        default=None, metadata={"help": "Rows that are contrasted with each other, over all processes."}
    )
    augment_first_view: list[str] | None = field(
        default=None, metadata={"help": "Modalities whose first view is augmented too. Default: as in the paper."}
    )
    gradient_cache_chunk_size: int | None = field(
        default=None, metadata={"help": "Rows a process embeds at a time; memory is that of one chunk."}
    )
    loss_tile_size: int | None = field(
        default=None, metadata={"help": "Rows and columns of similarities that a loss holds at once."}
    )
    freeze_batch_norm: bool = field(
        default=False, metadata={"help": "Keep the running statistics of BatchNorms in encoders as they are."}
    )
    decay_all: bool = field(
        default=False,
        metadata={"help": "Let weight decay reach all parameters, of whatever kind."},
    )
    learning_rates: dict[str, float] | None = field(
        default=None, metadata={"help": "Learning rates of parts of the model, by the beginning of their names."}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "End training when so many evaluations in a row have improved nothing."}
    )
    early_stopping_threshold: float = field(default=0.0, metadata={"help": "What counts as an improvement."})
    unique_ids: bool = field(default=False, metadata={"help": "Keep rows of equal ids out of one global batch."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Drop columns that `forward` does not name."})
    label_names: list[str] | None = field(default_factory=list, metadata={"help": "Label columns; none here."})
    logging_steps: float = field(default=10, metadata={"help": "Log every this many optimizer steps."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Hide losses that are not finite."})
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "See DistributedDataParallel."})
    ddp_broadcast_buffers: bool | None = field(default=False, metadata={"help": "See DistributedDataParallel."})

    def __post_init__(self) -> None:
        self._refuse_shards()
        self.check_values()
        # Every process reads its own share of a stream; the first would otherwise read and send all of it.
        usual = self.accelerator_config is None
        if usual:
            self.accelerator_config = {"dispatch_batches": False}
        # Said out loud, or accelerate takes the processes of a machine without GPUs for strangers to each other.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        if self.fp16 and self.use_cpu:
            raise UserError("training.fp16: float16 trains on a GPU only: leave it out, or write bf16: true")
        self.direction_written = self.greater_is_better is not None
        if self.greater_is_better is None and "_loss_" in f"_{self.metric_for_best_model}_":
            self.greater_is_better = False  # of a term, too: `TrainingArguments` looks at the end of the name alone
        super().__post_init__()
        if self.n_gpu > 1:
            # DataParallel would contrast each replica's rows alone; processes are started by torchrun.
            self._n_gpu = 1
        for name, wrong in (("auto_find_batch_size", True), ("train_sampling_strategy", "group_by_length")):
            if getattr(self, name, None) == wrong:
                raise UserError(f"{name}={wrong}: it would change which rows are contrasted; leave it out")
        self.dataloader_drop_last = False  # of evaluation; training always drops, see the Trainer
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # there is nothing to copy to
        if usual:
            cast(Any, self.accelerator_config).non_blocking = self.copies_without_waiting
        self._shared = (self.global_batch_size, self.per_device_train_batch_size)
        self.share_batch()

    def share_batch(self) -> None:
        """Fit the batch sizes together, of which one may have been assigned since the last time.

        Raises:
            UserError: As when the arguments are made.
        """
        if self.global_batch_size is not None:
            if self.global_batch_size == self._shared[0] and self.per_device_train_batch_size != self._shared[1]:
                self.global_batch_size = self.rows_contrasted
            share, rest = divmod(self.global_batch_size, self.world_size)
            if rest:
                raise UserError(
                    f"global_batch_size={self.global_batch_size} cannot be shared by {self.world_size} processes: "
                    f"write a multiple, such as {max(share, 1) * self.world_size}"
                )
            self.per_device_train_batch_size = share
        self._shared = (self.global_batch_size, self.per_device_train_batch_size)
        if self.rows_contrasted < 2:
            raise UserError(
                f"global_batch_size={self.rows_contrasted}: a contrastive loss needs at least 2 rows to compare"
            )

    def check_values(self) -> None:
        """What the optimizer, the scheduler or a loader would stumble over when training begins."""
        if self.label_smoothing_factor:
            raise UserError(
                f"training.label_smoothing_factor={self.label_smoothing_factor}: no objective reads it; leave it out. "
                "The targets of LatentALBEF are softened by its alpha, in the config of the model"
            )
        if self.early_stopping_patience is not None:
            if self.early_stopping_patience < 1:
                raise UserError(f"early_stopping_patience={self.early_stopping_patience}: write 1 or more")
            if self.eval_strategy == "no" or not self.load_best_model_at_end:
                raise UserError(
                    "training.early_stopping_patience needs eval_strategy: steps or epoch, and "
                    "load_best_model_at_end: true"
                )
        if self.load_best_model_at_end and self.eval_strategy == "no":
            raise UserError("training.load_best_model_at_end needs eval_strategy: steps or epoch")
        for name in self.include_for_metrics:
            if name != "loss":
                raise UserError(
                    f"include_for_metrics={self.include_for_metrics}: a row has an input of each modality, and none "
                    "of them stands for it; write ['loss'], or find rows by label_ids, which are their labels or ids"
                )
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, int | float) and not low <= value < high:
                wanted = f"{low} or more" + (f", below {high}" if low <= value else "")
                raise UserError(f"training.{name}={value}: write {wanted if value < math.inf else 'a finite number'}")
        for part, rate in (self.learning_rates or {}).items():
            if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < math.inf:
                raise UserError(f"training.learning_rates.{part}={rate!r}: write a finite number, 0 or more")
        for name, kind in CHOICES.items():
            value, known = getattr(self, name), [str(choice.value) for choice in kind]
            if isinstance(value, str) and not isinstance(value, Enum) and value not in known:
                raise UserError(f"training.{name}={value!r}: {suggest(value, known)}")
        if self.max_steps == 0 or self.max_steps < 0 and self.num_train_epochs == 0:
            name = "num_train_epochs" if self.max_steps else "max_steps"
            raise UserError(f"training.{name}=0: nothing would be trained; write more, or leave it out")
        cpus = os.cpu_count() or 1
        if self.dataloader_num_workers > WORKERS_A_CPU * cpus:
            raise UserError(
                f"training.dataloader_num_workers={self.dataloader_num_workers}: each is a process, and this machine "
                f"has {cpus} CPUs; write at most {WORKERS_A_CPU * cpus}"
            )

    def _refuse_shards(self) -> None:
        """Heads and temperature are used outside `forward`, and momentum copies follow whole weights."""
        asked = {"fsdp": self.fsdp, "deepspeed": self.deepspeed}
        for name, value in asked.items():
            launched = str_to_bool(os.environ.get(f"ACCELERATE_USE_{name.upper()}", "false"))
            if value or launched:
                where = f"{name}={value!r}" if value else f"ACCELERATE_USE_{name.upper()} of accelerate launch"
                raise UserError(
                    f"{where}: this Trainer needs whole weights on every process, for heads that score the gathered "
                    "batch and for momentum copies: leave it out, and start the processes with torchrun "
                    "(DistributedDataParallel); for memory, write gradient_cache_chunk_size or gradient_checkpointing"
                )

    @property
    def copies_without_waiting(self) -> bool:
        """Whether a batch travels to the device while the host goes on: from pinned memory to a GPU."""
        return self.dataloader_pin_memory and self.device.type == "cuda"

    @property
    def rows_contrasted(self) -> int:
        """Rows of one global batch, over all processes."""
        return self.per_device_train_batch_size * self.world_size
