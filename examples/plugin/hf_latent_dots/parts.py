"""An encoder, a view, a regularizer and a benchmark."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hf_latent.evaluation import Benchmark, Group, Measurement, register_benchmark
from hf_latent.metrics.chance import top_k_chance
from hf_latent.models.encoders import ENCODERS, ImageEncoder
from hf_latent.regularizers import Regularizer, register_regularizer
from hf_latent.views import VIEWS, ImageView


@ENCODERS.register("patches")
class PatchEncoder(ImageEncoder):
    """One token for each square patch of an image.

    Args:
        patch: Side of a patch, pixels.
        width: Of a token.
    """

    def __init__(self, patch: int = 8, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, patch, stride=patch), nn.GELU(), nn.Conv2d(width, width, 1))
        self.hidden_size = width


@VIEWS.register("gray_image")
@dataclass(frozen=True)
class GrayImageView(ImageView):
    """As the view of images, and with less color."""

    grayscale: float = 0.5


@register_regularizer("variance")
@dataclass(frozen=True)
class Variance(Regularizer):
    r"""Keeps the standard deviation of each dimension of a modality above a floor.

    Args:
        floor: Standard deviation, in units of \( 1 / \sqrt d \); vectors on a sphere have 1 at most.

    Source: Bardes et al., "VICReg", ICLR 2022, equation 1.
    """

    floor: float = 0.9

    @property
    def formula(self) -> str:
        return rf"\frac{{1}}{{d}} \sum_k \max(0, {self.floor:g} - \sqrt d \, \mathrm{{std}}(z_k))"

    def value(self, z, scale):
        spread = [rows.std(dim=0) * rows.shape[1] ** 0.5 for rows in z.embeds.values()]
        return torch.stack([(self.floor - each).clamp(min=0).mean() for each in spread]).mean()


@register_benchmark("neighbours")
@dataclass(frozen=True)
class Neighbours(Benchmark):
    """How often the nearest other row has the same class.

    Args:
        label: Of the data.
        modality: Whose vectors are compared.
    """

    groups = {"neighbours": Group("Nearest neighbours", "The class of the nearest other held-out row.", order=45)}
    label: str = "count"
    modality: str = "image"

    def describe(self, encode, data):
        values = data.test.labels[self.label]
        title = f"Nearest {self.modality} has the same {self.label}"
        return [
            Measurement("neighbours_same", np.nan, title, "neighbours", "%", top_k_chance(values), rows=len(values))
        ]

    def measure(self, encode, data):
        rows = torch.nn.functional.normalize(encode(data.test.rows).embeds[self.modality].double(), dim=-1)
        nearest = (rows @ rows.T).fill_diagonal_(-2).argmax(1).numpy()
        values = data.test.labels[self.label]
        return {"neighbours_same": 100 * float((values[nearest] == values).mean())}
