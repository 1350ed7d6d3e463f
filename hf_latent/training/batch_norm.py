"""What couples rows below the scoring breaks what makes a batch in parts the same as a whole one: BatchNorm does."""

from torch import nn

from ..errors import UserError
from ..models.embeddings import LatentPreTrainedModel
from ..models.encoders import BATCH_NORMS
from .arguments import LatentTrainingArguments


def keep_rows_apart(model: LatentPreTrainedModel, args: LatentTrainingArguments, missing: bool = False) -> None:
    """Freeze, synchronise or refuse the BatchNorms below the scoring where they would see a part of the rows only.

    Args:
        missing: Whether rows may lack a modality, and hold something else in its place.

    Raises:
        UserError: With what to write instead.
    """
    for name, child in model.named_children():
        trained = [m for m in child.modules() if isinstance(m, BATCH_NORMS) and _is_trained(m)]
        if name in model.scoring_modules or not trained:
            continue
        if args.freeze_batch_norm:
            for module in trained:
                keep_in_evaluation(module)
        elif missing:
            raise UserError(
                f"data.on_missing: use: {name} hold a BatchNorm, which would normalise by what stands in place of a "
                "missing modality: write norm: group, freeze the encoder (frozen: true), write "
                "training.freeze_batch_norm: true, or data.on_missing: drop"
            )
        elif args.gradient_cache_chunk_size is not None:
            raise UserError(
                f"{name} hold a BatchNorm, which with gradient_cache_chunk_size would normalise each chunk alone: "
                "write training.freeze_batch_norm: true, norm: group, or leave the chunks out"
            )
        elif args.world_size > 1 and args.device.type != "cuda":
            raise UserError(
                f"{name} hold a BatchNorm, which on several processes without GPUs would normalise each process's "
                "rows alone: write norm: group, freeze the encoder (frozen: true), write "
                "training.freeze_batch_norm: true, or train in one process"
            )
        elif args.world_size > 1:
            setattr(model, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))


def keep_in_evaluation(module: nn.Module) -> None:
    """Put a module in evaluation mode, in which `train()` leaves it."""
    module.eval()
    module.train = lambda mode=True: module  # type: ignore[method-assign]


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
