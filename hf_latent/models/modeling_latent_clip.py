"""LatentCLIP: a tower of any backbone for each modality, in a space whose structure the config chooses."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .calibration import Calibration
from .configuration_latent_clip import LatentCLIPConfig
from .embeddings import (
    Embeddings,
    check_inputs,
    checked_presence,
    concatenate_views,
    fit_together,
    image_inputs,
    text_inputs,
)
from .encoders import AutoEncoder, couples_rows
from .image_text import IMAGE_TEXT, ImageTextOutput, SharedSpacePreTrainedModel, is_paired

Modalities = Mapping[str, Mapping[str, Tensor]]


@dataclass
class LatentCLIPOutput(ImageTextOutput):
    """[`Embeddings`] with the logits of every image against every text, where one modality of each was given."""


def _projection(kind: str, width: int, dim: int, bias: bool) -> nn.Module:
    if kind == "linear":
        return nn.Linear(width, dim, bias=bias)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim))
    if width != dim:
        raise ValueError(f"projection: none needs towers that are projection_dim={dim} wide, not {width}")
    return nn.Identity()


class LatentCLIPModel(SharedSpacePreTrainedModel):
    """Two towers or more, a projection of each into one space, and whatever heads the regularizers of the config read.

    The contrastive objective is that of CLIP (Radford et al. 2021), over all pairs of modalities, or another that the
    config names; the regularizers are those of Jiang et al., CVPR 2023, and Almudevar et al., ICML 2025. See
    [`LatentCLIPConfig`].
    """

    config: LatentCLIPConfig
    config_class = LatentCLIPConfig
    auto_map: ClassVar[dict[str, str]] = {
        "AutoModel": "modeling_latent_clip.LatentCLIPModel",
        "AutoModelForZeroShotImageClassification": "modeling_latent_clip.LatentCLIPModel",
    }
    supports_missing = True
    on_request = frozenset({"raw", "teacher"})
    _keys_to_ignore_on_load_unexpected = [r"^teacher\."]  # of a checkpoint

    def build_projection(self, width: int) -> nn.Module:
        config = self.config
        return _projection(config.projection, width, config.projection_dim, config.projection_bias)

    def build(self) -> None:
        super().build()
        told = self.config.calibration
        self.calibration = None if told is None else self._new_calibration(told["method"])
        self.teacher: nn.ModuleDict | None = None

    def _new_calibration(self, method: str) -> Calibration:
        return Calibration(self.encoders, self.config.projection_dim, method)

    def project(self, name: str, pooled: Tensor) -> Tensor:
        """As the base class. Of a calibrated model they are of length 1 before the calibration, not after it."""
        rows = super().project(name, pooled)
        return rows if self.calibration is None else self.calibration(name, rows)

    def calibrate(self, rows: Mapping[str, Tensor], method: str = "mean", data: str | None = None) -> None:
        """Take the offset of each modality out of all embeddings from now on, and keep that with the model.

        The offsets are what holds modalities apart where rows of several are ranked together. They are of this model
        and these rows: never fit them on rows that are measured, and fit them anew when the weights have changed.

        Args:
            rows: `(rows, projection_dim)` of each modality, as this model, not calibrated, embeds training rows.
            method: `"mean"` takes away the mean of the unit rows; `"standardise"` also divides each coordinate by
                their standard deviation.
            data: A name for the data, which config and card tell.

        Raises:
            ValueError: If the model is calibrated, there is no such method, or a modality has no rows.
        """
        if self.calibration is not None:
            raise ValueError("this model is calibrated, and so are its embeddings: call drop_calibration() first")
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        self.calibration = self._new_calibration(method).to(self.device, wide).fit(rows)
        count = max(len(rows[name]) for name in self.encoders)
        self.config.calibration = {"method": method, "data": data, "rows": count}

    def drop_calibration(self) -> bool:
        """Embed as the weights do; whether that changes anything."""
        changed = self.calibration is not None
        self.calibration = self.config.calibration = None
        return changed

    def on_train_begin(self) -> None:
        """Statistics of the weights before training are not those of the weights after it."""
        super().on_train_begin()
        if self.drop_calibration():
            print("The model was calibrated, by statistics that training makes stale: it trains without them")
        self.teacher = None
        self.prepare_training()

    def prepare_training(self) -> None:
        """Make the teacher, a frozen copy of towers and projections, where the objective reads it and there is none.

        It is kept in checkpoints of the Trainer, and never in what `save_pretrained` writes otherwise.
        """
        super().prepare_training()
        if self.teacher is None and self.reads("teacher"):
            parts = {"encoders": self.encoders, "projections": self.projections}
            self.teacher = nn.ModuleDict(deepcopy(parts)).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """As the base class; the teacher has no dropout."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    @torch.no_grad()
    def _taught(self, name: str, inputs: dict[str, Tensor]) -> Tensor:
        """The teacher's embeddings of one modality."""
        teacher = cast(nn.ModuleDict, self.teacher)
        pooled = teacher.get_submodule(f"encoders.{name}")(**inputs).pool()
        return teacher.get_submodule(f"projections.{name}")(pooled)

    def objective_of(self, scored: Embeddings, **options: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """As the base class.

        Raises:
            ValueError: If the objective reads a teacher, and there is none.
        """
        if scored.teacher is None and self.reads("teacher"):
            raise ValueError(
                "the objective reads a teacher, which is made when training begins: LatentTrainer does so; before "
                "another loop, call prepare_training()"
            )
        return super().objective_of(scored, **options)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Calibration):
            for name, buffer in module.named_buffers():
                init.constant_(buffer, float(name.endswith("_std")))

    @torch.no_grad()
    def on_optimizer_step(self) -> None:
        """Keep the temperature between `config.min_temperature` and 1."""
        if self.config.learn_temperature:
            self.logit_scale.keep_between(self.config.min_temperature, 1)

    def name_auto_classes(self) -> None:
        """As the base class; zero-shot classification of images takes one modality of images and one of texts."""
        super().name_auto_classes()
        if not self.reads_image_text:
            self.config.auto_map = {"AutoModel": self.auto_map["AutoModel"]}

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        augmented_pixel_values: Tensor | None = None,
        augmented_input_ids: Tensor | None = None,
        augmented_attention_mask: Tensor | None = None,
        augmented_token_type_ids: Tensor | None = None,
        ids: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
        return_loss: bool | None = None,
        return_logits: bool | None = None,
        modalities: Modalities | None = None,
        augmented_modalities: Modalities | None = None,
        **kwargs: Any,
    ) -> LatentCLIPOutput:
        """Embed a batch of any of the modalities.

        Args:
            pixel_values: `(images, 3, height, width)`, of the only modality of images.
            input_ids, attention_mask, token_type_ids: `(texts, length)`, of the only modality of texts.
            augmented_pixel_values, augmented_input_ids, augmented_attention_mask, augmented_token_type_ids: The second
                view of the same rows; of either modality or both.
            ids: `(batch,)`, rows with the same id are positives of each other.
            present: `(batch,)` bool of each modality, the rows that have it; by default all have all.
            return_loss: Compute the objective. By default where all modalities are given, in as many rows, and the
                batch holds the views that the objective needs.
            return_logits: Compute the logits of images against texts, where one modality of each is given. By default
                in evaluation mode.
            modalities: `{name: {"pixel_values" | "input_ids" | "values" | ...: tensor}}`, as `CoMMProcessor` gives it;
                in place of the arguments above, or beside them.
            augmented_modalities: The second view of the same rows, in the same layout; of any of the modalities.

        Returns:
            Raw embeddings, `(batch, projection_dim)`, before the L2 normalisation.

        Raises:
            ValueError: If no modality is given, or a second view without its first, or one that is not known or not
                told from another.
        """
        text = text_inputs(input_ids, attention_mask, token_type_ids)
        augmented_text = text_inputs(augmented_input_ids, augmented_attention_mask, augmented_token_type_ids)
        first = self._by_name(modalities, image_inputs(pixel_values), text)
        second = self._by_name(augmented_modalities, image_inputs(augmented_pixel_values), augmented_text)
        output = LatentCLIPOutput(embeds={}, ids=ids)
        for name in self.encoders:
            if name in first:
                self._embed(name, first[name], second.get(name, {}), output)
            elif name in second:
                raise ValueError(f"a second view of the {name} modality was given without the first")
        if not output.embeds:
            if self.reads_image_text:
                raise ValueError("give pixel_values, input_ids or both")
            raise ValueError(f"give modalities={{name: inputs}}, of any of {', '.join(self.encoders)}")
        output.present = checked_presence(present, output.embeds)
        paired = is_paired(output, len(self.encoders))
        if return_loss and not paired:
            raise ValueError(
                f"the loss needs as many rows of each of {', '.join(self.encoders)}: row i of one belongs to row i of "
                "the others"
            )
        if return_logits if return_logits is not None else not self.training and self._has_pairs(output):
            self.add_logits(output)
        if return_loss if return_loss is not None else paired and self.has_views(output):
            output.loss = self.loss_of(output)
        return output

    def _by_name(
        self, modalities: Modalities | None, image: Mapping[str, Tensor], text: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """The inputs of each modality that is given."""
        check_inputs(modalities or {})
        found: dict[str, Any] = {name: inputs for name, inputs in (modalities or {}).items() if inputs}
        self.check_names(found)
        for kind, inputs in (("image", image), ("text", text)):
            if not inputs:
                continue
            name = self.only(kind)
            if name in found:
                raise ValueError(
                    f"{next(iter(inputs))} and modalities[{name!r}] are of one modality: give one of them"
                )
            found[name] = inputs
        return found

    def _has_pairs(self, output: LatentCLIPOutput) -> bool:
        """Whether images and texts are given, of one modality each."""
        kinds = list(self.kinds.values())
        given = [self.kinds[name] for name in output.embeds or {}]
        return all(kinds.count(kind) == given.count(kind) == 1 for kind in IMAGE_TEXT)

    def _embed(self, name: str, first: dict[str, Tensor], second: dict[str, Tensor], output: LatentCLIPOutput) -> None:
        """Add the embeddings of one modality to `output`; both views go through the tower together."""
        encoder = self.encoders[name]
        if not second:
            pooled = [encoder(**first).pool()]
        elif couples_rows(encoder) or not fit_together(first, second):
            # A BatchNorm of an encoder takes its statistics from one view at a time.
            pooled = [encoder(**first).pool(), encoder(**second).pool()]
        else:
            pooled = list(encoder(**concatenate_views(first, second)).pool().chunk(2))

        if pooled[0].shape[0] != pooled[-1].shape[0]:
            raise ValueError(f"the second view of the {name} modality has {len(pooled[1])} rows, not {len(pooled[0])}")

        def add(field: str, rows: Tensor) -> None:
            setattr(output, field, {**(getattr(output, field) or {}), name: rows})

        for field, suffix, rows in zip(("embeds", "augmented"), ("", "_augmented"), pooled, strict=False):
            add(field, self.project(name, rows))
            if "independent" in self.extra_projections:
                add(f"independent{suffix}", self.extra_projections.get_submodule(f"independent.{name}")(rows))
        if "log_variance" in self.extra_projections:
            add("log_variance", self.extra_projections.get_submodule(f"log_variance.{name}")(pooled[0]))
        if self.teacher is not None:
            add("teacher", self._taught(name, first))

    @classmethod
    def from_clip_pretrained(cls, checkpoint: str, **options: Any) -> Self:
        """A CLIP or SigLIP checkpoint, with its exact embeddings and temperature, to train on with a chosen structure.

        Args:
            checkpoint: What `AutoModel` loads as CLIP or SigLIP. SigLIP wants its sentences padded to the full length:
                `LatentCLIPProcessor(..., padding="max_length")`.
            **options: Of [`LatentCLIPConfig`].

        Raises:
            ValueError: If the checkpoint is of another model.
        """
        model = cls(LatentCLIPConfig.from_checkpoints(clip=checkpoint, **options))
        model.load_pretrained()
        return model

    @torch.no_grad()
    def load_pretrained(self) -> None:
        """Take the weights that the config names: of a CLIP checkpoint, or of each tower."""
        if self.config.clip is None:
            super().load_pretrained()
            return
        clip: Any = AutoModel.from_pretrained(self.config.clip, dtype=self.dtype)
        for name, tower in (("image", clip.vision_model), ("text", clip.text_model)):
            cast(AutoEncoder, self.encoders[name]).model.load_state_dict(tower.state_dict())
        if self.config.projection == "linear":
            self.projections["image"].load_state_dict(clip.visual_projection.state_dict())
            self.projections["text"].load_state_dict(clip.text_projection.state_dict())
        self.logit_scale.weight.copy_(clip.logit_scale.squeeze())
        self.config.temperature = 1 / self.scale.item()
        self.config.min_temperature = min(self.config.temperature, self.config.min_temperature)


LatentCLIPModel.register_for_auto_class("AutoModel")
