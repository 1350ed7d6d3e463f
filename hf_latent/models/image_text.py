"""What LatentCLIP and LatentALBEF share: an encoder for each modality, projected into one space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import is_torchdynamo_exporting

from .embeddings import (
    VECTORS,
    Embeddings,
    LatentPreTrainedModel,
    LogitScale,
    full_precision,
    text_inputs,
    wide,
)
from .encoders import Encoder
from .registry import UnknownNameError, nearest

IMAGE_TEXT = {"image": "image", "text": "text"}


@dataclass
class ImageTextOutput(Embeddings):
    """[`Embeddings`] with the logits of every image against every text.

    Attributes:
        logits_per_image: `(images, texts)`, cosine similarities over the temperature.
        logits_per_text: Its transpose.
    """

    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None


class SharedSpacePreTrainedModel(LatentPreTrainedModel):
    """An encoder for each modality, a projection of each into one space, and whatever heads the regularizers read."""

    compared = True
    main_input_name = "pixel_values"
    input_modalities = ["image", "text"]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if not config.modalities:
            name = type(self).__name__
            raise ValueError(f"{name} needs modalities: {{'image': {{'encoder': ...}}, 'text': {{'encoder': ...}}}}")
        self.build()
        self.post_init()

    def build(self) -> None:
        """Make the parts; a subclass adds its own."""
        config = self.config
        self.encoders = self.build_encoders()
        for name, kind in self.kinds.items():
            if name in IMAGE_TEXT and kind in IMAGE_TEXT and kind != name:
                raise ValueError(f"modality {name!r}: this encoder reads {kind}")
        if not self.reads_image_text:
            self.main_input_name, self.input_modalities = "modalities", sorted({*self.kinds.values()})
        widths = {name: cast(Encoder, encoder).hidden_size for name, encoder in self.encoders.items()}
        self.projections = nn.ModuleDict({name: self.build_projection(width) for name, width in widths.items()})
        # One more linear head, beside the projection, for each kind of structure that needs it.
        self.extra_projections = nn.ModuleDict(
            {
                head: nn.ModuleDict({name: nn.Linear(width, config.projection_dim) for name, width in widths.items()})
                for head in config.extra_heads
            }
        )
        self.logit_scale = LogitScale(config.temperature)

    def build_projection(self, width: int) -> nn.Module:
        """From an encoder's width to `projection_dim`."""
        return nn.Linear(width, self.config.projection_dim)

    @torch.no_grad()
    def initialize_weights(self) -> None:
        super().initialize_weights()
        self.logit_scale.requires_grad_(self.config.learn_temperature)

    @property
    def scale(self) -> Tensor:
        return self.logit_scale()

    @property
    def kinds(self) -> dict[str, str]:
        """What the encoder of each modality reads."""
        return {name: cast(Encoder, encoder).kind for name, encoder in self.encoders.items()}

    @property
    def reads_image_text(self) -> bool:
        """Whether the modalities are an `image` and a `text`, as those of CLIP: its processor and pipelines fit."""
        return self.kinds == IMAGE_TEXT

    def only(self, kind: str) -> str:
        """The only modality of a kind.

        Raises:
            ValueError: If there is none, or several; it says what to write.
        """
        names = [name for name, own in self.kinds.items() if own == kind]
        if len(names) == 1:
            return names[0]
        raise ValueError(
            f"of the modalities {', '.join(self.kinds)}, {len(names)} are {kind}: say which is meant, by "
            "modalities={name: inputs} or get_features(name, **inputs)"
        )

    def get_features(self, name: str, **inputs: Tensor) -> Tensor:
        """The embeddings of one modality, `(rows, projection_dim)`, before the L2 normalisation.

        Args:
            name: The modality.
            **inputs: Of its encoder, as the processor gives them: `pixel_values`, `input_ids`, `values` ...

        Raises:
            ValueError: If there is no such modality.
        """
        self.check_names([name])
        return self.project(name, self.encoders[name](**inputs).pool())

    def project(self, name: str, pooled: Tensor) -> Tensor:
        """`(rows, width)` of the encoder of a modality -> its embeddings, `(rows, projection_dim)`."""
        return self.projections[name](pooled)

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """`(images, projection_dim)`, before the L2 normalisation; of the only modality of images."""
        return self.get_features(self.only("image"), pixel_values=pixel_values)

    def get_text_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """`(texts, projection_dim)`, before the L2 normalisation; of the only modality of texts."""
        return self.get_features(self.only("text"), **text_inputs(input_ids, attention_mask, token_type_ids))

    def check_names(self, names: Any) -> None:
        """A ValueError where one of these is no modality."""
        for name in names:
            if name not in self.encoders:
                raise ValueError(f"unknown modality {name!r}: {nearest(str(name), list(self.encoders))}")

    def score(self, embeddings: Embeddings) -> Embeddings:
        """L2 normalisation, in float32 or wider; log variances and losses of rows stay as they are."""
        scored = self._normalized(embeddings)
        if self.reads("raw"):
            scored.raw = {name: wide(rows) for name, rows in (embeddings.embeds or {}).items()}
        return scored

    @staticmethod
    def _normalized(embeddings: Embeddings) -> Embeddings:
        with full_precision(embeddings.device):
            return embeddings.map(lambda rows: F.normalize(wide(rows), dim=-1), fields=VECTORS)

    def reads(self, field: str) -> bool:
        """Whether the objective, if there is one, reads a field of `ON_REQUEST`; an exported graph has none."""
        if field not in self.on_request or is_torchdynamo_exporting() or self.objective_builder() is None:
            return False
        try:
            return field in self.objective.requires
        except UnknownNameError:  # a regularizer of a plug-in that is not installed
            return False

    def add_logits(self, output: ImageTextOutput) -> None:
        """Every image against every text."""
        scored = cast(dict[str, Tensor], self._normalized(output).embeds)
        output.logits_per_image = self.scale * scored[self.only("image")] @ scored[self.only("text")].T
        output.logits_per_text = output.logits_per_image.T

    def pack(
        self,
        modalities: Mapping[str, Any],
        augmented: Mapping[str, Any] | None = None,
        ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Any]:
        if not self.reads_image_text:
            return {"modalities": modalities, "augmented_modalities": augmented, "ids": ids}
        flat = {key: value for inputs in modalities.values() for key, value in inputs.items()}
        second = {f"augmented_{k}": v for inputs in (augmented or {}).values() for k, v in inputs.items()}
        return {**flat, **second, "ids": ids}

    @classmethod
    def from_vision_text_pretrained(cls, vision: str, text: str, **options: Any) -> Self:
        """Two pretrained encoders; what they have not is new. A LatentALBEF splits the layers of a BERT.

        Args:
            vision: A checkpoint that `AutoModel` loads as an image model: ResNet, ConvNeXt, ViT, DeiT ...
            text: The same for text: BERT, DistilBERT ... LatentALBEF takes a BERT, whose last `fusion_layers` (6 by
                default) become the fusion.
            **options: Of the config; `modalities` may give more for each encoder, such as
                `{"image": {"frozen": True}}`, and of LatentCLIP further modalities, with their encoders.

        Raises:
            ValueError: If a checkpoint is of a model that does not fit.
        """
        extra = dict(options.pop("modalities", {}))
        towers = {"image": vision, "text": text}
        specs = {n: {"encoder": "auto", "pretrained": path, **extra.pop(n, {})} for n, path in towers.items()}
        model = cls(cast(Any, cls.config_class).from_checkpoints(modalities={**specs, **extra}, **options))
        model.load_pretrained()
        return model


def is_paired(output: Embeddings, modalities: int = 2) -> bool:
    """Whether all of so many modalities are given, in as many rows."""
    rows = list((output.embeds or {}).values())
    # No set of sizes, nor `len`, which make constants of them under `torch.export`.
    return len(rows) == modalities and all(rows[0].shape[0] == other.shape[0] for other in rows[1:])
