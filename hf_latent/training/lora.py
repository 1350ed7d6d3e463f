"""Low-rank adapters on the encoders, by PEFT; what stands behind the encoders is trained whole."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import UserError
from ..models.embeddings import LatentPreTrainedModel

# What the query and value projections of attention are called in transformers.
ATTENTION = ("q_proj", "v_proj", "query", "value", "q_lin", "v_lin")


def without_adapters(model: Any) -> Any:
    """The model below the adapters of PEFT, if it has any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2022) instead of training the encoders whole.

    Args:
        rank: Of the updates.
        alpha: Their scale is alpha / rank.
        dropout: On their input.
        targets: Endings of the names of the linear layers that get one; by default the query and value projections
            of every attention.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: list[str] | None = None


def add_lora(model: LatentPreTrainedModel, options: Lora) -> Any:
    """The model with adapters in its encoders. Its weights are frozen there and trained everywhere else.

    Raises:
        UserError: If no layer of the encoders has such a name.
    """
    from peft import LoraConfig, get_peft_model

    if options.rank < 1 or options.alpha <= 0:
        raise UserError(f"lora.rank={options.rank}, lora.alpha={options.alpha}: write numbers above 0")
    endings = tuple(options.targets or ATTENTION)
    if any(name == "momentum" for name, _ in model.named_children()):
        raise UserError("lora: the momentum encoders of this model follow whole weights: leave lora out")
    linear = [name for name, module in model.encoders.named_modules() if isinstance(module, nn.Linear)]
    frozen = model.frozen_encoders
    linear = [name for name in linear if name.split(".")[0] not in frozen]
    targets = [f"encoders.{name}" for name in linear if name.endswith(endings)]
    for tower in model.encoders:
        if tower not in frozen and not any(name.startswith(f"encoders.{tower}.") for name in targets):
            own = sorted({name.rsplit(".")[-1] for name in linear if name.startswith(f"{tower}.")})
            raise UserError(
                f"lora.targets: no linear layer of the {tower} encoder ends in {', '.join(endings)}; there are "
                f"{', '.join(own) or 'none: write frozen: true for it, or leave lora out'}"
            )
    # PEFT replaces modules: those that are looked up in a ModuleDict are named one by one.
    whole = [
        name
        for name, module in model.named_modules()
        if name
        and not name.startswith("encoders")
        and any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    ]
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets,
        modules_to_save=whole,
    )
    return get_peft_model(model, config)
