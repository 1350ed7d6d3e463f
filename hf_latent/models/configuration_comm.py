"""Configuration of CoMM."""

from typing import Any, ClassVar

from .configuration_base import LatentConfig

OBJECTIVES = ("comm", "cross", "cross_self", "supcon", "labels")
LOSS_TERMS = ("both", "joint", "single")
FUSIONS = ("attention", "linear", "mlp")
POOLING = ("cls", "mean")
CONVERTERS = ("linear", "identity")
PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


class CoMMConfig(LatentConfig):
    """Configuration of a [`CoMMModel`] (Dufumier, Castillo-Navarro et al., ICLR 2025).

    Args:
        modalities, extra_heads: As in [`LatentConfig`].
        regularizers: As in [`LatentConfig`]; they read the scored embeddings of the single modalities, never the
            fused one.
        embed_dim: Width of the shared tokens and of the fused features.
        fusion: What fuses the tokens of the modalities: `"attention"`, a Transformer over all of them (the paper's);
            or, as its ablations, one vector a modality, the mean of its tokens, concatenated and mapped by a
            `"linear"` layer or an `"mlp"` of two layers. Zeros stand in place of a modality that is left out.
        fusion_layers: Layers of the fusion transformer.
        fusion_heads: Its attention heads; divides `embed_dim`.
        fusion_pooling: Of the fusion transformer: `"cls"`, a learned token, or `"mean"`, the mean of all tokens.
        converter: What brings the tokens of an encoder to `embed_dim`: a `"linear"` layer (the paper's "latent
            converter"), or `"identity"` for encoders whose tokens are as wide.
        positions: Whether tokens of images get fixed 2-D positions, as the paper's do.
        projection_hidden_dim: Width of the two hidden layers of the projection head.
        projection_dim: Width of the scored embeddings.
        temperature: Of the contrastive logits; fixed, above 0. The paper has 0.07 for `"supcon"`.
        objective: `"comm"`, or one of the paper's baselines on the same encoders, `"cross"` (InfoNCE between the
            modalities) and `"cross_self"` (the same plus InfoNCE between the views of each modality); or `"supcon"`, a
            contrast by labels. `"labels"` is that of a [`CoMMForSequenceClassification`], which sets it itself.
            `hf-latent list objectives` shows all, such as `"infmasking"`, or `"coral"`, which gives each modality a
            second encoder.
        loss_terms: Of CoMM: `"both"`, only the `"joint"` term L, or only the `"single"` terms L_i (the ablations).
        loss_weights: Of CoMM: one weight a term, the modalities in their order and then the joint term. Default 1.
        modality_dropout: The share of the rows, 0 or more and below 1, that lack a modality in training: each
            modality of a row is left out of the fusion with this probability, and one at least is kept. It is drawn
            by `LatentTrainer`, as views are: by seed and row, the same on one process and on many, and never in
            evaluation. It keeps a model usable with single modalities.
        problem_type: Of a model with a head: `"single_label_classification"`, `"multi_label_classification"` or
            `"regression"`. A recipe takes it from the data by default.
        frozen: Of a model with a head: only the head is trained, and encoders and fusion stay as they were
            pre-trained, without dropout.
        classifier_dropout: Of a model with a head: the dropout on the fused vector, 0 or more and below 1.

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

    embed_dim: int = 512
    fusion: str = "attention"
    fusion_layers: int = 1
    fusion_heads: int = 8
    fusion_pooling: str = "cls"
    converter: str = "linear"
    positions: bool = True
    projection_hidden_dim: int = 512
    projection_dim: int = 256
    temperature: float = 0.1
    objective: str = "comm"
    loss_terms: str = "both"
    loss_weights: list[float] | None = None
    modality_dropout: float = 0.0
    problem_type: str | None = None  # type: ignore[assignment]
    frozen: bool = False
    classifier_dropout: float = 0.0

    fixed: ClassVar[tuple[str, ...]] = (
        *("embed_dim", "fusion", "fusion_layers", "fusion_heads", "fusion_pooling", "converter", "positions"),
        *("projection_hidden_dim", "projection_dim"),
    )

    by_modality: ClassVar[bool] = True
    not_inherited: ClassVar[tuple[str, ...]] = ("classifier_dropout", "frozen", "modality_dropout", "problem_type")

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self._check_objective(*OBJECTIVES)
        self._check_choices(loss_terms=LOSS_TERMS, fusion=FUSIONS, fusion_pooling=POOLING, converter=CONVERTERS)
        self._check_counts("embed_dim", "fusion_layers", "fusion_heads", "projection_hidden_dim", "projection_dim")
        self._check_temperature(self.temperature)
        if self.problem_type is not None:
            self._check_choices(problem_type=PROBLEMS)
        for key in ("modality_dropout", "classifier_dropout"):
            share = getattr(self, key)
            if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share < 1:
                raise ValueError(f"{key}={share!r}: write a number from 0 to below 1, such as 0.3")
        for key in ("positions", "frozen"):
            if not isinstance(getattr(self, key), bool):
                raise ValueError(f"{key}={getattr(self, key)!r}: write true or false")
        if self.objective == "supcon" and self.regularizers:
            raise ValueError(
                f"regularizers {', '.join(self.regularizers)}: the objective supcon has no embeddings of the single "
                "modalities that they could shape; leave them out"
            )
        if self.fusion != "attention":
            for key in ("fusion_layers", "fusion_heads", "fusion_pooling"):
                if getattr(self, key) != getattr(CoMMConfig, key):
                    raise ValueError(
                        f"{key}={getattr(self, key)!r} is of fusion: attention, and fusion is {self.fusion}: leave "
                        f"{key} out"
                    )
        elif self.embed_dim % self.fusion_heads:
            raise ValueError(f"embed_dim={self.embed_dim} is not a multiple of fusion_heads={self.fusion_heads}")


CoMMConfig.register_for_auto_class()
