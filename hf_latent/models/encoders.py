"""Encoders: whatever a modality is made of, they turn it into tokens.

An encoder is chosen by name in a config, `{"encoder": "cnn", "channels": [32, 64]}`; every other key is an argument of
its constructor. It never mixes the rows of a batch, except through a BatchNorm that it was asked to have.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    SiglipTextModel,
)
from transformers.utils import ModelOutput

from .image_positions import at_image_size
from .registry import Registry, nearest
from .text_towers import checked_length, last_token, length_limit, text_family, unread_inputs

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
TEXT_ENCODERS = ("mt5", "t5", "umt5")  # of which `AutoModel` would want a text to decode, too
CLASS_TOKENS = ("class_embedding", "cls_token")  # what the image models of transformers call theirs
ENCODERS: Registry[type["Encoder"]] = Registry("encoder", "models.encoders.ENCODERS")


@dataclass
class EncoderOutput(ModelOutput):
    """Tokens of one modality.

    Attributes:
        tokens: `(batch, length, hidden_size)`.
        attention_mask: `(batch, length)` bool, True where a token is real; None where all are.
        grid: `(height, width)` of the tokens of an image, row by row; None for other modalities.
        pooled: `(batch, hidden_size)`, where the encoder makes one vector of its own; see `pool`.
    """

    tokens: Tensor | None = None
    attention_mask: Tensor | None = None
    grid: tuple[int, int] | None = None
    pooled: Tensor | None = None

    def pool(self) -> Tensor:
        """One vector a row: the encoder's own, or the mean of the real tokens, `(batch, hidden_size)`."""
        if self.pooled is not None:
            return self.pooled
        tokens = cast(Tensor, self.tokens)
        if self.attention_mask is None:
            return tokens.mean(dim=1)
        weights = self.attention_mask.to(tokens.dtype).unsqueeze(-1)
        return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class Encoder(nn.Module):
    """Base of the encoders: `forward(**inputs) -> EncoderOutput`.

    Attributes:
        kind: What it reads: `image`, `text`, `series`, `table` or `features`.
        hidden_size: Width of its tokens.
        max_length: The most tokens of a text that it reads; None where it has no limit.
        padding: What texts are padded to: `"longest"` of a batch or `"max_length"`.
    """

    kind: str
    hidden_size: int
    max_length: int | None = None
    padding: str = "longest"

    @property
    def dtype(self) -> torch.dtype:
        return float_dtype(self)

    def drop_pooler(self) -> None:
        """Do without the weights that only `pooled` needs, where only the tokens are read."""

    def load_pretrained(self) -> None:
        """Take the weights that the spec names, if it names any."""


def float_dtype(module: nn.Module) -> torch.dtype:
    """That of the floating-point parameters; quantized weights are integers."""
    return next((part.dtype for part in module.parameters() if part.is_floating_point()), torch.get_default_dtype())


def tokens_of_map(feature_map: Tensor) -> EncoderOutput:
    """`(batch, channels, height, width)` -> one token a position."""
    height, width = feature_map.shape[-2:]
    return EncoderOutput(tokens=feature_map.flatten(2).transpose(1, 2), grid=(height, width))


class ImageEncoder(Encoder):
    """Reads `pixel_values`, float `(batch, 3, height, width)`, normalised; `layers` end in a feature map."""

    kind = "image"
    layers: nn.Sequential

    def forward(self, pixel_values: Tensor) -> EncoderOutput:
        # Convolutions are faster on channels-last memory, on CPU as on GPU.
        pixel_values = pixel_values.to(self.dtype, memory_format=torch.channels_last)
        return tokens_of_map(self.layers(pixel_values))


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
    """A multi-layer perceptron over a row of numbers; `values` is float `(batch, input_dim)`.

    Each of its outputs becomes one token by a learned direction and offset (the feature tokenizer of Gorishniy et
    al. 2021), `token_dim` wide.

    Args:
        input_dim: Numbers of a row.
        hidden_dims: Widths of the layers; the last says how many tokens there are.
        token_dim: Width of the tokens.
    """

    kind = "table"

    def __init__(self, input_dim: int, hidden_dims: Sequence[int] = (64, 64), token_dim: int = 64) -> None:
        super().__init__()
        widths = [input_dim, *hidden_dims]
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.tokenizer = FeatureTokenizer(widths[-1], token_dim)
        self.hidden_size = token_dim

    def forward(self, values: Tensor) -> EncoderOutput:
        return EncoderOutput(tokens=self.tokenizer(self.layers(values.to(self.dtype))))


class FeatureTokenizer(nn.Module):
    """`(batch, n)` -> `(batch, n, dim)`: number i times its own direction, plus its own offset."""

    def __init__(self, num_features: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_features, dim))
        self.bias = nn.Parameter(torch.randn(num_features, dim))

    def forward(self, values: Tensor) -> Tensor:
        return values.unsqueeze(-1) * self.weight + self.bias


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


@ENCODERS.register("auto")
class AutoEncoder(Encoder):
    """Any `AutoModel` or `AutoBackbone` of transformers, by its config.

    Where the model can, it interpolates its position embeddings for pictures of another size than its config names, in
    every call; [`resize_images`] does so once, and the config then names the new size.

    Args:
        config: The model's config as a dict with its `model_type`, as `AutoConfig.from_pretrained(...).to_dict()`.
        backbone: Take `AutoBackbone`, whose last feature map becomes the tokens.
        pooling: How one vector comes of the tokens: `"pooler"`, the model's own; `"cls"`, the first token,
            which in an image model must be a class token; `"mean"`, of the real tokens; `"last"`, the last real token
            of a text. None (default): its own where it has one, else the mean, also of decoder-only models (GPT-2,
            Qwen), of which embedding models take the mean or the last token; their first token sees no other.
        pretrained: The checkpoint that a new training run starts from. Building loads no weights, `load_pretrained`
            does.
        max_length: The most tokens of a text that are read, special tokens included; the processor cuts what is
            longer, in training and everywhere else. By default as many as the model has positions for.
    """

    POOLING = ("pooler", "cls", "mean", "last")

    def __init__(
        self,
        config: Mapping[str, Any],
        backbone: bool = False,
        pooling: str | None = None,
        pretrained: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        options = dict(config)
        if "model_type" not in options:
            raise ValueError("encoder 'auto': config needs a model_type, such as 'vit' or 'bert'")
        if pooling not in (None, *self.POOLING):
            raise ValueError(f"pooling={pooling!r}: {nearest(str(pooling), self.POOLING)}")
        for key in ("dtype", "torch_dtype"):
            options.pop(key, None)  # of the checkpoint; this tower has the dtype of the model that it is in
        _refuse_other_models(options)
        model_config = AutoConfig.for_model(options.pop("model_type"), **options)
        self.model = self._from_config(model_config, backbone)
        self.pooling, self.backbone, self.pretrained = pooling, backbone, pretrained
        if backbone and pooling == "pooler":
            raise ValueError("a backbone has no pooler: write pooling: mean")
        if pooling not in (None, "pooler"):
            self.drop_pooler()
        self.kind = "image" if self.model.main_input_name == "pixel_values" else "text"
        if pooling == "last" and self.kind == "image":
            raise ValueError("pooling='last' is of text: write pooling: mean")
        if max_length is not None and self.kind == "image":
            raise ValueError("max_length is of text: leave it out")
        self._unread: frozenset[str] = frozenset()
        if self.kind == "text":
            self.max_length, self.padding = length_limit(self.model), text_family(model_config.model_type).padding
            self._unread = unread_inputs(self.model)
        if max_length is not None:
            self.max_length = checked_length(max_length, self.max_length)
        if pooling == "cls" and self.kind == "image" and (backbone or not self._has_class_token()):
            what = f"{model_config.model_type!r} {'backbone' if backbone else 'model'}"
            raise ValueError(f"pooling='cls': the tokens of a {what} hold no class token; write pooling: mean")
        # A ViT and its like learn a position for each patch of one size of pictures.
        size = getattr(model_config, "image_size", None)
        moves = "interpolate_pos_encoding" in inspect.signature(self.model.forward).parameters
        self._fixed_size = (size, size) if isinstance(size, int) else tuple(size or ())
        self._interpolates = moves and size is not None
        widths = getattr(model_config, "hidden_sizes", None)
        width = (
            self.model.channels[-1] if backbone else widths[-1] if widths else getattr(model_config, "hidden_size", 0)
        )
        if not width:
            raise ValueError(
                f"encoder 'auto' does not know the width of a {model_config.model_type!r} model: give one whose "
                "config has a hidden_size, such as resnet, vit or bert; of CLIP and SigLIP start with clip: CHECKPOINT"
            )
        self.hidden_size = width

    @staticmethod
    def _from_config(config: Any, backbone: bool) -> Any:
        if backbone:
            return AutoBackbone.from_config(config, trust_remote_code=False)
        if config.model_type == "siglip_text_model":  # the one tower that AutoModel does not know
            return SiglipTextModel._from_config(config)
        if config.model_type in TEXT_ENCODERS:
            return AutoModelForTextEncoding.from_config(config, trust_remote_code=False)
        return AutoModel.from_config(config, trust_remote_code=False)

    def resize_images(self, size: int) -> bool:
        """From now on expect square pictures of `size` pixels: position embeddings are interpolated once, and stored.

        Returns:
            Whether the model was changed; otherwise it has this size already, or no such positions.
        """
        square = self.kind == "image" and len(set(self._fixed_size)) == 1
        if not square or self._fixed_size == (size, size):
            return False
        resized = at_image_size(self.model, size, partial(self._from_config, backbone=self.backbone))
        if resized is not None:
            self.model, self._fixed_size = resized, (size, size)
        return resized is not None

    def _has_class_token(self) -> bool:
        return any(name.split(".")[-1] in CLASS_TOKENS for name, _ in self.model.named_parameters())

    def drop_pooler(self) -> None:
        # Where nothing reads it, DistributedDataParallel would wait for its gradient.
        pooler = getattr(self.model, "pooler", None)
        if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
            self.model.pooler = None

    def load_pretrained(self) -> None:
        if self.pretrained is None:
            return
        source: Any = type(self.model)
        loaded, report = source.from_pretrained(self.pretrained, dtype=self.dtype, output_loading_info=True)
        missing = sorted(str(key) for key in report["missing_keys"])
        if self.pooling not in (None, "pooler"):
            missing = [key for key in missing if "pooler" not in key]
        if missing and all("pooler" in key for key in missing) and self.pooling is None:
            self.pooling = "mean"  # a pooler that was never trained would only be noise
            self.drop_pooler()
        elif missing:
            raise ValueError(f"{self.pretrained} has no weights for {missing[0]} and {len(missing) - 1} more")
        self.model.load_state_dict(loaded.state_dict(), strict=False)

    def forward(self, **inputs: Tensor) -> EncoderOutput:
        moved = self._interpolates and tuple(inputs["pixel_values"].shape[-2:]) != self._fixed_size
        inputs = {name: value for name, value in inputs.items() if name not in self._unread}
        output = self.model(**inputs, **({"interpolate_pos_encoding": True} if moved else {}))
        hidden = output.feature_maps[-1] if "feature_maps" in output else output.last_hidden_state
        pooled = output.get("pooler_output")
        if self.pooling == "pooler" and pooled is None:
            raise ValueError(f"{type(self.model).__name__} has no pooler: write pooling: mean, cls or last")
        if hidden.ndim == 4:
            pooled = pooled.flatten(1) if pooled is not None and self.pooling != "mean" else None
            tokens = tokens_of_map(hidden)
            tokens.pooled = pooled
            return tokens
        mask = inputs.get("attention_mask")
        if self.pooling == "last":
            pooled = last_token(hidden, mask)
        elif self.pooling in ("cls", "mean"):
            pooled = hidden[:, 0] if self.pooling == "cls" else None
        return EncoderOutput(tokens=hidden, attention_mask=None if mask is None else mask.bool(), pooled=pooled)


def _refuse_other_models(config: Any) -> None:
    """A ValueError where nested settings name a backbone: transformers would ask the Hub for it."""
    if isinstance(config, Mapping):
        if isinstance(config.get("backbone"), str) and config.get("model_type") != "timm_backbone":
            raise ValueError(f"config: backbone={config['backbone']!r} names another model: write its backbone_config")
        for value in config.values():
            _refuse_other_models(value)


def build_encoder(spec: Mapping[str, Any]) -> Encoder:
    """Build the encoder of one modality from its part of the config.

    Args:
        spec: `{"encoder": name, **arguments}`.

    Raises:
        ValueError: If the name or an argument is unknown, or an argument is missing.
    """
    options = dict(spec)
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


def kind_of(spec: Mapping[str, Any]) -> str:
    """What the encoder of a part of a config reads, without building it; "" where it is not known here."""
    cls = ENCODERS.get(str(spec.get("encoder")))
    kind = getattr(cls, "kind", "")
    if kind or cls is not AutoEncoder:
        return kind
    name = (spec.get("config") or {}).get("model_type")
    if not isinstance(name, str) or name not in CONFIG_MAPPING:
        return ""
    return "text" if hasattr(CONFIG_MAPPING[name](), "vocab_size") else "image"


def couples_rows(module: nn.Module) -> bool:
    """Whether a BatchNorm in training mode makes the output of one row depend on the others."""
    return any(isinstance(child, BATCH_NORMS) and child.training for child in module.modules())
