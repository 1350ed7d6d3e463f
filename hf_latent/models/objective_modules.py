"""What an objective trains beside the model."""

import torch
from torch import Tensor, nn
from transformers import initialization as init


class ObjectiveModule(nn.Module):
    """A part with parameters of its own, which `initialize` sets.

    Attributes:
        learned: Whether they are trained.
    """

    learned = True

    def initialize(self) -> None:
        raise NotImplementedError


class Scalar(ObjectiveModule):
    """One learned number.

    Args:
        value: Where training starts.
        learned: Whether it is trained.
    """

    def __init__(self, value: float, learned: bool = True) -> None:
        super().__init__()
        self.value, self.learned = value, learned
        self.weight = nn.Parameter(torch.tensor(float(value)))

    def initialize(self) -> None:
        init.constant_(self.weight, self.value)

    def forward(self) -> Tensor:
        return self.weight if self.weight.dtype == torch.float64 else self.weight.float()
