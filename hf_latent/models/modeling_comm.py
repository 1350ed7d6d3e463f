"""CoMM: one fused space for any number of modalities."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_comm import CoMMConfig
from .embeddings import (
    Embeddings,
    LatentPreTrainedModel,
    check_inputs,
    checked_presence,
    full_precision,
)
from .encoders import Encoder, FeatureTokenizer, float_dtype
from .fusion import ConcatenationFusion, FusionTransformer
from .latent_converter import LatentConverter, converted_views
from .objective_modules import MaskToken, TokenMask
from .registry import nearest
from .unique_path import UniquePaths

Modalities = Mapping[str, Mapping[str, Tensor]]


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, ReLU, twice, and a last linear layer; it works on the scoring side, on whole batches."""

    def __init__(self, dim: int, hidden_dim: int, projection_dim: int) -> None:
        super().__init__(
            *(nn.Linear(dim, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU()),
            *(nn.Linear(hidden_dim, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU()),
            nn.Linear(hidden_dim, projection_dim),
        )

    def of_rows(self, rows: Tensor, there: Tensor | None) -> Tensor:
        """`(batch, projection_dim)` of the rows `there`, which alone count in the statistics; zeros elsewhere.

        A BatchNorm in training mode refuses one row alone: its mean is the row, and its variance 0.
        """
        if there is None:
            return self(rows)
        numbers = there.nonzero().squeeze(1)
        hidden = rows[numbers]
        for layer in cast(Iterable[Any], self):
            few = self.training and len(numbers) < 2 and isinstance(layer, nn.BatchNorm1d)
            hidden = (hidden - hidden) * layer.weight + layer.bias if few else layer(hidden)
        return hidden.new_zeros(len(rows), hidden.shape[1]).index_copy(0, numbers, hidden)


class CoMMModel(LatentPreTrainedModel):
    """Contrastive MultiModal learning: encoders, latent converters, a fusion transformer and a projection head.

    The modalities are encoded once; the fusion then sees each of them alone and all of them together, and the
    objective pulls these views together so that redundant, unique and synergistic information are all kept.

    Source: Dufumier, Castillo-Navarro et al., "What to align in multimodal contrastive learning?", ICLR 2025,
    section 3 and figure 3.
    """

    config: CoMMConfig
    config_class = CoMMConfig
    auto_map: ClassVar[dict[str, str]] = {"AutoModel": "modeling_comm.CoMMModel"}
    _no_split_modules = ["FusionLayer"]
    augments_first_view = True
    supports_missing = True
    scoring_modules = frozenset({"head", "extra_heads", "objective_modules", "unique_heads"})
    unread_options = frozenset({"problem_type", "frozen", "classifier_dropout"})
    # The heads of other models on the same config, and those of regularizers that it has no more.
    _keys_to_ignore_on_load_unexpected = [r"^(?!(encoders|converters|fusion|head)\.)"]

    def __init__(self, config: CoMMConfig) -> None:
        super().__init__(config)
        if len(config.modalities) < 1:
            raise ValueError("CoMM needs modalities: {name: {'encoder': ...}}")
        self.encoders = self.build_encoders(tokens_only=True)
        self.converters = self._build_converters()
        self.fusion = self._build_fusion()
        widths = (config.embed_dim, config.projection_hidden_dim, config.projection_dim)
        self.head = ProjectionHead(*widths)
        self.extra_heads = nn.ModuleDict({name: ProjectionHead(*widths) for name in config.extra_heads})
        self.unique = self._build_unique()
        halves = (config.embed_dim // 2, *widths[1:])
        self.unique_heads = nn.ModuleDict(
            {name: ProjectionHead(*halves) for name in self.encoders if self.unique is not None}
        )
        self.build()
        self.post_init()

    def _build_converters(self) -> nn.ModuleDict:
        widths = {name: cast(Encoder, encoder).hidden_size for name, encoder in self.encoders.items()}
        return nn.ModuleDict({name: self._build_converter(name, width) for name, width in widths.items()})

    def _build_converter(self, name: str, hidden_size: int) -> LatentConverter:
        dim, projected = self.config.embed_dim, self.config.converter == "linear"
        if not projected and hidden_size != dim:
            raise ValueError(
                f"converter=identity: the tokens of the modality {name!r} are {hidden_size} wide, and embed_dim is "
                f"{dim}: write embed_dim: {hidden_size}, where all tokens are as wide, or converter: linear"
            )
        return LatentConverter(hidden_size, dim, projected, self.config.positions)

    def _build_fusion(self) -> FusionTransformer | ConcatenationFusion:
        config = self.config
        if config.fusion != "attention":
            return ConcatenationFusion(config.embed_dim, len(config.modalities), hidden=config.fusion == "mlp")
        return FusionTransformer(config.embed_dim, config.fusion_layers, config.fusion_heads, config.fusion_pooling)

    def _build_unique(self) -> UniquePaths | None:
        if self.config.objective != "coral":
            return None
        encoders, converters = self.build_encoders(tokens_only=True), self._build_converters()
        return UniquePaths(encoders, converters, self.config.embed_dim, self.frozen_encoders)

    def build(self) -> None:
        """What a model with a head has beside these parts."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, FeatureTokenizer):
            init.normal_(module.weight)
            init.normal_(module.bias)

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """As the base class, which skips modules without parameters of their own, such as the fusion transformer.
        Loaded weights stay as they are."""
        super().initialize_weights()
        if isinstance(self.fusion, FusionTransformer):
            self.fusion.initialize()
        if self.unique is not None:
            self.unique.begin_as(self.encoders, self.converters)
        if self.config.objective == "supcon":  # which reads the fused vector itself
            self.head.requires_grad_(False)

    def load_pretrained(self) -> None:
        super().load_pretrained()
        if self.unique is not None:
            self.unique.encoders.load_state_dict(self.encoders.state_dict())

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **options: Any) -> Any:
        """As the base class, of both encoders of the text where there are two."""
        table = super().resize_token_embeddings(new_num_tokens, *args, **options)
        if self.unique is not None:
            second: Any = self.unique.encoders[self._text_encoder()[0]]
            second.model.resize_token_embeddings(new_num_tokens, *args, **options)
        return table

    @property
    def modality_dropout(self) -> float:
        return self.config.modality_dropout

    @property
    def draws_masks(self) -> bool:
        return "mask_token" in self.objective_modules or "token_mask" in self.objective_modules

    @property
    def scale(self) -> float:
        return 1 / self.config.temperature

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        """As of the base class, but all of them where any is needed: a view is fused whole."""
        return set(modalities) if super().second_views(modalities) else set()

    def pack(
        self,
        modalities: Modalities,
        augmented: Modalities | None = None,
        ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Any]:
        packed: dict[str, Any] = {"modalities": modalities, "augmented_modalities": augmented, "ids": ids}
        return packed if labels is None else {**packed, "labels": labels}

    @can_return_tuple
    def forward(
        self,
        modalities: Modalities,
        augmented_modalities: Modalities | None = None,
        ids: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
        labels: Tensor | None = None,
        mask_seeds: Tensor | None = None,
        third_modalities: Modalities | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> Embeddings:
        """Embed a batch.

        Args:
            modalities: `{name: {"pixel_values" | "input_ids" | "values" | ...: tensor}}`, as the processor gives it.
                Any subset of the modalities may be given.
            augmented_modalities: The second view of the same rows, in the same layout.
            ids: `(batch,)`, rows with the same id are positives of each other.
            present: `(batch,)` bool of each modality, the rows that have it, in either view; by default all have all.
                What stands in the others is not fused.
            labels: `(batch,)` int64, the class of each row, for the objective `supcon`; negative of a row without one.
            mask_seeds: `(batch,)` int64, what the random masks of a row depend on, for an objective that masks tokens,
                in training; drawn by default.
            third_modalities: A third view, for an objective that reads one.
            return_loss: Compute the objective. By default where the batch holds what the objective needs.

        Returns:
            Raw [`Embeddings`], before the projection head: `embeds` of each modality alone, `fused` of all that were
            given, `(batch, embed_dim)` each, and the same for the second view. Of the objective `coral` also
            `independent` of each modality, `(batch, embed_dim // 2)`, by an encoder of its own; in training its
            `embeds` and `fused` are of tokens of which some are zeros.

        Raises:
            ValueError: If a modality is unknown, none is given, or the views differ in their modalities.
        """
        names = self._check(modalities)
        for number, view in (("second", augmented_modalities), ("third", third_modalities)):
            if view is not None and self._check(view) != names:
                raise ValueError(f"the {number} view has the modalities {sorted(view)}, the first has {sorted(names)}")
        subsets: list[list[int]] = [[i] for i in range(len(names))] + [list(range(len(names)))]
        present = checked_presence(present, {name: next(iter(modalities[name].values())) for name in names})
        tokens, masks = self._tokens(modalities, augmented_modalities, names, present)
        rows = tokens[0].shape[0]  # `len` would fix the size of an exported graph
        batch = rows if augmented_modalities is None else rows // 2
        if self.training and "token_mask" in self.objective_modules:
            mask = cast(TokenMask, self.objective_modules["token_mask"])
            tokens = mask(tokens, self._places(names), _seeds(mask_seeds, batch, tokens[0].device))
        fused = self._join(tokens, masks, names, subsets)

        def of_subsets(rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            return {name: rows[:, i] for i, name in enumerate(names)}, rows[:, -1]

        embeds, joint = of_subsets(fused[:batch])
        embeddings = Embeddings(embeds=embeds, fused=joint, ids=ids, present=present)
        if self.config.objective == "supcon":
            embeddings.labels = labels
        if augmented_modalities is not None:
            embeddings.augmented, embeddings.fused_augmented = of_subsets(fused[batch:])
        if third_modalities is not None:
            alone = self._fuse(third_modalities, None, names, subsets[:-1], present)
            embeddings.third_augmented = dict(zip(names, alone.unbind(dim=1), strict=True))
        if self.unique is not None:
            own = self.unique(modalities, augmented_modalities, names)
            embeddings.independent = {name: rows[:batch] for name, rows in own.items()}
            if augmented_modalities is not None:
                embeddings.independent_augmented = {name: rows[batch:] for name, rows in own.items()}
        if self.training and "mask_token" in self.objective_modules:
            views = self._fuse_masked(tokens, masks, names, mask_seeds, batch).split(batch)
            embeddings.fused_masked, embeddings.fused_masked_augmented = (*views, None)[:2]
        if return_loss is None:
            return_loss = names == list(self.encoders) and self.has_views(embeddings)
        if return_loss:
            embeddings.loss = self.loss_of(embeddings)
        return embeddings

    def get_fused_features(self, modalities: Modalities, present: Mapping[str, Tensor] | None = None) -> Tensor:
        """The joint representation of whichever modalities are given, `(batch, embed_dim)`, before the head; see
        [`forward`]."""
        names = self._check(modalities)
        present = checked_presence(present, {name: next(iter(modalities[name].values())) for name in names})
        return self._fuse(modalities, None, names, [list(range(len(names)))], present)[:, 0]

    def score(self, embeddings: Embeddings) -> Embeddings:
        """The projection head, with batch statistics of its own for each subset and view, and L2 normalisation; of
        the objective `supcon` the normalisation alone."""
        dtype = float_dtype(self.head)

        def apply(head: Any, rows: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
            """By one head, or by that of each modality."""
            if rows is None:
                return None
            heads: Any = head if isinstance(head, nn.ModuleDict) else dict.fromkeys(rows, head)
            there = {name: embeddings.rows_with(name) for name in rows}
            return {name: heads[name].of_rows(value.to(dtype), there[name]) for name, value in rows.items()}

        def unit(rows: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
            return None if rows is None else {name: F.normalize(value, dim=-1) for name, value in rows.items()}

        def joint(rows: Tensor | None) -> Tensor | None:
            if rows is None:
                return None
            return F.normalize(self.head.of_rows(rows.to(dtype), embeddings.rows_with()), dim=-1)

        def copies(rows: Tensor | None) -> Tensor | None:
            # Each with batch statistics of its own.
            return None if rows is None else torch.stack([cast(Tensor, joint(own)) for own in rows.unbind(1)], dim=1)

        with full_precision(embeddings.device):
            scored = Embeddings(ids=embeddings.ids, present=embeddings.present, labels=embeddings.labels)
            if self.config.objective == "supcon":
                # The fused vectors themselves, without a head; rows that have no modality are in no term.
                for field in ("fused", "fused_augmented"):
                    rows = getattr(embeddings, field)
                    setattr(scored, field, None if rows is None else F.normalize(rows, dim=-1))
                return scored
            if self.unique is None or self.config.regularizers:  # else nothing reads the single modalities
                scored.embeds = unit(apply(self.head, embeddings.embeds))
                scored.augmented = unit(apply(self.head, embeddings.augmented))
            scored.third_augmented = unit(apply(self.head, embeddings.third_augmented))
            scored.fused, scored.fused_augmented = joint(embeddings.fused), joint(embeddings.fused_augmented)
            scored.fused_masked = copies(embeddings.fused_masked)
            scored.fused_masked_augmented = copies(embeddings.fused_masked_augmented)
            for field, rows in (("independent", embeddings.embeds), ("independent_augmented", embeddings.augmented)):
                if "independent" in self.extra_heads:
                    setattr(scored, field, unit(apply(self.extra_heads["independent"], rows)))
            if self.unique is not None:
                scored.independent = unit(apply(self.unique_heads, embeddings.independent))
                scored.independent_augmented = unit(apply(self.unique_heads, embeddings.independent_augmented))
            if "log_variance" in self.extra_heads:
                scored.log_variance = apply(self.extra_heads["log_variance"], embeddings.embeds)
        return scored

    def _check(self, modalities: Modalities) -> list[str]:
        """The given modalities in the order of the config."""
        check_inputs(modalities)
        for name in modalities:
            if name not in self.encoders:
                raise ValueError(f"unknown modality {name!r}: {nearest(name, list(self.encoders))}")
        names = [name for name in self.encoders if name in modalities]
        if not names:
            raise ValueError(f"no modality given: give at least one of {', '.join(self.encoders)}")
        return names

    def _fuse(
        self,
        first: Modalities,
        second: Modalities | None,
        names: Iterable[str],
        subsets: list[list[int]],
        present: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """`(views * batch, subsets, embed_dim)`."""
        return self._join(*self._tokens(first, second, names, present), names, subsets)

    def _join(
        self, tokens: list[Tensor], masks: list[Tensor | None], names: Iterable[str], subsets: list[list[int]]
    ) -> Tensor:
        with full_precision(tokens[0].device):
            return self.fusion(tokens, subsets, masks, self._places(names))

    def _places(self, names: Iterable[str]) -> list[int]:
        return [list(self.encoders).index(name) for name in names]

    def _fuse_masked(
        self, tokens: list[Tensor], masks: list[Tensor | None], names: list[str], seeds: Tensor | None, batch: int
    ) -> Tensor:
        """`(views * batch, copies, embed_dim)`, all modalities fused, with other masks in each view."""
        token, device = cast(MaskToken, self.objective_modules["mask_token"]), tokens[0].device
        seeds = _seeds(seeds, batch, device)
        seeds = torch.cat([seeds, ~seeds])[: len(tokens[0])]
        with full_precision(device):
            masked = token(tokens, masks, self._places(names), seeds)
        repeated = [None if mask is None else mask.repeat_interleave(token.copies, dim=0) for mask in masks]
        fused = self._join(masked, repeated, names, [list(range(len(names)))])
        return fused.squeeze(1).unflatten(0, (-1, token.copies))

    def _tokens(
        self,
        first: Modalities,
        second: Modalities | None,
        names: Iterable[str],
        present: Mapping[str, Tensor] | None = None,
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """`(views * batch, length, embed_dim)` of each modality, and which tokens are real; the encoders may run in
        bf16, everything after them does not."""
        tokens: list[Tensor] = []
        masks: list[Tensor | None] = []
        for name in names:
            views = (first[name], None if second is None else second[name])
            converted, mask = converted_views(self.encoders[name], self.converters[name], *views)
            tokens.append(converted.to(float_dtype(self.fusion)))
            masks.append(mask)
            if present is not None:
                masks[-1] = _of_present(masks[-1], tokens[-1], present[name])
        return tokens, masks


def _seeds(seeds: Tensor | None, batch: int, device: torch.device) -> Tensor:
    """`(batch,)` int64 of the random masks of each row."""
    return torch.randint(2**62, (batch,), device=device) if seeds is None else seeds.to(device)


def _of_present(mask: Tensor | None, tokens: Tensor, present: Tensor) -> Tensor:
    """`(views * batch, length)` bool, the real tokens of the rows that have a modality."""
    there = present.repeat(len(tokens) // len(present))[:, None].expand(tokens.shape[:2])
    return there if mask is None else mask & there


CoMMModel.register_for_auto_class("AutoModel")
