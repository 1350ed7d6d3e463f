"""A model that is made anew for each training, and the search for hyperparameters that needs one."""

from collections.abc import Callable
from typing import Any, cast

from torch import nn
from transformers import Trainer, enable_full_determinism, set_seed

from ..errors import UserError
from ..models.embeddings import LatentPreTrainedModel
from .arguments import LatentTrainingArguments
from .checks import check_model


class SearchTrainer(Trainer):
    """The part of the [`LatentTrainer`] that makes models by `model_init` and searches for hyperparameters."""

    args: LatentTrainingArguments
    _fit_to: Callable[[nn.Module], None]

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], float] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As in `Trainer`, which asks for `model_init`; by default the search minimises `eval_loss`.

        A trial may change any argument of training: the batch sizes follow each other, and the model is made with the
        seed of the trial. Losses of different `global_batch_size` do not compare, since more rows are more negatives:
        search over it with a `compute_objective` of a metric.

        Args:
            hp_space: From a trial, the arguments of training to try; `model_init(trial)` may ask the trial for others.
            compute_objective: From the metrics of an evaluation, the number to minimise; or, with
                `direction="maximize"`, to maximise.
            *args, **kwargs: Of `Trainer.hyperparameter_search`.

        Raises:
            UserError: If there are no rows to evaluate on, or no `model_init`.
        """
        if self.model_init is None:
            raise UserError(
                "hyperparameter_search makes a model a trial: give model_init, which returns one, not model"
            )
        if self.eval_dataset is None:
            raise UserError("hyperparameter_search compares evaluations: give the Trainer an eval_dataset")
        return super().hyperparameter_search(hp_space, compute_objective or evaluation_loss, *args, **kwargs)

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """As in `Trainer`; the arguments of the trial, its seed among them, hold from here on."""
        if trial is not None and self.hp_search_backend is not None:
            self._hp_search_setup(trial)
            seed = self.args.seed
            enable_full_determinism(seed) if self.args.full_determinism else set_seed(seed)
        model = super().call_model_init(trial)
        check_model(model)
        self._fit_to(model)
        cast(LatentPreTrainedModel, model).on_train_begin()
        return model

    def _hp_search_setup(self, trial: Any) -> None:
        super()._hp_search_setup(trial)
        self.share_batch()

    def share_batch(self) -> None:
        """Go by the batch sizes that the arguments have now."""
        self.args.check_values()
        self.args.share_batch()
        self._train_batch_size = self.args.train_batch_size


def evaluation_loss(metrics: dict[str, float]) -> float:
    """The loss among the metrics of an evaluation."""
    if "eval_loss" not in metrics:
        losses = ", ".join(name for name in metrics if name.endswith("_loss"))
        raise UserError(
            f"the evaluation tells no eval_loss, but {losses or 'no loss'}: give compute_objective, which chooses one"
        )
    return metrics["eval_loss"]
