"""Models of transformers as encoders."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    ClapAudioModel,
    SiglipTextModel,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .audio_towers import UNUSED, audio_options, frame_mask, load_tower, reads_mask
from .encoder_base import ENCODERS, Encoder, EncoderOutput, tokens_of_map
from .image_positions import at_image_size
from .registry import nearest
from .text_towers import checked_length, last_token, length_limit, text_family, unread_inputs

TEXT_ENCODERS = ("mt5", "t5", "umt5")  # of which `AutoModel` would want a text to decode, too
SOUND = ("input_features", "input_values")  # what the audio models of transformers call their inputs
# Towers that AutoModel does not know, or of which it takes more.
OTHERS: dict[str, Any] = {
    **{"clap_audio_model": ClapAudioModel, "siglip_text_model": SiglipTextModel, "whisper": WhisperEncoder}
}
CLASS_TOKENS = ("class_embedding", "cls_token")  # what the image models of transformers call theirs


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
        max_seconds: Of sound, how much is read, from its beginning: 10 by default, or as much as the features of its
            family hold, such as 30 of Whisper, of which the encoder alone is taken.
        feature_extractor: Of sound, the settings of the feature extractor of transformers that makes of it what the
            model reads; by default those of its type. Those of `pretrained` are filled in with `config`.
    """

    POOLING = ("pooler", "cls", "mean", "last")

    def __init__(
        self,
        config: Mapping[str, Any],
        backbone: bool = False,
        pooling: str | None = None,
        pretrained: str | None = None,
        max_length: int | None = None,
        max_seconds: float | None = None,
        feature_extractor: Mapping[str, Any] | None = None,
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
        if getattr(_class_of(model_config, backbone), "main_input_name", None) in SOUND:
            for key, value in UNUSED.items():
                if hasattr(model_config, key):
                    setattr(model_config, key, value)
        self.model = self._from_config(model_config, backbone)
        self.pooling, self.backbone, self.pretrained = pooling, backbone, pretrained
        if backbone and pooling == "pooler":
            raise ValueError("a backbone has no pooler: write pooling: mean")
        if pooling not in (None, "pooler"):
            self.drop_pooler()
        self.kind = kind_of_model(type(self.model))
        if pooling == "last" and self.kind != "text":
            raise ValueError("pooling='last' is of text: write pooling: mean")
        if max_length is not None and self.kind != "text":
            raise ValueError("max_length is of text: leave it out")
        self._unread: frozenset[str] = frozenset()
        if self.kind == "text":
            self.max_length, self.padding = length_limit(self.model), text_family(model_config.model_type).padding
            self._unread = unread_inputs(self.model)
        self._sound: dict[str, Any] = {}
        if self.kind == "audio":
            self._sound = audio_options(model_config, feature_extractor, max_seconds)
            if (
                not reads_mask(model_config)
                or "attention_mask" not in inspect.signature(self.model.forward).parameters
            ):
                self._unread = frozenset({"attention_mask"})
        elif max_seconds is not None or feature_extractor is not None:
            raise ValueError("max_seconds and feature_extractor are of sound: leave them out")
        if max_length is not None:
            self.max_length = checked_length(max_length, self.max_length)
        if pooling == "cls" and self.kind != "text" and (backbone or not self._has_class_token()):
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
        width = getattr(getattr(self.model, "audio_encoder", None), "num_features", width)  # CLAP's, whatever it says
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
        if config.model_type in OTHERS:
            return OTHERS[config.model_type]._from_config(config)
        if config.model_type in TEXT_ENCODERS:
            return AutoModelForTextEncoding.from_config(config, trust_remote_code=False)
        return AutoModel.from_config(config, trust_remote_code=False)

    @classmethod
    def kind_of(cls, spec: Mapping[str, Any]) -> str:
        config = CONFIG_MAPPING[(spec.get("config") or {})["model_type"]]()
        return kind_of_model(_class_of(config, bool(spec.get("backbone"))))

    @property
    def processor_options(self) -> dict[str, Any]:
        return {"frames": self.model.config.num_frames} if self.kind == "video" else dict(self._sound)

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
        loaded, report = load_tower(self.model, self.pretrained, self.dtype)
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
        given = inputs.get("attention_mask")
        inputs = {name: value for name, value in inputs.items() if name not in self._unread}
        if self._sound:
            inputs = {name: v.to(self.dtype) if v.is_floating_point() else v for name, v in inputs.items()}
        output = self.model(**{**inputs, **self._arguments(inputs)})
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
        if self.kind == "audio":
            mask = frame_mask(self.model, given, hidden.shape[1])
        if self.pooling == "last":
            pooled = last_token(hidden, mask)
        elif self.pooling in ("cls", "mean"):
            pooled = hidden[:, 0] if self.pooling == "cls" else None
        return EncoderOutput(tokens=hidden, attention_mask=None if mask is None else mask.bool(), pooled=pooled)

    def _arguments(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        """What the model is given beside its inputs, or in place of them."""
        if self._interpolates and tuple(inputs["pixel_values"].shape[-2:]) != self._fixed_size:
            return {"interpolate_pos_encoding": True}
        if self._sound.get("bins_first"):
            return {"input_features": inputs["input_features"].transpose(-1, -2)}
        if self._sound and getattr(self.model.config, "enable_fusion", False):  # CLAP's; sound is cut to one window
            return {"is_longer": inputs["input_features"].new_zeros(len(inputs["input_features"]), 1)}
        return {}


def _class_of(config: Any, backbone: bool) -> Any:
    """The class of the model of a config; None where transformers has none."""
    known = AutoBackbone if backbone else AutoModelForTextEncoding if config.model_type in TEXT_ENCODERS else AutoModel
    return OTHERS.get(config.model_type) or known._model_mapping.get(type(config), None)


def kind_of_model(cls: Any) -> str:
    """What a model of transformers reads.

    Raises:
        ValueError: If it is nothing that a processor makes.
    """
    modalities = cls.input_modalities
    if cls.main_input_name == "pixel_values":
        return "video" if "video" in ([modalities] if isinstance(modalities, str) else modalities) else "image"
    if cls.main_input_name in SOUND:
        return "audio"
    if cls.main_input_name != "input_ids":
        raise ValueError(
            f"encoder 'auto' reads images, clips, sound or text, and {cls.__name__} {cls.main_input_name!r}"
        )
    return "text"


def _refuse_other_models(config: Any) -> None:
    """A ValueError where nested settings name a backbone: transformers would ask the Hub for it."""
    if isinstance(config, Mapping):
        if isinstance(config.get("backbone"), str) and config.get("model_type") != "timm_backbone":
            raise ValueError(f"config: backbone={config['backbone']!r} names another model: write its backbone_config")
        for value in config.values():
            _refuse_other_models(value)
