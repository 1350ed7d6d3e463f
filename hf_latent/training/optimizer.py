"""The groups of the optimizer: what weight decay reaches, and a learning rate for each part of a model."""

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import nn
from transformers import Trainer
from transformers.training_args import OptimizerNames

from ..errors import UserError, suggest
from ..models.encoders import Encoder
from .arguments import LatentTrainingArguments

# What transformers' towers, and the fusion of CoMM, call their class, register and position embeddings.
TOKENS = re.compile(r"(?:^|[._])(?:class|cls|detection|distillation|mask|register)_(?:tokens?|embedding)$")
POSITIONS = re.compile(r"(?:^|[._])(?:pos(?:ition(?:al|s)?)?_embed|rel_pos)")
# Temperatures, also those of an attention, which have three dimensions in Swin v2.
SCALES = re.compile(r"(?:^|[._])logit_scale(?:$|\.)")
# Optimizers that take one learning rate for all parameters.
ONE_RATE = re.compile("layerwise|lomo")


class OptimizerTrainer(Trainer):
    """The part of the [`LatentTrainer`] that sorts the parameters into groups for the optimizer.

    What weight decay reaches is said in [`decayed_parameters`]. A frozen parameter, such as those of a momentum copy,
    is in no group. `args.learning_rates` gives parts of the model a learning rate of their own, which the scheduler
    scales as it scales `learning_rate`; each is logged as `learning_rate_<part>`.
    """

    args: LatentTrainingArguments
    _made = False  # the optimizer, by this Trainer
    _rates: Mapping[str, float] = MappingProxyType({})

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        if self.args.decay_all:
            return [name for name, _ in model.named_parameters()]
        return decayed_parameters(model, super().get_decay_parameter_names(model))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """As in `Trainer`, then each group divided by the learning rates of its parameters.

        Raises:
            UserError: If `learning_rates` names what is not trained, or the optimizer takes one learning rate only.
        """
        rates, kind = self.args.learning_rates or {}, OptimizerNames(self.args.optim).value
        trained = cast(nn.Module, self.model if model is None else model)
        parts = parts_of(trained, rates)
        made = self.optimizer is None
        given, divided = not made and not self._made, not ONE_RATE.search(kind)
        if rates and (given or not divided):
            what = "the optimizer was given to the Trainer" if given else f"training.optim={kind} takes one for all"
            raise UserError(f"training.learning_rates: {what}: leave one of them out")
        optimizer = super().create_optimizer(model)
        if made and divided:
            divide_groups(optimizer, trained, parts, rates)
        self._made |= made
        return optimizer

    def _get_learning_rate(self) -> float:
        """As in `Trainer`, which asks before a step for what it logs behind it; those of parts are kept, too."""
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        parts = sorted(self.args.learning_rates or {})
        # As `divide_groups` orders them: first the groups of no part, then as many of each part.
        each = len(groups) // (len(parts) + 1)
        self._rates = {f"learning_rate_{part}": float(groups[each * i]["lr"]) for i, part in enumerate(parts, 1)}
        return super()._get_learning_rate()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log({**logs, **self._rates} if "learning_rate" in logs else logs, start_time)


def decayed_parameters(model: nn.Module, names: Iterable[str]) -> list[str]:
    """The parameters that weight decay reaches: matrices, convolutions and tables of words.

    Left out are parameters of fewer than two dimensions (biases, the gains of every normalization, temperatures), and
    the class tokens and position embeddings of image towers and of CoMM's fusion, as timm leaves them out of a vision
    transformer (`no_weight_decay`; ALBEF's ViT names them, too, though its training script never asks it). The
    position table of a text tower is decayed with its table of words, as in BERT, ALBEF and open_clip; by their names
    alone the two could not be told apart in every family (`wpe` of GPT-2).

    Args:
        model: Any model, with adapters or without.
        names: Those that are not left out by their names, such as `Trainer.get_decay_parameter_names` gives.
    """
    modules, known = dict(model.named_modules()), set(names)
    towers = {f"{path}.": module.kind for path, module in modules.items() if isinstance(module, Encoder)}

    def embeds(name: str) -> bool:
        """Whether a parameter is a class token or a position embedding that is left out."""
        kind = next((kind for path, kind in towers.items() if name.startswith(path)), None)
        # Outside of the towers a table is that of words, or of their places, as in a decoder.
        is_table = isinstance(modules[name.rpartition(".")[0]], nn.Embedding)
        found = TOKENS.search(plain_name(name)) or POSITIONS.search(plain_name(name))
        return bool(found) and kind != "text" and (kind is not None or not is_table)

    return [
        name
        for name, parameter in model.named_parameters()
        if name in known and parameter.ndim >= 2 and not embeds(name) and not SCALES.search(name)
    ]


def plain_name(name: str) -> str:
    """The name of a parameter without what PEFT puts into it."""
    return name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")


def parts_of(model: nn.Module, prefixes: Collection[str]) -> dict[str, str]:
    """The part of each trained parameter that belongs to one: the longest of the prefixes of its name, whole words.

    Raises:
        UserError: If a prefix is of no parameter, or of frozen ones alone.
    """
    names = {name: plain_name(name) for name, _ in model.named_parameters()}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for prefix in prefixes:
        of = [name for name, plain in names.items() if _begins(plain, prefix)]
        if not of:
            # Parts with parts of their own, such as the encoders, are known by both.
            steps = [names[name].split(".") for name in trained]
            known = {".".join(step[:depth]) for step in steps for depth in (1, 2)[: max(1, len(step) - 1)]}
            raise UserError(f"training.learning_rates: the model has no part {prefix!r}; {suggest(prefix, known)}")
        if not trained.intersection(of):
            raise UserError(f"training.learning_rates.{prefix}: this part is frozen: leave it out")
    found = {name: [prefix for prefix in prefixes if _begins(names[name], prefix)] for name in trained}
    return {name: max(own, key=len) for name, own in found.items() if own}


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def divide_groups(
    optimizer: torch.optim.Optimizer, model: nn.Module, parts: Mapping[str, str], rates: Mapping[str, float]
) -> None:
    """Divide the groups of a new optimizer by the learning rates of their parameters, and name the parameters.

    First come the groups of no part, then those of each part in the order of the alphabet: so they are the same
    however a recipe orders its keys, and the learning rate that `Trainer` logs is that of no part.

    Args:
        optimizer: Which has taken no step.
        model: Whose parameters it has.
        parts: The part of each parameter that has one; see [`parts_of`].
        rates: The learning rate of each part.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups: list[dict[str, Any]] = []
    for part in (None, *sorted(rates)):
        for group in optimizer.param_groups:
            own = [p for p in group["params"] if parts.get(names[id(p)]) == part]
            rate = {} if part is None else {"lr": rates[part]}
            # As torch keeps them, so that a resume can tell whether they are the same.
            groups.append({**group, **rate, "params": own, "param_names": [names[id(p)] for p in own]})
    optimizer.param_groups[:] = groups
