"""LatentALBEF: an image encoder, a text encoder, and a fusion of both, with a shared space before the fusion."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from transformers import BertForMaskedLM
from transformers.utils import can_return_tuple

from .albef_checkpoint import read_official
from .albef_grounding import grounding_maps
from .albef_layers import FusionEncoder, TokensRead
from .configuration_latent_albef import LatentALBEFConfig
from .embeddings import (
    Embeddings,
    image_inputs,
    text_inputs,
    wide,
)
from .encoders import AutoEncoder, Encoder, EncoderOutput
from .image_text import ImageTextOutput, SharedSpacePreTrainedModel, is_paired


@dataclass
class LatentALBEFOutput(ImageTextOutput):
    """[`Embeddings`] with what the fusion makes of a pair; `fused` is the first token of `last_hidden_state`.

    Attributes:
        last_hidden_state: `(batch, length, hidden_size)`, the tokens of the text after they have seen the image.
        itm_logits: `(batch, 2)`: do text i and image i not belong together, or do they?
    """

    last_hidden_state: Tensor | None = None
    itm_logits: Tensor | None = None


class LatentALBEFModel(SharedSpacePreTrainedModel):
    """Align before fuse: an image encoder, a BERT's first layers, and its others with cross-attention to the image.

    Source: Li et al., "Align before Fuse: Vision and Language Representation Learning with Momentum Distillation",
    NeurIPS 2021, section 3.1. The structure regularizers of Jiang et al., CVPR 2023, act on the features before
    fusion. `LatentALBEFForPreTraining` trains it. See [`LatentALBEFConfig`].
    """

    config: LatentALBEFConfig
    config_class = LatentALBEFConfig
    _no_split_modules = ["CrossAttentionLayer"]
    # The augmented picture is the one that is seen; the words stay as they are.
    augments_first_view = frozenset({"image"})
    # Any part that is not of this model: of its heads, of pre-training, of checkpoints.
    _keys_to_ignore_on_load_unexpected = [r"^(?!(encoders|extra_projections|fusion|logit_scale|projections)\.)"]
    auto_map: ClassVar[dict[str, str]] = {
        "AutoModel": "modeling_latent_albef.LatentALBEFModel",
        "AutoModelForZeroShotImageClassification": "modeling_latent_albef.LatentALBEFForImageTextRetrieval",
    }

    def build(self) -> None:
        super().build()
        for name, kind in self.kinds.items():
            if kind != name:
                raise ValueError(f"modality {name!r}: this encoder reads {kind}")
        image = cast(Encoder, self.encoders["image"])
        self.fusion = FusionEncoder(self.bert.config, self.config.fusion_layers, image)

    @property
    def bert(self) -> Any:
        """The layers that read text alone, a `BertModel`."""
        return cast(AutoEncoder, self.encoders["text"]).model

    @property
    def encoder_specs(self) -> dict[str, dict[str, Any]]:
        specs = dict(self.config.modalities)
        bert = specs["text"]["config"]
        layers = bert.get("num_hidden_layers", 12) - self.config.fusion_layers
        specs["text"] = {**specs["text"], "config": {**bert, "num_hidden_layers": layers}}
        return specs

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """As the base class, and `initialize_parts`; loaded weights stay as they are."""
        super().initialize_weights()
        self.initialize_parts()

    def initialize_parts(self) -> None:
        """What begins as in BERT, and what the base class skips: modules without parameters of their own."""
        self.fusion.initialize()

    @torch.no_grad()
    def on_optimizer_step(self) -> None:
        """Keep a learned temperature in its range."""
        if self.config.learn_temperature:
            self.logit_scale.keep_between(self.config.min_temperature, self.config.max_temperature)

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        """None: the second view of regularizers is that of a momentum copy."""
        return set()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        ids: Tensor | None = None,
        return_loss: bool | None = None,
        return_fused: bool | None = None,
        **kwargs: Any,
    ) -> ImageTextOutput:  # sentence-transformers would pool a `last_hidden_state`, which a sentence alone has not
        """Embed a batch of images, of texts, or of pairs, and fuse the pairs.

        Args:
            pixel_values: `(images, 3, height, width)`.
            input_ids, attention_mask, token_type_ids: `(texts, length)`.
            ids: `(batch,)`, rows with the same id are positives of each other.
            return_loss: This model has no loss; `LatentALBEFForPreTraining` has.
            return_fused: Fuse text i with image i. By default where there are as many texts as images.

        Returns:
            Raw embeddings, `(batch, projection_dim)`, before the L2 normalisation; `logits_per_image` where both are
            given; `last_hidden_state` and `fused` of pairs.

        Raises:
            ValueError: If neither images nor texts are given, or pairs are asked for where there are none.
        """
        if return_loss:
            raise ValueError("this model has no loss: train LatentALBEFForPreTraining")
        text = text_inputs(input_ids, attention_mask, token_type_ids)
        output, encoded = self.embed(image_inputs(pixel_values), text, ids)
        if len(encoded) == 2:
            self.add_logits(output)
        if return_fused if return_fused is not None else is_paired(output):
            self.check_paired(output)
            tokens = self.fusion.image_tokens(encoded["image"])
            output.last_hidden_state = self.fusion(encoded["text"].tokens, tokens, encoded["text"].attention_mask)
            output.fused = output.last_hidden_state[:, 0]
            self.add_head_logits(output)
        return output

    def add_head_logits(self, output: LatentALBEFOutput) -> None:
        """What a head says of the fused pairs; nothing here."""

    def embed(
        self, image: Mapping[str, Tensor], text: Mapping[str, Tensor], ids: Tensor | None = None
    ) -> tuple[LatentALBEFOutput, dict[str, EncoderOutput]]:
        """The embeddings of the modalities that are given, and the tokens that they come from."""
        given = {name: inputs for name, inputs in (("image", image), ("text", text)) if inputs}
        if not given:
            raise ValueError("give pixel_values, input_ids or both")
        encoded = {name: self.encoders[name](**inputs) for name, inputs in given.items()}
        pooled = {name: tokens.pool() for name, tokens in encoded.items()}
        output = LatentALBEFOutput(embeds={n: self.projections[n](rows) for n, rows in pooled.items()}, ids=ids)
        for head, projections in self.extra_projections.items():
            found = {name: cast(nn.ModuleDict, projections)[name](rows) for name, rows in pooled.items()}
            setattr(output, head, found)
        return output, encoded

    def check_paired(self, output: Embeddings) -> None:
        """Refuse a batch whose images and texts do not come in pairs."""
        if not is_paired(output):
            counts = ", ".join(f"{len(rows)} of {name}" for name, rows in (output.embeds or {}).items())
            raise ValueError(f"pairs need as many texts as images, text i describing image i; here are {counts}")

    @classmethod
    def from_official_checkpoint(cls, path: str | Path, **options: Any) -> Self:
        """The weights of the official ALBEF code, `ALBEF.pth` and its like, of pre-training or of retrieval.

        Every weight of the file finds its place or is refused; those that only training or another head needs are left
        out where this class has none. Pixels were normalised with CLIP's mean and deviation there, words with
        `bert-base-uncased`.

        Args:
            path: A `.pth` file. Nothing in it is run.
            **options: Of [`LatentALBEFConfig`], in place of what the file tells.

        Raises:
            ValueError: If the file is of another model, or lacks a weight.
        """
        found, weights = read_official(path)
        model = cls(LatentALBEFConfig(**{**found, **options}))
        elsewhere = ("momentum.", "feature_queue.", "itm_head.", "mlm_head.")
        own = model.state_dict()
        try:
            report = model.load_state_dict({name: part for name, part in weights.items() if name in own}, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{path} is of another shape: {str(error).splitlines()[1].strip()}") from None
        lost = [name for name in weights if name not in own and not name.startswith(elsewhere)]
        if report.missing_keys or lost:
            raise ValueError(f"{path} is of another shape: {(report.missing_keys + lost)[0]} has no counterpart")
        return model

    @torch.no_grad()
    def load_pretrained(self) -> None:
        """Take the weights that the config names: of the image encoder, and of a BERT for text and fusion."""
        super().load_pretrained()
        checkpoint = self.config.modalities["text"].get("pretrained")
        if checkpoint is not None:
            whole: Any = BertForMaskedLM
            source, report = whole.from_pretrained(checkpoint, dtype=self.dtype, output_loading_info=True)
            self.take_from_bert(source, {str(key) for key in report["missing_keys"]})

    def take_from_bert(self, source: BertForMaskedLM, missing: set[str]) -> None:
        """The last layers of a BERT, without the cross-attention that it has not."""
        first = self.bert.config.num_hidden_layers
        for own, theirs in zip(self.fusion.layer, source.bert.encoder.layer[first:], strict=True):
            own.load_state_dict(theirs.state_dict(), strict=False)


class LatentALBEFForImageTextRetrieval(LatentALBEFModel):
    """A [`LatentALBEFModel`] that says whether an image and a text belong together: contrast first, then matching.

    `rerank` orders the candidates that contrast finds nearest anew by what the fusion makes of each pair.
    """

    def build(self) -> None:
        super().build()
        self.itm_head = nn.Linear(self.bert.config.hidden_size, 2)

    def add_head_logits(self, output: LatentALBEFOutput) -> None:
        output.itm_logits = wide(self.itm_head(output.fused))

    def match(self, image_tokens: Tensor, text_tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """`(pairs, 2)` logits in float32 or wider, from tokens of pairs: text i and image i."""
        read = TokensRead.first(len(text_tokens), text_tokens.device)
        return wide(self.itm_head(self.fusion(text_tokens, image_tokens, attention_mask, read=read)))

    @torch.no_grad()
    def rerank(
        self,
        similarity: Tensor,
        image_tokens: Tensor,
        text_tokens: Tensor,
        attention_mask: Tensor,
        k: int = 128,
        by_text: bool = False,
        batch_size: int = 512,
    ) -> Tensor:
        """Scores whose order is that of the matching among the `k` nearest candidates of a query, and of contrast
        behind them.

        Args:
            similarity: `(images, texts)` cosine similarities.
            image_tokens: `(images, tokens, hidden_size)`, from `fusion.image_tokens`; on any device.
            text_tokens: `(texts, length, hidden_size)`, from the text encoder.
            attention_mask: `(texts, length)`.
            k: Candidates that are matched; all, where there are fewer.
            by_text: The texts are the queries; by default the images are.
            batch_size: Pairs that are fused at a time.

        Returns:
            `(images, texts)`, or `(texts, images)` with `by_text`, float32.
        """
        if k < 1:
            raise ValueError(f"k={k}: give 1 or more candidates")
        scores = wide(similarity.T if by_text else similarity).clone()
        nearest = scores.topk(min(k, scores.shape[1])).indices
        query = torch.arange(len(scores), device=nearest.device).repeat_interleave(nearest.shape[1])
        image, text = (nearest.flatten(), query) if by_text else (query, nearest.flatten())
        odds = []
        for rows in zip(image.split(batch_size), text.split(batch_size), strict=True):
            images, texts = (part.to(image_tokens.device) for part in rows)
            pairs = image_tokens[images], text_tokens[texts], attention_mask[texts]
            logits = self.match(*(part.to(self.device) for part in pairs))
            odds.append((logits[:, 1] - logits[:, 0]).to(scores))
        matched = torch.cat(odds).view_as(nearest)
        # Above everything that was not matched, whatever the odds are.
        lift = scores.amax(1, keepdim=True) + 1 - matched.amin(1, keepdim=True)
        return scores.scatter(1, nearest, matched + lift)

    def grounding_maps(self, pixel_values: Tensor, input_ids: Tensor, *args: Any, **options: Any) -> Tensor:
        """Where text i finds itself in image i; see [`~albef_grounding.grounding_maps`]."""
        return grounding_maps(self, pixel_values, input_ids, *args, **options)


LatentALBEFModel.register_for_auto_class("AutoModel")
LatentALBEFForImageTextRetrieval.register_for_auto_class("AutoModelForZeroShotImageClassification")
