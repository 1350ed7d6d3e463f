"""CoMM: one fused space for any number of modalities."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_comm import CoMMConfig
from .embeddings import Embeddings, LatentPreTrainedModel, concatenate_views
from .encoders import FeatureTokenizer, LatentConverter, build_encoder, couples_rows, nearest
from .fusion import FusionTransformer

Modalities = Mapping[str, Mapping[str, Tensor]]


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, ReLU, twice, and a last linear layer; it works on the scoring side, on whole batches."""

    def __init__(self, dim: int, hidden_dim: int, projection_dim: int) -> None:
        super().__init__(
            *(nn.Linear(dim, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU()),
            *(nn.Linear(hidden_dim, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU()),
            nn.Linear(hidden_dim, projection_dim),
        )


class CoMMModel(LatentPreTrainedModel):
    """Contrastive MultiModal learning: encoders, latent converters, a fusion transformer and a projection head.

    The modalities are encoded once; the fusion transformer then sees each of them alone and all of them together, and
    the objective pulls these views together so that redundant, unique and synergistic information are all kept.

    Source: Dufumier, Castillo-Navarro et al., "What to align in multimodal contrastive learning?", ICLR 2025,
    section 3 and figure 3.
    """

    config: CoMMConfig
    config_class = CoMMConfig
    _no_split_modules = ["FusionLayer"]
    scoring_modules = frozenset({"head"})

    def __init__(self, config: CoMMConfig) -> None:
        super().__init__(config)
        if len(config.modalities) < 1:
            raise ValueError("CoMM needs modalities: {name: {'encoder': ...}}")
        self.encoders = nn.ModuleDict()
        self.converters = nn.ModuleDict()
        for name, spec in config.modalities.items():
            options = {key: value for key, value in spec.items() if key != "frozen"}
            try:
                encoder = build_encoder(options)
            except ValueError as error:
                raise ValueError(f"modality {name!r}: {error}") from None
            self.encoders[name] = encoder
            self.converters[name] = LatentConverter(encoder.hidden_size, config.embed_dim)
        self.fusion = FusionTransformer(
            config.embed_dim, config.fusion_layers, config.fusion_heads, config.fusion_pooling
        )
        self.head = ProjectionHead(config.embed_dim, config.projection_hidden_dim, config.projection_dim)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, FeatureTokenizer):
            init.normal_(module.weight)
            init.normal_(module.bias)

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """As the base class, which skips modules without parameters of their own, such as the fusion transformer; then
        freeze what the config freezes, which loading would otherwise undo. Loaded weights stay as they are."""
        super().initialize_weights()
        self.fusion.initialize()
        for name in self._frozen:
            self.encoders[name].requires_grad_(False)

    @property
    def _frozen(self) -> list[str]:
        return [name for name, spec in self.config.modalities.items() if spec.get("frozen")]

    def train(self, mode: bool = True) -> "CoMMModel":
        super().train(mode)
        for name in self._frozen:
            self.encoders[name].eval()
        return self

    @property
    def scale(self) -> float:
        return 1 / self.config.temperature

    @can_return_tuple
    def forward(
        self,
        modalities: Modalities,
        augmented_modalities: Modalities | None = None,
        ids: Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> Embeddings:
        """Embed a batch.

        Args:
            modalities: `{name: {"pixel_values" | "input_ids" | "values" | ...: tensor}}`, as the processor gives it.
                Any subset of the modalities may be given.
            augmented_modalities: The second view of the same rows, in the same layout.
            ids: `(batch,)`, rows with the same id are positives of each other.
            return_loss: Compute the objective. By default where the batch holds what the objective needs.

        Returns:
            Raw [`Embeddings`], before the projection head: `embeds` of each modality alone, `fused` of all that were
            given, `(batch, embed_dim)` each, and the same for the second view.

        Raises:
            ValueError: If a modality is unknown, none is given, or the views differ in their modalities.
        """
        names = self._check(modalities)
        if augmented_modalities is not None and self._check(augmented_modalities) != names:
            raise ValueError(
                f"the second view has the modalities {sorted(augmented_modalities)}, the first has {sorted(names)}"
            )
        subsets: list[list[int]] = [[i] for i in range(len(names))] + [list(range(len(names)))]
        fused = self._fuse(modalities, augmented_modalities, names, subsets)
        batch = len(fused) if augmented_modalities is None else len(fused) // 2

        def view(rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            return {name: rows[:, i] for i, name in enumerate(names)}, rows[:, -1]

        embeds, joint = view(fused[:batch])
        embeddings = Embeddings(embeds=embeds, fused=joint, ids=ids)
        if augmented_modalities is not None:
            embeddings.augmented, embeddings.fused_augmented = view(fused[batch:])
        if return_loss is None:
            return_loss = names == list(self.encoders) and self._has_views(embeddings)
        if return_loss:
            embeddings.loss = self.loss_of(embeddings)
        return embeddings

    def _has_views(self, embeddings: Embeddings) -> bool:
        """Whether the batch holds all that the objective, if there is one, reads."""
        if type(self).build_objective is None:
            return False
        return all(getattr(embeddings, field) is not None for field in self.objective.requires)

    def get_fused_features(self, modalities: Modalities) -> Tensor:
        """The joint representation of whichever modalities are given, `(batch, embed_dim)`, before the head."""
        names = self._check(modalities)
        return self._fuse(modalities, None, names, [list(range(len(names)))])[:, 0]

    def score(self, embeddings: Embeddings) -> Embeddings:
        """The projection head, with batch statistics of its own for each subset and view, and L2 normalisation."""
        with full_precision(self.device):
            dtype = next(self.head.parameters()).dtype
            return embeddings.map(lambda rows: F.normalize(self.head(rows.to(dtype)), dim=-1))

    def _check(self, modalities: Modalities) -> list[str]:
        """The given modalities in the order of the config."""
        for name in modalities:
            if name not in self.encoders:
                raise ValueError(f"unknown modality {name!r}: {nearest(name, list(self.encoders))}")
        names = [name for name in self.encoders if name in modalities]
        if not names:
            raise ValueError(f"no modality given: give at least one of {', '.join(self.encoders)}")
        return names

    def _fuse(
        self, first: Modalities, second: Modalities | None, names: Iterable[str], subsets: list[list[int]]
    ) -> Tensor:
        """`(views * batch, subsets, embed_dim)`; the encoders may run in bf16, everything after them does not."""
        tokens, masks = [], []
        for name in names:
            encoder = self.encoders[name]
            if second is None:
                outputs = [encoder(**first[name])]
            elif couples_rows(encoder):
                # A BatchNorm of an encoder takes its statistics from one view at a time.
                outputs = [encoder(**first[name]), encoder(**second[name])]
            else:
                outputs = [encoder(**concatenate_views(first[name], second[name]))]
            with full_precision(self.device):
                tokens.append(torch.cat([self.converters[name](output) for output in outputs]))
            mask = [output.attention_mask for output in outputs if output.attention_mask is not None]
            masks.append(torch.cat(mask) if mask else None)
        with full_precision(self.device):
            return self.fusion(tokens, subsets, masks)


def full_precision(device: torch.device) -> torch.autocast:
    """Leave autocast: early in training the features nearly coincide, and bf16 turns the gradient by 55 degrees."""
    return torch.autocast(device.type, enabled=False)


CoMMModel.register_for_auto_class("AutoModel")
