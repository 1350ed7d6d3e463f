"""Configuration of CoMM."""

import difflib
from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from .encoders import nearest

OBJECTIVES = ("comm", "cross", "cross_self")
LOSS_TERMS = ("both", "joint", "single")
POOLING = ("cls", "mean")


class CoMMConfig(PreTrainedConfig):
    """Configuration of a [`CoMMModel`] (Dufumier, Castillo-Navarro et al., ICLR 2025).

    Args:
        modalities: One encoder a modality, `{name: {"encoder": ..., **arguments}}`; the order is the order of the
            modalities. See `hf_latent.models.encoders` for the encoders. `"frozen": True` keeps one from training.
        embed_dim: Width of the shared tokens and of the fused features.
        fusion_layers: Layers of the fusion transformer.
        fusion_heads: Its attention heads; divides `embed_dim`.
        fusion_pooling: `"cls"` or `"mean"`.
        projection_hidden_dim: Width of the two hidden layers of the projection head.
        projection_dim: Width of the scored embeddings.
        temperature: Of the contrastive logits; fixed, above 0.
        objective: `"comm"`, or one of the paper's baselines on the same encoders, `"cross"` (InfoNCE between the
            modalities) and `"cross_self"` (the same plus InfoNCE between the views of each modality).
        loss_terms: Of CoMM: `"both"`, only the `"joint"` term L, or only the `"single"` terms L_i (the ablations).
        loss_weights: Of CoMM: one weight a term, the modalities in their order and then the joint term. Default 1.

    Raises:
        ValueError: If a value does not fit, or a keyword is a misspelling of one of these.

    Example:

    ```python
    from hf_latent import CoMMConfig

    config = CoMMConfig(
        modalities={"image": {"encoder": "cnn"}, "force": {"encoder": "sequence", "input_dim": 6}}, embed_dim=128
    )
    ```
    """

    model_type = "comm"

    modalities: dict[str, dict[str, Any]] = None  # type: ignore[assignment]  # a mutable default is refused
    embed_dim: int = 512
    fusion_layers: int = 1
    fusion_heads: int = 8
    fusion_pooling: str = "cls"
    projection_hidden_dim: int = 512
    projection_dim: int = 256
    temperature: float = 0.1
    objective: str = "comm"
    loss_terms: str = "both"
    loss_weights: list[float] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_misspellings(kwargs)
        self.modalities = {name: dict(spec) for name, spec in (self.modalities or {}).items()}
        super().__post_init__(**kwargs)
        for key, known in (("objective", OBJECTIVES), ("loss_terms", LOSS_TERMS), ("fusion_pooling", POOLING)):
            if getattr(self, key) not in known:
                raise ValueError(f"{key}={getattr(self, key)!r}: {nearest(getattr(self, key), known)}")
        for key in ("embed_dim", "fusion_layers", "fusion_heads", "projection_hidden_dim", "projection_dim"):
            if not isinstance(getattr(self, key), int) or getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)!r}: give a whole number of at least 1")
        if self.embed_dim % self.fusion_heads:
            raise ValueError(f"embed_dim={self.embed_dim} is not a multiple of fusion_heads={self.fusion_heads}")
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature!r}: give a number above 0, such as 0.1")
        for name, spec in self.modalities.items():
            if not name.isidentifier():
                raise ValueError(f"modality name {name!r}: use letters, digits and underscores")
            if name == "joint" or hasattr(nn.ModuleDict, name):
                raise ValueError(f"modality name {name!r} is taken: choose another, such as {name}_input")
            if "encoder" not in spec:
                raise ValueError(f"modality {name!r} has no encoder: add one, such as encoder: cnn")

    def _refuse_misspellings(self, unknown: Iterable[str]) -> None:
        """`PreTrainedConfig` keeps unknown keywords as attributes; one that is nearly ours is a slip."""
        for key in unknown:
            close = difflib.get_close_matches(key, CoMMConfig.__annotations__, n=1, cutoff=0.8)
            if close:
                raise ValueError(f"unknown key {key!r} of CoMMConfig: did you mean {close[0]!r}?")


CoMMConfig.register_for_auto_class()
