"""What every model returns, and the base class that every model shares."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import ModelOutput, is_torchdynamo_exporting

from .encoders import AutoEncoder, Encoder, build_encoder
from .library import from_library
from .objective_modules import ObjectiveModule
from .peft_folder import adapted_model
from .plugins import missing
from .registry import UnknownNameError

FIELDS = (
    *("embeds", "augmented", "independent", "independent_augmented", "log_variance"),
    *("fused", "fused_augmented", "fused_masked", "fused_masked_augmented", "row_losses"),
    *("raw", "teacher", "third_augmented"),
)
# What is scored on the unit sphere where every modality has its own projection.
VECTORS = ("embeds", "augmented", "independent", "independent_augmented", "teacher")
# Fields that a model fills only where its objective reads them; see `LatentPreTrainedModel.on_request`.
ON_REQUEST = frozenset({"raw", "teacher"})
# What only training needs of a model of this library, by the beginning of its names.
TRAINING_STATE = ("momentum.", "feature_queue.", "teacher.")


@dataclass
class Embeddings(ModelOutput):
    """The embeddings of one batch, keyed by modality name. Tensors are `(batch, dim)` where nothing else is said.

    Attributes:
        loss: Scalar objective, where it was asked for. It stands first: `outputs[0]` is then the loss, and a
            `ModelOutput` whose first field is a dict loses that field when it is unpacked.
        embeds: One embedding for each modality.
        augmented: The same for the second view of the batch.
        independent: What each modality tells alone, from a head of its own (deep feature separation), or from an
            encoder and a head of its own (COrAL).
        independent_augmented: The same for the second view.
        log_variance: The logarithm of the variance of each coordinate of `embeds` (information bottleneck).
        fused: The joint embedding of all modalities that were given.
        fused_augmented: The same for the second view.
        fused_masked: `(batch, copies, dim)`, the joint embeddings of copies of which random tokens are masked; only of
            a model that trains with an objective that masks.
        fused_masked_augmented: The same for the second view.
        row_losses: Losses that need tokens, which an objective never sees, by their names: `(batch, sums + 1)`, the
            sums over the tokens or pairs of each row, and last how many they were.
        present: `(batch,)` bool of each modality, the rows that have it; None where every row has all. What stands in
            the others is a placeholder, which no term of an objective reads.
        ids: `(batch,)` int64. Rows with the same id are positives of each other; without ids every row is its own.
        labels: `(batch,)` int64, the class of each row, -1 of a row without one; only where the objective reads them.
        raw: `embeds` before the L2 normalisation, where the objective reads them; of scored embeddings alone.
        teacher: `embeds` of the same rows by the model that training began with, where the objective reads them.
        third_augmented: As `augmented` of a third view, where the objective reads one.
    """

    loss: Tensor | None = None
    embeds: dict[str, Tensor] | None = None
    augmented: dict[str, Tensor] | None = None
    independent: dict[str, Tensor] | None = None
    independent_augmented: dict[str, Tensor] | None = None
    log_variance: dict[str, Tensor] | None = None
    fused: Tensor | None = None
    fused_augmented: Tensor | None = None
    fused_masked: Tensor | None = None
    fused_masked_augmented: Tensor | None = None
    row_losses: dict[str, Tensor] | None = None
    present: dict[str, Tensor] | None = None
    ids: Tensor | None = None
    labels: Tensor | None = None
    raw: dict[str, Tensor] | None = None
    teacher: dict[str, Tensor] | None = None
    third_augmented: dict[str, Tensor] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # `ModelOutput` keeps what is set later behind what was there before: keep the order of the fields.
        names = [field.name for field in fields(self)]
        for later in names[names.index(name) + 1 :] if name in self else ():
            if later in self:
                self.move_to_end(later)

    def tensors(self) -> list[Tensor]:
        """All embeddings, in the order in which `map` visits them."""
        found: list[Tensor] = []

        def note(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.map(note)
        return found

    @property
    def device(self) -> torch.device:
        """Where they are; parameters that are offloaded are elsewhere."""
        return next((rows.device for rows in self.tensors()), torch.device("cpu"))

    @classmethod
    def join(cls, parts: Sequence["Embeddings"]) -> "Embeddings":
        """The rows of several batches, one after the other; `loss` is dropped."""
        columns = iter([torch.cat(column) for column in zip(*(part.tensors() for part in parts), strict=True)])
        whole = parts[0].map(lambda _: next(columns))
        ids = [part.ids for part in parts if part.ids is not None]
        whole.ids = torch.cat(ids) if ids else None
        labels = [part.labels for part in parts if part.labels is not None]
        whole.labels = torch.cat(labels) if labels else None
        present = [part.present for part in parts if part.present is not None]
        whole.present = {name: torch.cat([own[name] for own in present]) for name in present[0]} if present else None
        return whole

    def rows_with(self, *modalities: str) -> Tensor | None:
        """`(batch,)` bool, the rows that have all of these modalities, or any at all where none is named; None where
        every row has all."""
        if self.present is None:
            return None
        own = torch.stack([self.present[name] for name in modalities or self.present])
        return own.all(dim=0) if modalities else own.any(dim=0)

    def having(self, *modalities: str) -> "Embeddings":
        """The rows that have all of these modalities, with what is of these modalities and of all together; without
        names the rows that have any, with all that they have. `present` is dropped."""
        there = self.rows_with(*modalities)
        if there is None:
            return self
        kept: dict[str, Any] = {}
        for field in FIELDS:
            value = getattr(self, field)
            own = isinstance(value, dict) and modalities
            kept[field] = {name: value[name] for name in modalities if name in value} if own else value
        return Embeddings(**kept, ids=self.ids, labels=self.labels).take(there.nonzero().squeeze(1))

    def take(self, rows: slice | Tensor) -> "Embeddings":
        """Some of the rows; `loss` is dropped."""
        part = self.map(lambda own: own[rows])
        part.ids = None if self.ids is None else self.ids[rows]
        part.labels = None if self.labels is None else self.labels[rows]
        part.present = None if self.present is None else {name: own[rows] for name, own in self.present.items()}
        return part

    def map(self, function: Callable[[Tensor], Tensor], fields: Collection[str] = FIELDS) -> "Embeddings":
        """A copy with `function` applied to every embedding of `fields`, the others, `present`, `ids` and `labels`
        as they are; `loss` is dropped."""

        def visit(value: Any) -> Any:
            if isinstance(value, Tensor):
                return function(value)
            return {name: function(tensor) for name, tensor in value.items()} if value is not None else None

        kept = {field: getattr(self, field) for field in FIELDS}
        visited = {name: visit(kept[name]) if name in fields else kept[name] for name in kept}
        return Embeddings(**visited, present=self.present, ids=self.ids, labels=self.labels)


@dataclass
class HardNegatives:
    """The inputs of one modality that the rows of a batch need beside their own.

    Attributes:
        places: `(batch,)`, where the hard negative of a row stands: in the batch or, counted on, in `inputs`; -1 for
            none.
        inputs: As `forward` reads them; empty where the batch holds all of them.
    """

    places: Tensor
    inputs: dict[str, Tensor]


class LatentPreTrainedModel(PreTrainedModel):
    """Base class of the models: they embed a batch, they score the embeddings, and an objective does the rest.

    A subclass gives `forward(**batch) -> Embeddings`, which never looks across the rows of a batch, and
    `score(Embeddings) -> Embeddings`, which applies the heads and the L2 normalisation to a whole batch.
    """

    base_model_prefix = ""
    config: Any
    encoders: nn.ModuleDict
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    # Of a model with a head: its objective, and the name of its losses of rows. None of one without.
    task: ClassVar[str | None] = None
    # The layer of a head with a row for each label, where there is one: it is new where the labels are others than
    # those of the model that training begins with.
    label_layer: ClassVar[str | None] = None
    # The options of the config that this model does not read: a recipe may not write them.
    unread_options: ClassVar[frozenset[str]] = frozenset()
    # The loss is a mean over the batch: the Trainer must not rescale it under gradient accumulation.
    accepts_loss_kwargs = False
    # Whether the modalities are embedded in one space, where their cosines are trained.
    compared: ClassVar[bool] = False
    # The children that work on whole gathered batches; all others keep the rows of a batch apart.
    scoring_modules: ClassVar[frozenset[str]] = frozenset()
    # Whether a row may lack a modality; see `Embeddings.present`.
    supports_missing: ClassVar[bool] = False
    # The modalities whose first view its paper augments too: True for all, False for none.
    augments_first_view: ClassVar[bool | frozenset[str]] = False
    # Those of `ON_REQUEST` that it can fill.
    on_request: ClassVar[frozenset[str]] = frozenset()
    # Whether `save_pretrained` keeps what only training needs. The Trainer sets it while it writes a checkpoint.
    keep_training_state = False
    # Set by `import hf_latent`; code that was loaded from the Hub looks for the package (`objective_builder`).
    build_objective: ClassVar[Callable[[Any], Any] | None] = None
    # The Auto classes that load a folder which this class has saved, as `auto_map` in its config names them.
    auto_map: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any) -> None:
        self._attention_asked_for = config._attn_implementation
        config.fill_heads()  # `from_pretrained(..., regularizers=...)` sets them after the config was made
        super().__init__(config)
        # The objective that a model has by default trains nothing of its own: the library need not be imported.
        own = from_library("objective_modules") if config.objective != type(config).objective else None
        self.objective_modules = nn.ModuleDict({} if own is None else own(config))

    def build_encoders(self, tokens_only: bool = False) -> nn.ModuleDict:
        """The encoders that the config names, in its order; a ValueError says which modality has a mistake."""
        encoders = nn.ModuleDict()
        for name, spec in self.encoder_specs.items():
            try:
                encoder = build_encoder({key: value for key, value in spec.items() if key != "frozen"})
            except ValueError as error:
                raise ValueError(f"modality {name!r}: {error}{missing(self.config.plugins)}") from None
            if tokens_only:
                encoder.drop_pooler()
            encoders[name] = encoder
            for model in encoder.tower.children():
                if self._attention_asked_for and isinstance(model, PreTrainedModel) and model._supports_sdpa:
                    model.set_attn_implementation(self._attention_asked_for)
        return encoders

    @property
    def encoder_specs(self) -> dict[str, dict[str, Any]]:
        """What each encoder is built from; see `build_encoder`."""
        return self.config.modalities

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As the base class; of a folder with adapters and no weights, the model that they name, with them in it.

        Raises:
            ValueError: If the adapters name no model.
        """
        folder = pretrained_model_name_or_path
        base = adapted_model(folder, kwargs.get("subfolder") or "")
        if base is not None:
            adapters = {"_adapter_model_path": folder, **(kwargs.pop("adapter_kwargs", None) or {})}
            folder, kwargs = base, {**kwargs, "adapter_kwargs": adapters}
        return super().from_pretrained(folder, *args, **kwargs)

    def _text_encoder(self) -> tuple[str, AutoEncoder]:
        """The only encoder of transformers that reads text, with its name."""
        texts = [(n, e) for n, e in self.encoders.items() if isinstance(e, AutoEncoder) and e.kind == "text"]
        if len(texts) != 1:
            raise NotImplementedError(
                f"{len(texts)} modalities of this model are text: ask the model of encoders[name]"
            )
        return texts[0]

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings of the text encoder."""
        return self._text_encoder()[1].model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self._text_encoder()[1].model.set_input_embeddings(value)

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **options: Any) -> Any:
        """As the base class, of the text encoder; its config is told."""
        name, encoder = self._text_encoder()
        table = encoder.model.resize_token_embeddings(new_num_tokens, *args, **options)
        self.config.modalities[name]["config"]["vocab_size"] = table.weight.shape[0]
        return table

    def load_pretrained(self) -> None:
        """Fill the encoders that name a checkpoint (`pretrained`) with its weights; the others stay as they are."""
        for name, encoder in self.encoders.items():
            cast(Encoder, encoder).load_pretrained()
            tower = cast(Encoder, encoder).tower
            if isinstance(tower, AutoEncoder) and tower.pooling is not None:
                self.config.modalities[name]["pooling"] = tower.pooling  # as it turned out, for who loads it again

    def resize_images(self, name: str, size: int) -> bool:
        """Let an image modality expect square pictures of `size` pixels; see [`AutoEncoder.resize_images`].

        A momentum copy is changed alike, and the config names the new size. Call it before an optimizer is made.
        """
        found = [m for path, m in self.named_modules() if f".{path}".endswith(f".encoders.{name}")]
        towers = [cast(Encoder, encoder).tower for encoder in found]
        changed = [tower.resize_images(size) for tower in towers if isinstance(tower, AutoEncoder)]
        if not any(changed):
            return False
        for model in self.modules():
            if isinstance(model, LatentPreTrainedModel):
                model.config.modalities[name]["config"]["image_size"] = size
        return True

    @property
    def frozen_encoders(self) -> list[str]:
        return [name for name, spec in self.config.modalities.items() if spec.get("frozen")]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for name in self.frozen_encoders:
            self.encoders[name].eval()
        return self

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """As the base class; then freeze what the config freezes, which loading would otherwise undo."""
        super().initialize_weights()
        for module in self.objective_modules.modules():
            if isinstance(module, ObjectiveModule) and not module.learned:
                module.requires_grad_(False)
        for name in self.frozen_encoders:
            self.encoders[name].requires_grad_(False)

    @classmethod
    def objective_builder(cls) -> Callable[[Any], Any] | None:
        """What makes the objective of a config; None where hf_latent is not installed."""
        return cls.build_objective or from_library("build_objective")

    @property
    def objective(self) -> Any:
        """The training objective that the config names, built once."""
        if getattr(self, "_objective", None) is None:
            build = self.objective_builder()
            if build is None:
                raise ImportError("The loss needs the training code, which is in the library hf_latent: install it")
            objective = build(self.config)
            unknown = sorted(objective.requires & ON_REQUEST - self.on_request)
            if unknown:
                name = type(self).__name__
                raise ValueError(
                    f"a regularizer reads {', '.join(unknown)}, which a {name} does not give: leave it out"
                )
            self._objective = objective
        return self._objective

    @property
    def scale(self) -> Tensor | float:
        """The inverse temperature of the contrastive logits."""
        raise NotImplementedError

    @property
    def modality_dropout(self) -> float:
        """The probability with which a modality of a row is left out in training; see `training.LatentTrainer`."""
        return 0.0

    @property
    def draws_masks(self) -> bool:
        """Whether its training reads `mask_seeds`, a number a row that its random masks depend on."""
        return False

    @property
    def queue(self) -> Embeddings | None:
        """Scored embeddings of earlier batches, where the model keeps them for its objective."""
        return None

    def first_pass(self, **batch: Any) -> tuple[Embeddings, Any]:
        """The first of the gradient cache's two passes over a chunk, without gradients.

        Returns:
            Its embeddings, and what the second pass is to know; not None where that one adds the losses of the rows,
            of which these embeddings hold no more than the counts.
        """
        return self(**batch, return_loss=False), None

    def choose_hard_negatives(self, embeddings: Embeddings) -> dict[str, Tensor]:
        """Told the embeddings of all rows of a process between the passes: `(rows,)` for each modality, the row whose
        input of that modality the second pass of a row needs, too."""
        return {}

    def second_pass(self, known: Any, hard_negatives: Mapping[str, "HardNegatives"], **batch: Any) -> Embeddings:
        """The second pass, with gradients."""
        return self(**batch, return_loss=False)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """As the base class. Checkpoints hold the names of the modules: a Trainer that resumes looks for these, not
        for those of the older versions of transformers, which are written otherwise (of a ViT, say)."""
        if self.keep_training_state:
            kwargs.setdefault("save_original_format", False)
        else:
            whole = kwargs.get("state_dict") or self.state_dict()
            kept = {name: tensor for name, tensor in whole.items() if not name.startswith(TRAINING_STATE)}
            if len(kept) < len(whole):
                kwargs["state_dict"] = kept
        self.name_auto_classes()
        super().save_pretrained(*args, **kwargs)
        if not self.is_remote_code() and self._auto_class is not None and kwargs.get("is_main_process", True):
            # A class of a plug-in: the code beside the weights is that of the class that it extends.
            own = next(cls for cls in type(self).__mro__ if "_auto_class" in vars(cls))
            custom_object_save(own, kwargs["save_directory"] if "save_directory" in kwargs else args[0])

    @classmethod
    def is_remote_code(cls) -> bool:
        """Whether the code of this very class is saved with its weights; a subclass has to be registered itself."""
        return vars(cls).get("_auto_class") is not None

    def name_auto_classes(self) -> None:
        """Write `auto_map` into the config, which says what `trust_remote_code` loads of the folder."""
        self.config.auto_map = dict(self.auto_map)

    def prepare_training(self) -> None:
        """Make what only training needs, before a checkpoint is read."""

    def on_train_begin(self) -> None:
        """Told by `LatentTrainer.train` that training begins or goes on, before anything is loaded for it."""

    def on_batch_scored(self, embeddings: Embeddings) -> None:
        """Told the scored embeddings of every training batch, of all processes."""

    def pack(
        self,
        modalities: Mapping[str, Any],
        augmented: Mapping[str, Any] | None = None,
        ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Any]:
        """The arguments of `forward` for the inputs of each modality, of one view or two, and for the labels, where
        the model reads any."""
        raise NotImplementedError

    def score(self, embeddings: Embeddings) -> Embeddings:
        """Heads and L2 normalisation; `embeddings` holds the whole batch."""
        raise NotImplementedError

    def has_views(self, embeddings: Embeddings) -> bool:
        """Whether a batch holds all that the objective, if there is one, reads; an exported graph has none."""
        if is_torchdynamo_exporting() or self.objective_builder() is None:
            return False
        try:
            _ = self.objective
        except UnknownNameError:  # a regularizer of a plug-in that is not installed
            if self.training:
                raise
            return False
        if any(getattr(embeddings, field) is None for field in self.objective.requires - {"raw"}):
            return False
        return self.second_views(embeddings.embeds or {}) <= set(embeddings.augmented or {})

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        """Those of the modalities whose second view the objective needs."""
        return self.objective.second_views(modalities)

    def objective_of(
        self, scored: Embeddings, *, rows: slice | None = None, progress: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective of the scored embeddings of a whole batch, and its terms.

        Args:
            scored: As [`score`] gives them.
            rows: Those that this process scores; all by default.
            progress: The share of training that is done. Of a schedule it is the end that counts, where nobody knows.
        """
        own = {"modules": self.objective_modules} if len(self.objective_modules) else {}
        return self.objective(scored, self.scale, rows=rows, progress=progress, queue=self.queue, **own)

    @torch.compiler.disable  # it goes over a batch in tiles: compiled anew for each size, and no faster for it
    def loss_of(self, embeddings: Embeddings) -> Tensor:
        """The objective of one whole batch of raw embeddings, as a scalar."""
        return self.objective_of(self.score(embeddings))[0]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Encoders trained from scratch want a fan-in initialisation; a fixed 0.02 starves small convolutions.
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, ObjectiveModule):
            module.initialize()
        elif isinstance(module, LogitScale):
            init.copy_(module.weight, torch.tensor(1 / module.temperature).log())
        else:
            super()._init_weights(module)


class LogitScale(nn.Module):
    """The logarithm of the inverse temperature. A module, so that PEFT's `modules_to_save` can name it."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.weight = nn.Parameter(torch.tensor(1 / temperature).log())

    def forward(self) -> Tensor:
        return wide(self.weight).exp()

    @torch.no_grad()
    def keep_between(self, lowest: float, highest: float) -> None:
        """Keep the temperature in a range."""
        low, high = (torch.tensor(1 / temperature).log().item() for temperature in (highest, lowest))
        self.weight.clamp_(low, high)


def image_inputs(pixel_values: Tensor | None) -> dict[str, Tensor]:
    """The arguments of an image encoder, none if there is no image."""
    return {} if pixel_values is None else {"pixel_values": pixel_values}


def text_inputs(*inputs: Tensor | None) -> dict[str, Tensor]:
    """The arguments of a text encoder, `input_ids`, `attention_mask` and `token_type_ids`, where they are not None."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: tensor for name, tensor in zip(names, inputs, strict=True) if tensor is not None}


def check_inputs(modalities: Any) -> None:
    """A ValueError unless these are the inputs of modalities by their names."""
    if not isinstance(modalities, Mapping):
        raise ValueError(f"modalities is a {type(modalities).__name__}: give {{name: inputs}}, as the processor does")
    for name, inputs in modalities.items():
        if not isinstance(inputs, Mapping):
            raise ValueError(
                f"modalities[{name!r}] is a {type(inputs).__name__}: give the inputs of its encoder by their names, "
                "such as {'values': tensor}, as the processor does"
            )


def checked_presence(present: Mapping[str, Tensor] | None, rows: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """`present` of a batch, of the modalities that were given, as bools.

    Args:
        present: As `forward` takes it.
        rows: `(batch, ...)` of each modality that was given.

    Raises:
        ValueError: If a modality is missing in it, or its length is not that of the batch.
    """
    if present is None:
        return None
    for name, own in rows.items():
        if name not in present:
            raise ValueError(f"present says nothing of the modality {name!r}: give a bool a row, (batch,)")
        if present[name].shape != own.shape[:1]:
            raise ValueError(f"present[{name!r}] is {tuple(present[name].shape)}: give a bool a row, ({len(own)},)")
    return {name: present[name].bool() for name in rows}


def fit_together(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether the inputs of two views have the same keys and shapes; sentences may differ in length."""
    return first.keys() == second.keys() and all(first[name].shape == second[name].shape for name in first)


def concatenate_views(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stack the inputs of two views along the batch, so that one call encodes both."""
    return {name: torch.cat([first[name], second[name]]) for name in first}


def wide(rows: Tensor) -> Tensor:
    """Float32, unless it is float64 already."""
    return rows if rows.dtype == torch.float64 else rows.float()


def full_precision(device: torch.device) -> torch.autocast:
    """Leave autocast: early in training the features nearly coincide, and bf16 turns the gradient by 55 degrees."""
    return torch.autocast(device.type, enabled=False)
