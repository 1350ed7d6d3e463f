"""Configuration of LatentCLIP."""

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig

from .calibration import check_calibration
from .configuration_base import LatentConfig
from .registry import nearest

MODALITIES = ("image", "text")
PROJECTIONS = ("linear", "mlp", "none")
MIN_TEMPERATURE = 0.01


class LatentCLIPConfig(LatentConfig):
    """Configuration of a [`LatentCLIPModel`]: a tower for each modality, and the structure of their shared space.

    Args:
        modalities: `{"image": {...}, "text": {...}}`, or any two modalities or more, the towers, as in
            [`LatentConfig`]. `"pooling"` says how the tokens of an `auto` encoder become one vector: `"pooler"` (the
            model's own, the default where it has one), `"mean"` (the default elsewhere), `"cls"` or `"last"`.
        clip: A CLIP or SigLIP checkpoint to start from, with [`from_checkpoints`]: its towers and projections take the
            place of those of `image` and `text`, and of `projection` and `projection_dim`; `modalities` may have more.
            A training run that begins takes its weights and its temperature, too.
        projection_dim: Width of the shared space.
        projection: From a tower into the space: `"linear"`, `"mlp"` (one hidden layer, as wide as the tower) or
            `"none"`, for towers that end in it.
        projection_bias: Whether a linear projection has a bias; CLIP's has none.
        temperature: Of the contrastive logits; where training starts, if it is learned (0.07, as CLIP).
        learn_temperature: Whether the temperature is learned.
        min_temperature: A learned temperature stays between this and 1 (CLIP: 0.01).
        in_modal: Contrast the two views of each modality as well, with half of the loss for the mean over the
            modalities; of two, a quarter for each of the four directions (Jiang et al., CVPR 2023, L_Con). Needs a
            second view.
        anchor: Contrast only the pairs of modalities that have this one, such as `"image"`, and bind the others by it
            (Girdhar et al., ImageBind, CVPR 2023). By default all pairs are contrasted. Of `"gram"`, `"triangle"` and
            `"symile"` the modality whose rows are contrasted with those of all others together.
        objective: `"clip"`, or another of `hf-latent list objectives`: of pairs of modalities `"sigmoid"`, of all of
            them together `"gram"`, `"pmrl"`, `"symile"` and, of three, `"triangle"`.
        regularizers, extra_heads: As in [`LatentConfig`].
        calibration: How the embeddings of a finished model are calibrated, `{"method", "data", "rows"}`; set by
            [`LatentCLIPModel.calibrate`], never by hand.

    Raises:
        ValueError: If a value does not fit, or a keyword is a misspelling of one of these.

    Example:

    ```python
    from hf_latent import LatentCLIPConfig

    text = {"model_type": "bert", "vocab_size": 1000, "hidden_size": 64, "num_attention_heads": 2}
    config = LatentCLIPConfig(
        modalities={"image": {"encoder": "cnn"}, "text": {"encoder": "auto", "config": text}},
        projection_dim=64,
        regularizers={"geometric_consistency": {"weight": 0.1}},
    )
    ```
    """

    model_type = "latent_clip"

    clip: str | None = None
    projection_dim: int = 512
    projection: str = "linear"
    projection_bias: bool = False
    temperature: float = 0.07
    learn_temperature: bool = True
    min_temperature: float = MIN_TEMPERATURE
    in_modal: bool = False
    anchor: str | None = None
    objective: str = "clip"
    calibration: dict[str, Any] | None = None

    filled_in = LatentConfig.filled_in | {"calibration"}

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.clip is not None and not all(self.modalities.get(name, {}).get("config") for name in MODALITIES):
            self._refuse_unresolved(f"clip={self.clip!r}")
        if len(self.modalities) == 1:
            raise ValueError(f"modalities {', '.join(self.modalities)}: LatentCLIP compares two or more")
        if set(self.modalities) == set(MODALITIES):
            self.modalities = {name: self.modalities[name] for name in MODALITIES}
        if self.anchor is not None and self.modalities and self.anchor not in self.modalities:
            raise ValueError(f"anchor={self.anchor!r}: {nearest(self.anchor, list(self.modalities))}")
        if self.calibration is not None:
            check_calibration(self.calibration)
        self._check_objective("clip")
        self._check_choices(projection=PROJECTIONS)
        self._check_counts("projection_dim")
        self._check_temperature(self.temperature)
        self._check_temperature(self.min_temperature)
        if self.learn_temperature and not self.min_temperature <= self.temperature <= 1:
            raise ValueError(
                f"temperature={self.temperature}: one that is learned stays between min_temperature="
                f"{self.min_temperature} and 1; write a lower min_temperature, or learn_temperature: false"
            )

    @classmethod
    def resolve_checkpoints(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        checkpoint, own = options.get("clip"), options.get("modalities") or {}
        if checkpoint is None or all((own.get(name) or {}).get("config") for name in MODALITIES):
            return super().resolve_checkpoints(options)
        source = AutoConfig.from_pretrained(checkpoint)
        if source.model_type not in ("clip", "siglip"):
            raise ValueError(f"{checkpoint} is a {source.model_type!r} model: give a CLIP or SigLIP checkpoint")
        parts = dict(zip(MODALITIES, (source.vision_config, source.text_config), strict=True))
        towers = {
            name: {"encoder": "auto", "config": part.to_dict(), "pooling": "pooler", **(own.get(name) or {})}
            for name, part in parts.items()
        }
        is_clip = source.model_type == "clip"
        return {
            **options,
            "modalities": {**towers, **{name: cls._resolve_encoder(own[name]) for name in own if name not in towers}},
            "projection": "linear" if is_clip else "none",
            "projection_dim": source.projection_dim if is_clip else source.vision_config.hidden_size,
        }


LatentCLIPConfig.register_for_auto_class()
