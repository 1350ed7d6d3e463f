"""Callbacks of the Trainer."""

from typing import Any

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class LossProgressCallback(ProgressCallback):
    """The Trainer's progress bar with the latest loss and its terms beside it, instead of a line of text a log."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero and self.training_bar is not None and logs:
            losses = {name.removeprefix("loss_"): f"{logs[name]:.2f}" for name in logs if name.startswith("loss")}
            if losses:
                self.training_bar.set_postfix(losses)


class OptimizerStepCallback(TrainerCallback):
    """Tells the model that its weights have moved, where it wants to know: temperatures are kept in their range."""

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if hasattr(model, "on_optimizer_step"):
            model.on_optimizer_step()


class LogBeforeSaveCallback(TrainerCallback):
    """Logs at every checkpoint: the sums of a log that is still open are not in it, and a resume would lose them."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        control.should_log = control.should_log or control.should_save
        return control

    on_epoch_end = on_step_end
