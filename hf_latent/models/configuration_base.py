"""What the configurations of all models share."""

import copy
import difflib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self, get_origin

from torch import nn
from transformers import AutoConfig, AutoFeatureExtractor, PreTrainedConfig

from .audio_towers import tower_config
from .encoders import ENCODERS, kind_of_spec
from .library import from_library
from .plugins import origin
from .registry import nearest

EXTRA_HEADS = ("independent", "log_variance")
# What a model returns that is no prediction of a row: `transformers.Trainer` would pad, gather and keep it.
NOT_PREDICTED = (
    *("loss", "augmented", "independent_augmented", "fused_augmented", "row_losses", "ids", "labels"),
    *("fused_masked", "fused_masked_augmented", "raw", "teacher", "third_augmented"),
    *("last_hidden_state", "logits_per_image", "logits_per_text"),
)


class LatentConfig(PreTrainedConfig):
    """Base of the configurations: one encoder a modality, an objective, and the regularizers that shape the space.

    Args:
        modalities: One encoder a modality, `{name: {"encoder": ..., **arguments}}`; the order is the order of the
            modalities. See `hf_latent.models.encoders` for the encoders. `"frozen": True` keeps one from training.
            `"frames": 8` lets an encoder of images read clips of as many frames.
            `"pretrained": name` of an `auto` encoder is the checkpoint whose weights a training run begins with; its
            configuration is `"config"`, which [`from_checkpoints`] fills in.
        objective: The name of the contrastive objective.
        objective_options: The options of the objective, `{name: value}`; `hf-latent list objectives NAME` shows them.
        regularizers: `{name: {"weight": 1.0, **hyperparameters}}`, see `hf_latent.regularizers`.
        extra_heads: Of `"independent"` and `"log_variance"`, the heads that the regularizers read. Filled in from
            `regularizers` where `hf_latent` is installed. A model that is loaded keeps those that were stored, also
            where a regularizer is of a plug-in that is not installed.
        plugins: The installed packages that its encoders and regularizers are from and their versions,
            `{package: version}`, for messages where one is missing. Filled in.
    """

    modalities: dict[str, dict[str, Any]] = None  # type: ignore[assignment]  # a mutable default is refused
    objective: str = ""
    objective_options: dict[str, Any] = None  # type: ignore[assignment]
    regularizers: dict[str, dict[str, Any]] = None  # type: ignore[assignment]
    extra_heads: list[str] = None  # type: ignore[assignment]
    plugins: dict[str, str] | None = None

    # The options that a model keeps which begins with the weights of another one.
    fixed: ClassVar[tuple[str, ...]] = ("projection_dim", "fusion_layers")
    # The options of a model that training begins with which say nothing of the model that begins.
    not_inherited: ClassVar[tuple[str, ...]] = ()
    # The options that the library sets: no recipe may write them.
    filled_in: ClassVar[frozenset[str]] = frozenset({"plugins"})
    # Whether what is saved beside its models has image settings of each modality, and its tokenizer in a folder.
    by_modality: ClassVar[bool] = False
    # Set by `import hf_latent`, which knows what each regularizer reads.
    heads_of: ClassVar[Callable[[Mapping[str, Mapping[str, Any]], bool], Iterable[str]] | None] = None

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_misspellings(kwargs)
        # Copies: what is filled in below is not written into the caller's dictionaries.
        if not isinstance(self.modalities, Mapping | None):
            raise ValueError(f"modalities={self.modalities!r}: write {{name: {{'encoder': ...}}}}")
        for name, spec in (self.modalities or {}).items():
            if not isinstance(spec, Mapping):
                raise ValueError(f"modalities.{name}={spec!r}: write the encoder, such as {{'encoder': 'cnn'}}")
        if not isinstance(self.objective_options, Mapping | None):
            raise ValueError(f"objective_options={self.objective_options!r}: write the options by their names")
        self.objective_options = copy.deepcopy(dict(self.objective_options or {}))
        self.modalities = {name: copy.deepcopy(dict(spec)) for name, spec in (self.modalities or {}).items()}
        self.fill_heads()
        self.fill_plugins()
        super().__post_init__(**kwargs)
        for name, spec in self.modalities.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise ValueError(f"modality name {name!r}: use letters, digits and underscores")
            if name == "joint" or hasattr(nn.ModuleDict, name):
                raise ValueError(f"modality name {name!r} is taken: choose another, such as {name}_input")
            if not isinstance(spec.get("frozen", False), bool):
                raise ValueError(f"modality {name!r}: frozen={spec['frozen']!r}: write true or false")
            if not isinstance(spec.get("encoder"), str):
                raise ValueError(f"modality {name!r} has no encoder: add one, such as encoder: cnn")
            if spec.get("pretrained") and "config" not in spec:
                self._refuse_unresolved(f"modality {name!r}: pretrained={spec['pretrained']!r}")

    @classmethod
    def from_checkpoints(cls, **options: Any) -> Self:
        """Build a configuration that may name checkpoints, and read theirs.

        The constructor and `from_pretrained` read no checkpoint: a `config.json` cannot make them open a path.

        Args:
            **options: Of the constructor.

        Raises:
            OSError: If a checkpoint cannot be read.
            ValueError: As the constructor.
        """
        return cls(**cls.resolve_checkpoints(options))

    @classmethod
    def resolve_checkpoints(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """`options` with the configuration of each checkpoint that they name without one."""
        resolved = dict(options)
        towers = resolved.get("modalities")
        if isinstance(towers, Mapping):
            resolved["modalities"] = {name: cls._resolve_encoder(spec) for name, spec in towers.items()}
        return resolved

    @classmethod
    def _refuse_unresolved(cls, what: str) -> None:
        raise ValueError(f"{what} without the config of that checkpoint: build it by {cls.__name__}.from_checkpoints")

    @staticmethod
    def _resolve_encoder(spec: Any) -> Any:
        if not isinstance(spec, Mapping) or not spec.get("pretrained") or "config" in spec:
            return spec
        config = tower_config(AutoConfig.from_pretrained(spec["pretrained"]))
        found = {**spec, "config": config.to_dict()}
        if spec.get("encoder") == "auto" and kind_of_spec(found) == "audio":
            found.setdefault("feature_extractor", AutoFeatureExtractor.from_pretrained(spec["pretrained"]).to_dict())
        return found

    def fill_heads(self) -> None:
        """Check the regularizers, and ask for the heads that they read."""
        for name, spec in (self.regularizers or {}).items():
            if not isinstance(spec, Mapping | None):
                raise ValueError(f"regularizers.{name}={spec!r}: write its keys, such as {{'weight': {spec!r}}}")
        self.regularizers = {name: copy.deepcopy(dict(spec or {})) for name, spec in (self.regularizers or {}).items()}
        for head in self.extra_heads or []:
            if head not in EXTRA_HEADS:
                raise ValueError(f"extra_heads: {head!r}: {nearest(head, EXTRA_HEADS)}")
        heads_of = type(self).heads_of
        if self.regularizers and heads_of is None:
            heads_of = from_library("required_heads")
        stored = self.extra_heads is not None  # of a model that is loaded a regularizer may be unknown here
        heads = {*(self.extra_heads or []), *(heads_of(self.regularizers, stored) if heads_of else [])}
        self.extra_heads = [head for head in EXTRA_HEADS if head in heads]

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As the base class; a ValueError where `regularizers` among the keywords names one that is not known."""
        if kwargs.get("regularizers") and cls.heads_of is not None:
            cls.heads_of({name: spec or {} for name, spec in kwargs["regularizers"].items()}, False)
        return super().from_dict(config_dict, **kwargs)

    def fill_plugins(self) -> None:
        """Note the packages that encoders and regularizers are from."""
        encoders = [ENCODERS.get(str(spec.get("encoder"))) for spec in self.modalities.values()]
        known = from_library("REGULARIZERS") if self.regularizers else {}
        found = [origin(cls) for cls in (*encoders, *((known or {}).get(name) for name in self.regularizers)) if cls]
        self.plugins = {**(self.plugins or {}), **dict(filter(None, found))} or None

    def to_json_string(self, use_diff: bool = True) -> str:
        """As the base class, which sorts all keys; the modalities keep their order."""
        values = json.loads(super().to_json_string(use_diff))
        if "modalities" in values:
            values["modalities"] = {name: values["modalities"][name] for name in self.modalities}
        return json.dumps(values, indent=2) + "\n"

    @property
    def kinds(self) -> dict[str, str]:
        """What each modality is: `image`, `text`, ...; "" where its encoder is not known here."""
        return {name: kind_of_spec(spec) for name, spec in self.modalities.items()}

    @property
    def keys_to_ignore_at_inference(self) -> list[str]:
        """The outputs that `transformers.Trainer` leaves out of its predictions."""
        return list(NOT_PREDICTED)

    @classmethod
    def options(cls) -> dict[str, Any]:
        """The names that a recipe may write, with their types."""
        known: dict[str, Any] = {}
        for base in reversed(cls.__mro__[: cls.__mro__.index(PreTrainedConfig)]):
            known |= inspect.get_annotations(base)
        own = {key: kind for key, kind in known.items() if get_origin(kind) is not ClassVar}
        return {key: kind for key, kind in own.items() if key not in cls.filled_in}

    @classmethod
    def _refuse_misspellings(cls, unknown: Iterable[str]) -> None:
        """`PreTrainedConfig` keeps unknown keywords as attributes; one that is nearly ours is a slip."""
        for key in unknown:
            close = difflib.get_close_matches(key, cls.options(), n=1, cutoff=0.8)
            if close:
                raise ValueError(f"unknown key {key!r} of {cls.__name__}: did you mean {close[0]!r}?")

    def _check_choices(self, **known: Iterable[str]) -> None:
        for key, values in known.items():
            if getattr(self, key) not in values:
                raise ValueError(f"{key}={getattr(self, key)!r}: {nearest(getattr(self, key), list(values))}")

    def _check_objective(self, *own: str) -> None:
        """Refuse an objective that is neither one of these nor registered in the library."""
        if self.objective in own:
            return
        library = from_library("OBJECTIVES")
        known = (library or {}).get(self.model_type, {})
        # Without the library nothing is trained: a model that was trained on something else is loaded all the same.
        if library is not None and self.objective not in known:
            raise ValueError(f"objective={self.objective!r}: {nearest(self.objective, [*{*own, *known}])}")

    def _check_counts(self, *keys: str) -> None:
        for key in keys:
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{key}={value!r}: give a whole number of at least 1")

    def _check_temperature(self, temperature: Any) -> None:
        if not isinstance(temperature, int | float) or not 0 < temperature <= sys.float_info.max:
            raise ValueError(f"temperature={temperature!r}: give a number above 0, such as 0.1")
