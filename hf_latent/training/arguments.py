"""Training arguments of contrastive models."""

import os
from dataclasses import dataclass, field

import torch
from accelerate.utils import str_to_bool
from transformers import TrainingArguments

from ..errors import UserError


@dataclass
class LatentTrainingArguments(TrainingArguments):
    """Arguments of the [`LatentTrainer`].

    Parameters that control the batch:
        global_batch_size: Rows that are contrasted with each other, over all processes. Sets
            `per_device_train_batch_size` to its share; the incomplete last global batch of an epoch is dropped.
            Without it, `per_device_train_batch_size` rows a process are contrasted together.
        gradient_cache_chunk_size: Embed so many rows of a process at a time, twice each, and score them all together:
            the memory of one chunk, the gradient of the whole batch. By default all at once.
        loss_tile_size: Losses look at so many rows and columns of similarities at once, whatever the batch. By default
            what suits the device. It changes memory and speed, never the gradient.
        freeze_batch_norm: BatchNorms in encoders normalise by their running statistics, which stay as they are. The
            cache, and several processes without GPUs, need it where an encoder has any.
        unique_ids: Keep rows with equal ids out of one global batch. By default they may meet, as positives of each
            other. The training set must have `ids`, an array of integers.
        augment_first_view: The modalities whose first view is augmented, too. By default all of CoMM and none of
            LatentCLIP, whose first view is the picture and the caption as they are.

    Defaults that differ from `TrainingArguments`: `remove_unused_columns=False` (columns become modalities in the
    collator), `label_names=[]`, `logging_steps=10`, `ddp_find_unused_parameters=False` and
    `ddp_broadcast_buffers=False` (the heads are used outside `forward`, and are the same on every process), and
    `logging_nan_inf_filter=False` (a loss that is not finite stops the run).

    Raises:
        UserError: If `global_batch_size` cannot be shared evenly by the processes, or leaves fewer than 2 rows; if the
            weights were to be sharded (FSDP, DeepSpeed).
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
    unique_ids: bool = field(default=False, metadata={"help": "Keep rows of equal ids out of one global batch."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Drop columns that `forward` does not name."})
    label_names: list[str] | None = field(default_factory=list, metadata={"help": "Label columns; none here."})
    logging_steps: float = field(default=10, metadata={"help": "Log every this many optimizer steps."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Hide losses that are not finite."})
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "See DistributedDataParallel."})
    ddp_broadcast_buffers: bool | None = field(default=False, metadata={"help": "See DistributedDataParallel."})

    def __post_init__(self) -> None:
        self._refuse_shards()
        # Every process reads its own share of a stream; the first would otherwise read and send all of it.
        if self.accelerator_config is None:
            self.accelerator_config = {"dispatch_batches": False}
        # Said out loud, or accelerate takes the processes of a machine without GPUs for strangers to each other.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        super().__post_init__()
        if self.n_gpu > 1:
            # DataParallel would contrast each replica's rows alone; processes are started by torchrun.
            self._n_gpu = 1
        for name, wrong in (("auto_find_batch_size", True), ("train_sampling_strategy", "group_by_length")):
            if getattr(self, name, None) == wrong:
                raise UserError(f"{name}={wrong}: it would change which rows are contrasted; leave it out")
        for name in ("gradient_accumulation_steps", "gradient_cache_chunk_size", "loss_tile_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}={value}: write 1 or more")
        self.dataloader_drop_last = False  # of evaluation; training always drops, see the Trainer
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # there is nothing to copy to
        if self.global_batch_size is not None:
            share, rest = divmod(self.global_batch_size, self.world_size)
            if rest:
                raise UserError(
                    f"global_batch_size={self.global_batch_size} cannot be shared by {self.world_size} processes: "
                    f"write a multiple, such as {max(share, 1) * self.world_size}"
                )
            self.per_device_train_batch_size = share
        if self.rows_contrasted < 2:
            raise UserError(
                f"global_batch_size={self.rows_contrasted}: a contrastive loss needs at least 2 rows to compare"
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
    def rows_contrasted(self) -> int:
        """Rows of one global batch, over all processes."""
        return self.per_device_train_batch_size * self.world_size
