"""What an objective trains beside the model."""

from collections.abc import Sequence

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


class MaskToken(ObjectiveModule):
    """Makes copies of tokens of which a random part is one learned token; used by a model while it trains.

    Args:
        dim: Width of the tokens.
        copies: How many copies of each row are made.
        ratio: The share of the tokens of each modality that are masked, above 0 and at most 1, rounded so that more
            are masked: a modality of one token is masked whole.
    """

    def __init__(self, dim: int, copies: int, ratio: float) -> None:
        super().__init__()
        self.copies, self.ratio = copies, ratio
        self.weight = nn.Parameter(torch.zeros(dim))

    def initialize(self) -> None:
        init.normal_(self.weight, std=0.02)

    def forward(
        self, tokens: Sequence[Tensor], masks: Sequence[Tensor | None], places: Sequence[int], seeds: Tensor
    ) -> list[Tensor]:
        """
        Args:
            tokens: One `(batch, length, dim)` tensor a modality.
            masks: One `(batch, length)` bool tensor a modality, True where a token is real; None where all are. Others
                do not count, and stay as they are.
            places: The number of each modality.
            seeds: `(batch,)` int64: what is masked of a row depends on its seed and its number of tokens alone.

        Returns:
            One `(batch * copies, length, dim)` tensor a modality; the copies of a row are neighbours.
        """
        return [self._masked(*each, seeds) for each in zip(tokens, masks, places, strict=True)]

    def _masked(self, tokens: Tensor, mask: Tensor | None, place: int, seeds: Tensor) -> Tensor:
        length, device = tokens.shape[1], tokens.device
        real = torch.ones_like(tokens[..., 0], dtype=torch.bool) if mask is None else mask.bool()
        drawn = _mixed(seeds, place)[:, None, None]
        for numbers in (torch.arange(self.copies, device=device)[:, None], torch.arange(length, device=device)):
            drawn = _mixed(drawn, numbers)
        # Real tokens in a random order, the first of which are kept. What is added is for rounding: .65 * 180 is 117.
        drawn = drawn.masked_fill(~real[:, None], torch.iinfo(torch.int64).max)
        kept = (real.sum(dim=1) * (1 - self.ratio) + 1e-4).floor()
        masked = (drawn.argsort(dim=-1).argsort(dim=-1) >= kept[:, None, None]) & real[:, None]
        return torch.where(masked[..., None], self.weight.to(tokens.dtype), tokens[:, None]).flatten(0, 1)


class TokenMask(nn.Module):
    """Zeros in place of random tokens, of another modality in each view; used by a model while it trains.

    Args:
        ratio: The probability, 0 to 1, with which a token is masked, independently of the others.
    """

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(self, tokens: Sequence[Tensor], places: Sequence[int], seeds: Tensor) -> list[Tensor]:
        """
        Args:
            tokens: One `(views * batch, length, dim)` tensor a modality, the first view before the second.
            places: The number of each modality: of 0 the first view is masked, of 1 the second, of others none.
            seeds: `(batch,)` int64: what is masked of a row depends on its seed alone.

        Returns:
            The same with zeros.
        """
        views = [list(own.split(len(seeds))) for own in tokens]
        for own, place in zip(views, places, strict=True):
            if place < len(own):
                own[place] = self._masked(own[place], place, seeds)
        return [torch.cat(own) for own in views]

    def _masked(self, tokens: Tensor, place: int, seeds: Tensor) -> Tensor:
        drawn = _mixed(_mixed(seeds, place)[:, None], torch.arange(tokens.shape[1], device=tokens.device))
        # The highest 24 bits, from -2^23 to 2^23 - 1.
        return tokens.masked_fill(((drawn >> 40) < round((self.ratio - 0.5) * 2**24))[..., None], 0)


def _mixed(state: Tensor, number: Tensor | int) -> Tensor:
    """Random int64 numbers, a function of both (splitmix64): the same on every device, with no generator."""
    state = (state + number + 1) * (0x9E3779B97F4A7C15 - 2**64)  # products wrap around
    state = (state ^ (state >> 30 & 2**34 - 1)) * (0xBF58476D1CE4E5B9 - 2**64)
    state = (state ^ (state >> 27 & 2**37 - 1)) * (0x94D049BB133111EB - 2**64)
    return state ^ (state >> 31 & 2**33 - 1)
