"""The public Trainer, and what of a training goes to the Hub, and when."""

import shutil
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import ModelCard
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging
from transformers.utils.hub import PushInProgress, hf_api

from ..files import remove
from ..runs import METRICS, RECIPE
from ..training.arguments import LatentTrainingArguments
from ..training.checkpoints import staged_files
from ..training.trainer import ObjectiveTrainer

# What goes on from a checkpoint needs, beside the model.
RESUME = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth")

logger = logging.get_logger(__name__)


class LatentTrainer(ObjectiveTrainer):
    """Trains a model that embeds, on an objective that scores the whole batch.

    One step makes the views of the batch on the device, embeds them, gathers the embeddings over the processes with
    their gradient, scores them, and computes the objective that the model's config names. Any number of processes
    gives the gradient of one process at the same `global_batch_size`.

    Args:
        model: A model of this library, or adapters of PEFT on one.
        args: [`LatentTrainingArguments`]; by default those of `output_dir="outputs/trainer"`.
        views: The augmentations of each modality. Without them the batch must hold the second view itself if the
            objective needs one.
        optimizers: An optimizer of this model and its scheduler, instead of those that `args` name.
        benchmarks: What each evaluation measures of `evaluation_data`, beside the loss of `eval_dataset`; see
            [`measure_with`].
        evaluation_data: Rows with ids and labels, such as `LoadedData.evaluation` of a source; its `test` split is
            measured, which is also the `eval_dataset` where none is given.
        **kwargs: Of `transformers.Trainer`, but `compute_loss_func`: the objective, which the config of the model
            names, is the loss. `data_collator` gives batches of
            `{"modalities": {name: {...}}, "ids": (batch,)}`, or of what the model reads where there are no `views`; by
            default it stacks the columns that are named after the modalities, as `processing_class` says.

    Every term of the objective is logged as `loss_<term>`. A loss that is not finite stops the run and names the step
    and the term. Checkpoints appear whole or not at all, and training goes on from whole ones only. With an
    `eval_dataset`, [`evaluate`] gives `eval_loss` and what `compute_metrics` finds.

    Raises:
        UserError: If an argument is not what this Trainer works with; it says what to give instead.

    `push_to_hub()`, and the checkpoints that `hub_strategy` sends, put on the Hub what `hf-latent push` does, each as
    one commit: no training arguments, no path, no token. `hub_strategy="checkpoint"` and `"all_checkpoints"` add a
    folder with what a resume needs; momentum copies and queues are in that folder alone.
    """

    args: LatentTrainingArguments
    hub_model_id: str | None  # type: ignore[assignment]  # Trainer sets None first, and has no types
    push_in_progress: PushInProgress | None  # type: ignore[assignment]

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """As in `Trainer`: create the repository at once, so that a wrong name or token is told before training."""
        from .push import create_repository

        if self.is_world_process_zero():
            name = self.args.hub_model_id or self._run.absolute().name
            private = self.args.hub_private_repo if private is None else private
            self.hub_model_id = create_repository(name, private=bool(private), token=token or self.args.hub_token)
            self.push_in_progress = None

    def create_model_card(  # type: ignore[override]
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        **known: Any,
    ) -> None:
        """Write the card of the run, as `hf-latent card` does.

        Args:
            language, license, tags, model_name: For its header; tags are added to those that it has.
            **known: What else `Trainer` takes, which this card knows from the run.
        """
        if not self.is_world_process_zero():
            return
        text = self._card(self._run, license)
        if language or tags or model_name:
            card = ModelCard(text)
            header: Any = card.data
            header.language, header.model_name = language, model_name or header.model_name
            header.tags = [*header.tags, *([tags] if isinstance(tags, str) else tags or [])]
            text = str(card)
        with staged_files(self._run) as staging:
            (staging / "README.md").write_text(text, encoding="utf-8", newline="\n")

    def push_to_hub(  # type: ignore[override]  # the URL of the repository stands for that of the commit
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> "str | Future[str] | None":
        """Save the model, write the card, and publish the run in one commit.

        Adapters are pushed as adapters, with the checkpoint that they belong to named in `adapter_config.json`.

        Args:
            commit_message: Of the commit.
            blocking: Wait for it; otherwise return a `Future` of the URL at once.
            token, revision, private: In place of `args.hub_token`, `args.hub_revision` and `args.hub_private_repo`.
            **kwargs: Of [`create_model_card`].

        Returns:
            The URL of the repository; None on every process but the first.

        Raises:
            UserError: As `hf_latent.hub.push.publish_folder`.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if not self.is_world_process_zero():
            return None
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        with staged_files(self._run) as staging:
            self.save_model(str(staging), _internal_call=True)
            (staging / TRAINING_ARGS_NAME).unlink()
        self.create_model_card(**kwargs)
        self._finish_current_push()
        staged = self._stage(self._run, (self._run / "README.md").read_text(encoding="utf-8"))
        job = (staged, commit_message or "End of training", token, revision, private)
        return self._publish(*job) if blocking else hf_api().run_as_future(self._publish, *job)

    def push_checkpoint(self, checkpoint: Path) -> None:
        """Publish a whole checkpoint in the background, as `hub_strategy` says; a push that fails is a warning."""
        strategy = self.args.hub_strategy
        if not self.is_world_process_zero() or strategy == HubStrategy.END:
            return
        jobs: Any = self.push_in_progress.jobs if self.push_in_progress else []
        running = [job for job in jobs if not job.done()]
        if running and not self.args.hub_always_push:
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        message = f"Training in progress, {checkpoint.name}"
        try:
            staged = self._stage(checkpoint, self._card())
            if strategy != HubStrategy.EVERY_SAVE:
                name = "last-checkpoint" if strategy == HubStrategy.CHECKPOINT else checkpoint.name
                self._stage_resume(checkpoint, staged / name)
        except (OSError, ValueError) as error:
            logger.warning(f"{message}: not pushed ({error})")
            return
        running.append(hf_api().run_as_future(self._try_publish, staged, message))
        self.push_in_progress = PushInProgress(cast(Any, running))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Nothing: `Trainer` calls it before the checkpoint is whole. See [`push_checkpoint`]."""

    def _publish(
        self,
        staged: Path,
        message: str,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> str:
        from .push import publish_folder

        private = self.args.hub_private_repo if private is None else private
        try:
            return publish_folder(
                staged,
                cast(str, self.hub_model_id),
                private=bool(private),
                revision=revision or self.args.hub_revision,
                message=message,
                token=token or self.args.hub_token,
            )
        finally:
            remove(staged)

    def _try_publish(self, staged: Path, message: str) -> None:
        try:
            self._publish(staged, message)
        except Exception as error:  # nobody asks a job in the background how it went
            logger.warning(f"{message}: not pushed ({error})")

    def _stage(self, folder: Path, card: str) -> Path:
        """A temporary folder with what may be published of a run or a checkpoint."""
        from .shareable import stage_recipe, stage_run

        staged = Path(tempfile.mkdtemp(prefix="hf_latent_"))
        try:
            stage_recipe(self._run, staged)
            stage_run(folder, staged, cast(str, self.hub_model_id), card)
        except BaseException:
            remove(staged)
            raise
        return staged

    def _stage_resume(self, checkpoint: Path, folder: Path) -> None:
        from .shareable import stage_files, stage_model, stage_trainer_state

        stage_model(checkpoint, folder, whole=True)
        stage_files(checkpoint, folder, RESUME)
        stage_trainer_state(checkpoint, folder)

    def _card(self, run: Path | None = None, license: str | None = None) -> str:
        """The text of the card, with the measurements of `run`, if it has any."""
        from .card import render_card
        from .shareable import stage_recipe

        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / self._run.absolute().name
            self._base.config.save_pretrained(folder)
            stage_recipe(self._run, folder)
            if not (folder / RECIPE).is_file():
                (folder / RECIPE).write_text(
                    yaml.safe_dump({"training": self.args.to_dict()}), encoding="utf-8", newline="\n"
                )
            if (self._run / "README.md").is_file():
                shutil.copyfile(self._run / "README.md", folder / "README.md")  # for its license
            if run is not None and (run / METRICS).is_file():
                shutil.copyfile(run / METRICS, folder / METRICS)
                shutil.copytree(run / "figures", folder / "figures", dirs_exist_ok=True)
            adapters = None if self._base is self.model else ""
            return render_card(folder, repository=self.hub_model_id, license=license, adapters=adapters)
