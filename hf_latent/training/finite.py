"""The losses of training are finite, or the run stops and says where they were not."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import UserError


class FiniteCheck:
    """Looks at the loss of every step without waiting for the device.

    On an accelerator the answer is copied to the host while the step goes on, and read when the next loss comes. On a
    CPU it is read at once.
    """

    def __init__(self) -> None:
        self._open: tuple[int, Tensor, Mapping[str, Tensor], Tensor, torch.Event | None] | None = None

    def note(self, step: int, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        """A loss and what it is the sum of.

        Raises:
            UserError: If this loss, or an earlier one that was not looked at yet, is not finite; names the step and
                the terms.
        """
        self.flush()
        finite = loss.detach().isfinite().to("cpu", non_blocking=True)
        event = None
        if loss.device.type != "cpu":
            event = torch.Event(loss.device)
            event.record()
        self._open = step, loss.detach(), {name: value.detach() for name, value in terms.items()}, finite, event
        if event is None:
            self.flush()

    def flush(self) -> None:
        """Look at the last loss; raises as `note`."""
        if self._open is None:
            return
        step, loss, terms, finite, event = self._open
        self._open = None
        if event is not None:
            event.synchronize()
        if finite:
            return
        bad = [f"{name}={value.item()}" for name, value in terms.items() if not torch.isfinite(value)]
        raise UserError(
            f"the loss is {loss.item()} at step {step}, from {', '.join(bad) or 'its weights'}: "
            "look for NaN in the inputs, or write a smaller training.learning_rate"
        )
