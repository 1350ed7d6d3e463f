"""Small batches of every kind of modality, and what compares them."""

import torch
from hypothesis import settings
from torch import Tensor

from hf_latent.views import ImageView, NoView, SeriesView, TableView, TextView, View, Views

SIZE = 16
few = settings(max_examples=12, deadline=None)


def pixels(rows: int = 6, height: int = 20, width: int = 24, seed: int = 0) -> Tensor:
    return torch.randint(
        0, 256, (rows, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def batch(rows: int = 40) -> dict[str, dict[str, Tensor]]:
    make = torch.Generator().manual_seed(1)
    lengths = torch.randint(3, 10, (rows, 1), generator=make)
    mask = (torch.arange(9) < lengths).long()
    return {
        "image": {"pixel_values": pixels(rows)},
        "text": {"input_ids": torch.randint(5, 90, (rows, 9), generator=make) * mask, "attention_mask": mask},
        "series": {"values": torch.randn(rows, 9, 4, generator=make) * mask[..., None], "attention_mask": mask},
        "table": {"values": torch.randn(rows, 5, generator=make)},
        "features": {"values": torch.randn(rows, 7, generator=make)},
    }


def views(seed: int = 0) -> Views:
    return Views(
        {
            "image": ImageView(size=SIZE),
            "text": TextView(mask_token_id=3, mask_probability=0.5),
            "series": SeriesView(),
            "table": TableView(),
            "features": NoView(),
        },
        seed=seed,
    )


def take(modalities: dict[str, dict[str, Tensor]], rows: slice) -> dict[str, dict[str, Tensor]]:
    return {name: {key: tensor[rows] for key, tensor in inputs.items()} for name, inputs in modalities.items()}


def same(left: dict[str, dict[str, Tensor]], right: dict[str, dict[str, Tensor]]) -> list[bool]:
    return [torch.equal(left[name][key], right[name][key]) for name in left for key in left[name]]


def draw(view: View, rows: int, inputs: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    return view.draw(rows, inputs, torch.Generator().manual_seed(seed))
