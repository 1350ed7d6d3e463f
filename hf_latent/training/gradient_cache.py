"""Batches of any size in the memory of one chunk: embed first, score once, then backward chunk by chunk."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..models.embeddings import Embeddings


def cached_backward(
    embed: Sequence[Callable[[], Embeddings]],
    score: Callable[[Embeddings], torch.Tensor],
    backward: Callable[[torch.Tensor], None],
    device: torch.device,
    again: Sequence[Callable[[], Embeddings]] | None = None,
) -> torch.Tensor:
    """The gradient of a loss over a whole batch, whose rows are embedded one chunk at a time.

    Every chunk is embedded twice: without a graph, to know all embeddings; and again with one, to carry the gradient
    of its embeddings on to the parameters. The second time it draws the same random numbers, so dropout is the same.

    Args:
        embed: For each chunk, what embeds it.
        score: The loss of the embeddings of all rows. Parameters that it uses get their gradient here.
        backward: Runs the backward pass of the scaled loss.
        device: Whose random state is replayed, beside the CPU's.
        again: For each chunk, what embeds it the second time; by default as the first time. Losses of rows, in which
            the loss is linear, may be 0 the first time.

    Returns:
        The loss.

    Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021.
    """
    states, parts = [], []
    with torch.no_grad():
        for chunk in embed:
            states.append(random_state(device))
            parts.append(chunk())
    whole = Embeddings.join(parts).map(lambda rows: rows.detach().requires_grad_())
    loss = score(whole)
    scored = random_state(device)
    backward(loss)
    pulls = [rows.grad for rows in whole.tensors()]
    start = 0
    for chunk, state, part in zip(again or embed, states, parts, strict=True):
        rows = slice(start, start := start + len(part.tensors()[0]))
        set_random_state(state, device)
        # Frozen towers and embeddings that the loss does not read carry nothing on.
        pairs = [
            (embeds, pull[rows])
            for embeds, pull in zip(chunk().tensors(), pulls, strict=True)
            if pull is not None and embeds.requires_grad
        ]
        torch.autograd.backward([embeds for embeds, _ in pairs], [pull for _, pull in pairs])
    set_random_state(scored, device)  # or the next step would draw again what this one has drawn
    return loss.detach()


def rows_of(inputs: Any, rows: slice | torch.Tensor) -> Any:
    """Some rows of a nested batch."""
    if isinstance(inputs, Mapping):
        return {name: rows_of(value, rows) for name, value in inputs.items()}
    return inputs[rows] if isinstance(inputs, torch.Tensor) else inputs


def random_state(device: torch.device) -> list[torch.Tensor]:
    """The states of the generators that dropout draws from."""
    states = [torch.get_rng_state()]
    return states if device.type == "cpu" else [*states, torch.get_device_module(device).get_rng_state(*_of(device))]


def set_random_state(states: list[torch.Tensor], device: torch.device) -> None:
    """Go back to a state of `random_state`."""
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1], *_of(device))


def _of(device: torch.device) -> tuple[torch.device, ...]:
    """How a generator is asked for; MPS has one alone."""
    return () if device.type == "mps" else (device,)
