"""Configuration of LatentALBEF."""

import sys
from typing import Any

from .configuration_base import LatentConfig

MODALITIES = ("image", "text")
OBJECTIVES = ("albef", "answer", "class")
# Image models of transformers whose first token stands for the whole image.
WITH_CLASS_TOKEN = ("beit", "data2vec-vision", "deit", "dinov2", "vit", "vit_mae", "vit_msn")


class LatentALBEFConfig(LatentConfig):
    """Configuration of a [`LatentALBEFModel`]: an image encoder, and a BERT whose last layers look at the image.

    Args:
        modalities: `{"image": {...}, "text": {...}}`, as in [`LatentConfig`]. The image encoder is any that gives
            tokens. `text` is `{"encoder": "auto", "config": {...}}` or `{"encoder": "auto", "pretrained": name}` of a
            whole BERT, all of its layers counted, for [`from_checkpoints`].
        fusion_layers: So many of BERT's last layers are the fusion, each with a cross-attention to the image; the
            layers before them read text alone.
        projection_dim: Width of the space that images and texts share before they are fused.
        temperature: Of the contrastive logits, where training starts.
        learn_temperature: Whether the temperature is learned.
        min_temperature: A learned temperature is never below this.
        max_temperature: A learned temperature is never above this.
        queue_size: Momentum features of earlier batches that are contrasted, too; 0 is none.
        momentum: The momentum encoders keep this share of themselves at every optimizer step.
        alpha: The share of the momentum model's own answers in the targets; 0 is training without distillation.
        alpha_ramp: `alpha` rises linearly from 0 over this share of training (the first of 30 epochs, in the paper).
        itm_weight: Weight of image-text matching beside the contrastive loss; 0 leaves it out.
        mlm_weight: Weight of masked language modelling beside the contrastive loss; 0 leaves it out.
        objective: `"albef"`, or `"answer"` and `"class"` of the heads that are trained on labels. Each model sets its
            own.
        regularizers: As in [`LatentConfig`]; they shape the projected features before fusion, with the momentum
            features as the second view.
        extra_heads: As in [`LatentConfig`].

    Raises:
        ValueError: If a value does not fit, or a keyword is a misspelling of one of these.

    Example:

    ```python
    from hf_latent import LatentALBEFConfig

    bert = {
        "model_type": "bert",
        "vocab_size": 1000,
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    config = LatentALBEFConfig(
        modalities={"image": {"encoder": "cnn"}, "text": {"encoder": "auto", "config": bert}},
        fusion_layers=2,
        projection_dim=64,
    )
    ```
    """

    model_type = "latent_albef"

    fusion_layers: int = 6
    projection_dim: int = 256
    temperature: float = 0.07
    learn_temperature: bool = True
    min_temperature: float = 0.001
    max_temperature: float = 0.5
    queue_size: int = 65_536
    momentum: float = 0.995
    alpha: float = 0.4
    alpha_ramp: float = 1 / 30
    itm_weight: float = 1.0
    mlm_weight: float = 1.0
    objective: str = "albef"

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self._check_objective(*OBJECTIVES)
        self._check_counts("projection_dim", "fusion_layers")
        self._check_temperature(self.temperature)
        if self.learn_temperature and not 0 < self.min_temperature <= self.temperature <= self.max_temperature:
            raise ValueError(
                f"temperature={self.temperature}: one that is learned stays between min_temperature="
                f"{self.min_temperature} and max_temperature={self.max_temperature}; write a temperature between them"
            )
        if not isinstance(self.queue_size, int) or self.queue_size < 0:
            raise ValueError(f"queue_size={self.queue_size!r}: give a whole number, 0 for no queue")
        for key, high in (("momentum", 1.0), ("alpha", 1.0), ("alpha_ramp", 1.0), ("itm_weight", None)):
            self._check_share(key, high)
        self._check_share("mlm_weight", None)
        if self.modalities:
            self._check_modalities()

    @property
    def keys_to_ignore_at_inference(self) -> list[str]:
        """As of the base class; of a head of classes all but its logits."""
        return super().keys_to_ignore_at_inference + (["fused"] if self.objective == "class" else [])

    def _check_share(self, key: str, high: float | None) -> None:
        value = getattr(self, key)
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max
        if not good or (high is not None and value > high):
            raise ValueError(f"{key}={value!r}: write a number {'0 or more' if high is None else 'from 0 to 1'}")

    def _check_modalities(self) -> None:
        if set(self.modalities) != set(MODALITIES):
            raise ValueError(f"modalities {', '.join(self.modalities)}: LatentALBEF reads image and text")
        self.modalities = {name: self.modalities[name] for name in MODALITIES}
        image, text = self.modalities["image"], self.modalities["text"]
        bert = text.get("config") or {}
        if text["encoder"] != "auto" or bert.get("model_type") != "bert":
            raise ValueError(
                "modality 'text': LatentALBEF splits the layers of a BERT: write encoder: auto with pretrained: "
                "CHECKPOINT or with config: {model_type: bert, ...}"
            )
        layers = bert.get("num_hidden_layers", 12)
        if self.fusion_layers >= layers:
            raise ValueError(
                f"fusion_layers={self.fusion_layers}: of the {layers} layers of this BERT at least one must read text "
                f"alone; write {layers - 1} or less"
            )
        text.setdefault("pooling", "cls")
        if (image.get("config") or {}).get("model_type") in WITH_CLASS_TOKEN and not image.get("backbone"):
            image.setdefault("pooling", "cls")


LatentALBEFConfig.register_for_auto_class()
