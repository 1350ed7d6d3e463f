"""Encoders: whatever a modality is made of, they turn it into tokens.

An encoder is chosen by name in a config, `{"encoder": "cnn", "channels": [32, 64]}`; every other key is an argument of
its constructor. It never mixes the rows of a batch, except through a BatchNorm that it was asked to have.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from .encoder_audio import AudioCNNEncoder
from .encoder_auto import AutoEncoder
from .encoder_base import ENCODERS, Encoder, EncoderOutput, FeatureTokenizer, ImageEncoder, float_dtype
from .encoder_resnet import SmallResNetEncoder
from .encoder_series import ConvSeriesEncoder, GRUEncoder
from .encoder_video import FramesEncoder
from .registry import nearest
from .tables import KNOWN, categories_of, check_cells, numbers_of

__all__ = [
    "ENCODERS",
    "AudioCNNEncoder",
    "AutoEncoder",
    "ConvSeriesEncoder",
    "Encoder",
    "EncoderOutput",
    "FeatureTokenizer",
    "GRUEncoder",
    "SmallResNetEncoder",
    "build_encoder",
    "float_dtype",
]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@ENCODERS.register("alexnet")
class AlexNetEncoder(ImageEncoder):
    """The convolutional features of AlexNet (Krizhevsky et al. 2012, one-tower variant of 2014).

    At 224 px it gives 6 x 6 tokens of 256 channels. CoMM's Trifeature experiments train it from scratch.
    """

    hidden_size = 256

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )


@ENCODERS.register("cnn")
class CNNEncoder(ImageEncoder):
    """A compact convolutional network for images of 32 to 128 px, trained from scratch on a CPU.

    Args:
        channels: Output channels of the stages. The first convolution strides by 2 and each later stage halves the
            map again: 64 px through four stages gives 4 x 4 tokens.
        norm: `"group"` (default) keeps rows independent. `"batch"` couples the rows of a batch during training.
        kernel_size: Of the first convolution; the others are 3 x 3.
    """

    def __init__(
        self, channels: Sequence[int] = (32, 64, 128, 256), norm: str = "group", kernel_size: int = 5
    ) -> None:
        super().__init__()
        if norm not in ("group", "batch"):
            raise ValueError(f"norm={norm!r}: write 'group' or 'batch'")
        if not channels or any(width < 8 or width % 8 for width in channels):
            raise ValueError(f"channels={list(channels)}: give at least one stage, each a multiple of 8")

        def stage(before: int, after: int, kernel: int) -> list[nn.Module]:
            normalise = nn.GroupNorm(8, after) if norm == "group" else nn.BatchNorm2d(after)
            return [
                nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False), normalise, nn.ReLU()
            ]  # fmt: skip

        widths = [3, *channels]
        kernels = [kernel_size] + [3] * (len(channels) - 1)
        self.layers = nn.Sequential(
            *(layer for sizes in zip(widths, channels, kernels, strict=False) for layer in stage(*sizes))
        )
        self.hidden_size = channels[-1]


@ENCODERS.register("sequence")
class SequenceEncoder(Encoder):
    """A pre-norm Transformer over a multivariate series, as CoMM uses on MultiBench.

    Reads `values`, float `(batch, length, input_dim)`, and `attention_mask`, `(batch, length)`, 1 at real steps.

    Args:
        input_dim: Numbers of a step.
        hidden_size: Width of the tokens; a multiple of `num_heads`.
        num_layers: Layers of the Transformer.
        num_heads: Its attention heads.
        feedforward_dim: Width of the hidden layer behind each attention.
        dropout: The share of activations that training drops.
    """

    kind = "series"

    def __init__(
        self,
        input_dim: int,
        hidden_size: int = 40,
        num_layers: int = 5,
        num_heads: int = 5,
        feedforward_dim: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.embed = nn.Linear(input_dim, hidden_size, bias=False)
        layer = nn.TransformerEncoderLayer(
            hidden_size, num_heads, feedforward_dim, dropout, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, values: Tensor, attention_mask: Tensor | None = None) -> EncoderOutput:
        mask = None if attention_mask is None else attention_mask.bool()
        hidden = self.embed(values.to(self.dtype))
        hidden = self.layers(hidden, src_key_padding_mask=None if mask is None else ~mask)
        return EncoderOutput(tokens=hidden, attention_mask=mask)


@ENCODERS.register("table")
class TableEncoder(Encoder):
    """A multi-layer perceptron over a row of numbers and categories; `values` is float `(batch, input_dim)`.

    Each of its outputs becomes one token by a learned direction and offset (the feature tokenizer of Gorishniy et
    al. 2021), `token_dim` wide; without `token_dim` they are one token together. With `cells`, a category
    (`categories`) and a missing number (`missing`) add a learned embedding to the first layer: so do a missing
    category, and one that is not among the values.

    Args:
        input_dim: Numbers of a row, all of them there. Left out of a recipe, `cells` are found from the training rows.
        hidden_dims: Widths of the layers; the last says how many tokens there are, or how wide the one is.
        token_dim: Width of the tokens; None for one token, as wide as the last layer.
        cells: In place of `input_dim`, what the columns are: what `tables.find_cells` makes of training rows.
        categories: Names of columns of whole numbers that `cells` should take for categories.
    """

    kind = "table"

    def __init__(
        self,
        input_dim: int | None = None,
        hidden_dims: Sequence[int] = (64, 64),
        token_dim: int | None = 64,
        cells: Sequence[Mapping[str, Any]] | None = None,
        categories: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if (input_dim is None) == (cells is None):
            raise ValueError("encoder 'table' needs input_dim, or cells, which a recipe finds from the training rows")
        if cells is not None:
            check_cells(cells)
            input_dim = len(numbers_of(cells)) or 1  # a layer of no numbers cannot be initialised: it reads a zero
        self.cells = cells
        widths = [cast(int, input_dim), *hidden_dims]
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.tokenizer = None if token_dim is None else FeatureTokenizer(widths[-1], token_dim)
        self.hidden_size = token_dim or widths[-1]
        if cells is not None:
            self.missing = nn.Linear(widths[0], widths[1], bias=False)  # a column of its weight for each number
            sizes = [KNOWN + len(cell["values"]) for cell in categories_of(cells)]
            self.categories = nn.ModuleList(nn.Embedding(size, widths[1]) for size in sizes)

    @property
    def processor_options(self) -> dict[str, Any]:
        return {} if self.cells is None else {"cells": [dict(cell) for cell in self.cells]}

    def forward(
        self, values: Tensor, missing: Tensor | None = None, categories: Tensor | None = None
    ) -> EncoderOutput:
        if self.cells is None:
            return EncoderOutput(tokens=self._tokens(self.layers(values.to(self.dtype))))
        if missing is None or categories is None:
            raise ValueError("a table with cells needs values, missing and categories, as the processor gives them")
        if not values.shape[1]:
            values, missing = values.new_zeros(len(values), 1), missing.new_zeros(len(values), 1)
        hidden = self.layers[0](values.to(self.dtype).masked_fill(missing, 0)) + self.missing(missing.to(self.dtype))
        for place, table in enumerate(self.categories):
            hidden = hidden + table(categories[:, place])
        return EncoderOutput(tokens=self._tokens(self.layers[1:](hidden)))

    def _tokens(self, outputs: Tensor) -> Tensor:
        return outputs.unsqueeze(1) if self.tokenizer is None else self.tokenizer(outputs)


@ENCODERS.register("features")
class FeaturesEncoder(Encoder):
    """Features that were computed beforehand: `values`, `(batch, input_dim)` or `(batch, length, input_dim)`.

    Args:
        input_dim: Numbers of a feature, which are the width of the tokens.
    """

    kind = "features"

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.hidden_size = input_dim

    def forward(self, values: Tensor, attention_mask: Tensor | None = None) -> EncoderOutput:
        if values.shape[-1] != self.hidden_size:
            raise ValueError(f"values have {values.shape[-1]} features a row, but input_dim is {self.hidden_size}")
        tokens = values.unsqueeze(1) if values.ndim == 2 else values
        mask = None if attention_mask is None or values.ndim == 2 else attention_mask.bool()
        return EncoderOutput(tokens=tokens, attention_mask=mask)


def build_encoder(spec: Mapping[str, Any]) -> Encoder:
    """Build the encoder of one modality from its part of the config.

    Args:
        spec: `{"encoder": name, **arguments}`. With `frames`, an encoder of images reads clips of as many frames, see
            [`FramesEncoder`].

    Raises:
        ValueError: If the name or an argument is unknown, or an argument is missing.
    """
    options = dict(spec)
    if "frames" in options:
        frames = options.pop("frames")
        return FramesEncoder(build_encoder(options), frames)
    name = options.pop("encoder", None)
    cls = ENCODERS.find(name)
    parameters = inspect.signature(cls).parameters
    for option in options:
        if option not in parameters:
            raise ValueError(f"encoder {name!r} has no argument {option!r}: {nearest(option, list(parameters))}")
    missing = [key for key, value in parameters.items() if value.default is value.empty and key not in options]
    if missing:
        raise ValueError(f"encoder {name!r} needs {', '.join(missing)}")
    return cls(**options)


def kind_of_spec(spec: Mapping[str, Any]) -> str:
    """What the encoder of a part of a config reads, without building it; "" where it is not known here."""
    if "frames" in spec:
        return "video"
    try:
        return ENCODERS.find(spec.get("encoder")).kind_of(spec)
    except (AttributeError, KeyError, TypeError, ValueError):  # building the encoder says what is wrong
        return ""


def couples_rows(module: nn.Module) -> bool:
    """Whether a BatchNorm in training mode makes the output of one row depend on the others."""
    return any(isinstance(child, BATCH_NORMS) and child.training for child in module.modules())
