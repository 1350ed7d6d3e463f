"""Checkpoints in training: how they are written, and how training goes on from one."""

import math
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import Trainer, TrainerState
from transformers.dynamic_module_utils import custom_object_save
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SchedulerType, TrainOutput
from transformers.training_args import OptimizerNames

from ..errors import UserError
from ..models.embeddings import LatentPreTrainedModel
from .arguments import LatentTrainingArguments
from .checkpoints import STAGING, check_finite, last_checkpoint, publish, rotate
from .distributed import barrier, from_first_process, lost_process, lost_processes_named
from .lora import without_adapters
from .resume import check_checkpoint, check_weights, read_state, refused
from .run_lock import locked


class CheckpointTrainer(Trainer):
    """The part of the [`LatentTrainer`] that writes checkpoints and goes on from them.

    Checkpoints appear whole or not at all, and only with finite weights. Training goes on from a checkpoint only if
    all of it is there and fits; otherwise a `UserError` says what is wrong, before anything is changed.
    """

    args: LatentTrainingArguments
    _staging: Path | None = None
    _checked: Path | None = None

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """As in `Trainer`; a checkpoint that already stands at the last step is loaded, and nothing is trained.

        Raises:
            UserError: If the checkpoint cannot be resumed from, if another process trains in `args.output_dir`, or if
                the weights are not finite in the end.
        """
        with lost_processes_named(), locked(self._run):
            if resume_from_checkpoint is True:
                resume_from_checkpoint = self._last_checkpoint()
            if not resume_from_checkpoint:
                output = super().train(None, *args, **kwargs)
            elif self._is_finished(Path(resume_from_checkpoint)):
                output = TrainOutput(self.state.global_step, float("nan"), {})
            else:
                output = super().train(str(resume_from_checkpoint), *args, **kwargs)
            check_finite(cast(nn.Module, self.model), self.state.global_step)
            return output

    def _last_checkpoint(self) -> str:
        checkpoint = last_checkpoint(self._run)
        if checkpoint is None:
            raise UserError(f"{self._run} holds no checkpoint: train without resume_from_checkpoint")
        return str(checkpoint)

    # What is tried before training

    def planned_steps(self) -> int:
        """The step at which training ends."""
        # Making a loader draws random numbers, and trying changes nothing.
        with torch.random.fork_rng(devices=[]):
            return self.set_initial_training_values(self.args, self.get_train_dataloader())[-1]

    def try_optimizer(self, checkpoint: Path | None = None) -> None:
        """Build optimizer and scheduler, and read all of a checkpoint that training is to go on from; nothing changes.

        Raises:
            UserError: If the arguments do not fit, or the checkpoint cannot be resumed from.
        """
        steps = self.planned_steps()
        given = self.optimizer, self.lr_scheduler, self._created_lr_scheduler
        try:
            self._build_optimizer(steps)
            if checkpoint is not None:
                from_first_process(lambda: self._check(checkpoint, steps))
                self._checked = checkpoint
        finally:
            self.optimizer, self.lr_scheduler, self._created_lr_scheduler = given

    def _build_optimizer(self, steps: int) -> None:
        try:
            self.create_optimizer()
        except UserError:
            raise
        except Exception as error:  # whatever the library of the optimizer makes of its arguments
            told = f", training.optim_args={self.args.optim_args}" if self.args.optim_args else ""
            raise UserError(f"training.optim={OptimizerNames(self.args.optim).value}{told}: {error}") from error
        options: Any = self.args.lr_scheduler_kwargs or {}
        try:
            if any(isinstance(value, float) and not math.isfinite(value) for value in options.values()):
                raise ValueError("write finite numbers")
            self.create_scheduler(steps)
            rates = [
                rate_of(step)
                for rate_of in getattr(self.lr_scheduler, "lr_lambdas", ())
                for step in {0, 1, steps // 2, max(steps - 1, 0)}
            ]
            if not torch.tensor(rates).isfinite().all():
                raise ValueError("the learning rate is not finite in every step")
        except Exception as error:
            told = f", training.lr_scheduler_kwargs={options}" if options else ""
            kind = SchedulerType(self.args.lr_scheduler_type).value
            raise UserError(f"training.lr_scheduler_type={kind}{told}: {error}") from error

    def _check(self, checkpoint: Path, steps: int) -> None:
        state = read_state(checkpoint, self.args, steps)
        model = cast(nn.Module, self.model)
        scaler = getattr(self.accelerator, "scaler", None)
        check_checkpoint(checkpoint, state, self.args, model, cast(Any, self.optimizer), self.lr_scheduler, scaler)

    def _is_finished(self, checkpoint: Path) -> bool:
        """Check a checkpoint; load it if it stands at the last step, from which a resume would train on."""
        if checkpoint != self._checked:
            self.try_optimizer(checkpoint)
        self._checked = None
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        if state.global_step < self.planned_steps():
            return False
        self._load_from_checkpoint(str(checkpoint))
        self.state = state
        self._find_best()
        if self.args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._load_best_model()
        return True

    def _init_training_state(self, max_steps: int, *args: Any) -> tuple[int, int]:
        """As in `Trainer`; how often to log and save is what the arguments say now, not what they said before."""
        trained = super()._init_training_state(max_steps, *args)
        self.state.compute_steps(self.args, max_steps)
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):  # it is written with the next checkpoint
                cast(Any, self.state.stateful_callbacks).setdefault(type(callback).__name__, callback.state())
        self._find_best()
        return trained

    def _find_best(self) -> None:
        """The best checkpoint lies beside the others, wherever the run folder was when they were written."""
        best = self._run / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
        if best.is_dir():
            self.state.best_model_checkpoint = str(best)

    def _load_best_model(self) -> None:
        """As in `Trainer`, which would go on with the last weights where those of the best checkpoint do not fit."""
        best = Path(cast(str, self.state.best_model_checkpoint))
        try:
            check_weights(best, cast(nn.Module, self.model))
        except ValueError as error:
            raise refused(best, str(error)) from None
        super()._load_best_model()

    # Writing

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._staging is None else str(self._staging)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As in `Trainer`, but into a staging folder that takes its name only when all of it is on the disk."""
        check_finite(cast(nn.Module, self.model), self.state.global_step)
        run = Path(super()._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self._staging = staging = run / STAGING
        try:
            if self.args.should_save:
                shutil.rmtree(staging, ignore_errors=True)
            barrier()
            cast(LatentPreTrainedModel, self.model).keep_training_state = True
            super()._save_checkpoint(model, trial)
            barrier()
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(staging, ignore_errors=True)
            if lost_process(error):
                raise
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{name} could not be written ({reason}): is the disk full? Earlier ones are whole"
            ) from error
        finally:
            self._staging = None
            cast(LatentPreTrainedModel, self.model).keep_training_state = False
        if self.state.best_global_step:  # on every process, which all load it in the end
            self.state.best_model_checkpoint = str(run / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}")
        if self.args.should_save:
            if self.state.best_global_step:
                self.state.save_to_json(str(staging / name / TRAINER_STATE_NAME))
            publish(staging / name, run / name)
            shutil.rmtree(staging, ignore_errors=True)
            if self.args.push_to_hub:
                self.push_checkpoint(run / name)
            rotate(run, self.args.save_total_limit, run / name, self.state.best_model_checkpoint)
        barrier()

    def push_checkpoint(self, checkpoint: Path) -> None:
        """Nothing: the Trainer that knows the Hub publishes a whole checkpoint."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """As in `Trainer`; beside adapters, also the config and the code of the model that they are for."""
        super()._save(output_dir, state_dict)
        if self._base is not self.model and self.args.should_save:
            folder = output_dir or str(self._run)
            self._base.name_auto_classes()
            custom_object_save(self._base, folder, config=self._base.config)
            self._base.config.save_pretrained(folder)

    @property
    def _run(self) -> Path:
        return Path(cast(str, self.args.output_dir))

    @property
    def _base(self) -> Any:
        """The model, without the adapters around it."""
        return without_adapters(self.model)
