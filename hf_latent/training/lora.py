"""Low-rank adapters on the encoders, by PEFT; what stands behind the encoders is trained whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import UserError, suggest
from ..models.embeddings import LatentPreTrainedModel
from ..models.encoders import BATCH_NORMS
from .batch_norm import keep_in_evaluation

# What the query and value projections of attention are called in transformers.
ATTENTION = ("q_proj", "v_proj", "query", "value", "q_lin", "v_lin")


def without_adapters(model: Any) -> Any:
    """The model below the adapters of PEFT, if it has any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2022) instead of training the encoders whole.

    What stands behind the encoders is trained whole. An encoder without any layer that gets an adapter is frozen and
    stays in evaluation mode, as by `frozen: true`. So do BatchNorms of every encoder that is not trained whole.

    Args:
        rank: Of the updates.
        alpha: Their scale is alpha / rank.
        dropout: On their input.
        targets: Endings of the names of the linear layers that get one; by default the query and value projections
            of every attention.
        modules_to_save: Modalities whose encoders are trained whole and saved with the adapters, which they do not
            get, such as that of a small CNN.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: list[str] | None = None
    modules_to_save: list[str] | None = None


def add_lora(model: LatentPreTrainedModel, options: Lora, tell: Callable[[str], None] | None = None) -> Any:
    """The model with adapters in its encoders. Its weights are frozen there and trained everywhere else.

    Args:
        model: With the weights that training begins with.
        options: Of the adapters.
        tell: Called with a sentence on the encoders that get none, if there are any.

    Raises:
        UserError: If no layer of the encoders has such a name, or an encoder is named that cannot be trained whole.
    """
    from peft import LoraConfig, get_peft_model

    if options.rank < 1 or options.alpha <= 0:
        raise UserError(f"lora.rank={options.rank}, lora.alpha={options.alpha}: write numbers above 0")
    if any(name == "momentum" for name, _ in model.named_children()):
        raise UserError("lora: the momentum encoders of this model follow whole weights: leave lora out")
    if getattr(model, "unique", None) is not None:
        raise UserError("lora: the objective coral trains a second encoder of each modality whole: leave lora out")
    whole = _whole_encoders(model, options)
    towers = [name for name in model.encoders if name not in (*model.frozen_encoders, *whole)]
    endings = tuple(options.targets or ATTENTION)
    linear = [
        f"encoders.{tower}.{name}" if name else f"encoders.{tower}"
        for tower in towers
        for name, module in model.encoders[tower].named_modules()
        if isinstance(module, nn.Linear)
    ]
    targets = [name for name in linear if name.endswith(endings)]
    if not targets:
        own = ", ".join(sorted({name.rsplit(".")[-1] for name in linear})) or "none: leave lora out"
        raise UserError(f"lora.targets: no linear layer of an encoder ends in {', '.join(endings)}; there are {own}")
    left = [tower for tower in towers if not any(name.startswith(f"encoders.{tower}.") for name in targets)]
    if left and tell is not None:
        names = ", ".join(left)
        tell(
            f"No adapters in the encoders of {names}, of which no linear layer ends in {', '.join(endings)}: they are "
            f"frozen; lora.modules_to_save: [{names}] trains them whole"
        )
    # PEFT replaces modules: those that are looked up in a ModuleDict are named one by one.
    saved = [
        name
        for name, module in model.named_modules()
        if name
        and (not name.startswith("encoders") or name.split(".")[1:2] in [[tower] for tower in whole])
        and any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    ]
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets,
        modules_to_save=[name for name in saved if not any(name.startswith(f"{other}.") for other in saved)],
    )
    adapted = get_peft_model(model, config)
    for tower in towers:
        modules = [model.encoders[tower]] if tower in left else model.encoders[tower].modules()
        for module in modules:
            if tower in left or isinstance(module, BATCH_NORMS):
                keep_in_evaluation(module)
    return adapted


def _whole_encoders(model: LatentPreTrainedModel, options: Lora) -> list[str]:
    """The encoders that are trained whole beside the adapters."""
    for name in options.modules_to_save or ():
        if name not in model.encoders:
            raise UserError(f"lora.modules_to_save: no modality {name!r}; {suggest(name, model.encoders)}")
        if name in model.frozen_encoders:
            raise UserError(
                f"lora.modules_to_save: the encoder of {name} is frozen: leave frozen out, or its name here"
            )
    return list(options.modules_to_save or ())
