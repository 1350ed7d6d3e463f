"""The parts of LatentALBEF: the fusion of text with image tokens, and the head that guesses masked words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import (
    BertAttention,
    BertCrossAttention,
    BertIntermediate,
    BertOutput,
    eager_attention_forward,
)

from .encoders import AutoEncoder, Encoder, EncoderOutput
from .latent_converter import LatentConverter

IGNORED = -100  # the label of a token that is not guessed


@dataclass(frozen=True)
class TokensRead:
    """Some tokens of a padded batch of texts.

    Attention needs the tokens of a row side by side, everything else takes them one after the other.

    Attributes:
        rows, places: `(count,)`, the row of each and its place in it.
        turns: `(count,)`, how many of its row come before it.
        batch: How many rows there are.
        most: How many tokens a row has at most, 1 or more.
    """

    rows: Tensor
    places: Tensor
    turns: Tensor
    batch: int
    most: int

    @classmethod
    def first(cls, batch: int, device: torch.device) -> Self:
        """The first token of each row."""
        rows, zeros = torch.arange(batch, device=device), torch.zeros(batch, dtype=torch.long, device=device)
        return cls(rows, zeros, zeros, batch, 1)

    @classmethod
    def where(cls, mask: Tensor) -> Self:
        """The tokens at which `mask`, `(batch, length)` bool, is true."""
        counts = mask.cumsum(dim=1)
        held = counts[:, -1].tolist()  # the host waits for it: once, where `nonzero` would wait again
        found = mask.flatten().byte().argsort(descending=True, stable=True)[: sum(held)]
        rows, places = found // mask.shape[1], found % mask.shape[1]
        return cls(rows, places, counts[rows, places] - 1, len(mask), max([*held, 1]))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Those of batches that are put one behind the other."""
        begins = list(accumulate((part.batch for part in parts), initial=0))
        rows = torch.cat([part.rows + begin for part, begin in zip(parts, begins, strict=False)])
        places, turns = torch.cat([part.places for part in parts]), torch.cat([part.turns for part in parts])
        return cls(rows, places, turns, begins[-1], max(part.most for part in parts))

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, *args: Any, **options: Any) -> Self:
        """On another device; accelerate moves by this name what a layer is given."""
        rows, places, turns = (part.to(*args, **options) for part in (self.rows, self.places, self.turns))
        return replace(self, rows=rows, places=places, turns=turns)

    def of(self, texts: Tensor) -> Tensor:
        """`(batch, length, dim)`, the texts -> `(count, dim)`."""
        return texts.flatten(0, 1).index_select(0, self.rows * texts.shape[1] + self.places)

    def side_by_side(self, tokens: Tensor) -> Tensor:
        """`(count, dim)` -> `(batch, most, dim)`, zeros behind the tokens of a row."""
        rows = tokens.new_zeros(self.batch * self.most, tokens.shape[-1])
        return rows.index_copy(0, self.rows * self.most + self.turns, tokens).unflatten(0, (self.batch, self.most))

    def one_by_one(self, rows: Tensor) -> Tensor:
        """The way back from `side_by_side`."""
        return rows.flatten(0, 1).index_select(0, self.rows * self.most + self.turns)


class FusionAttention(BertCrossAttention):
    """BERT's attention. Keys and values of an image that several texts see are made once; queries may be those of a
    few tokens.

    Attributes:
        tied_to: The attention whose `key` and `value` this one uses in place of its own; None by default.
    """

    tied_to: "FusionAttention | None" = None

    def tie_projections(self, other: "FusionAttention") -> None:
        """Use the projections of another one from now on, also those that come to stand in their places, as
        adapters do."""
        del self.key, self.value
        # Past `Module.__setattr__`: the weights belong to the other one, under one name.
        object.__setattr__(self, "tied_to", other)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        images: Tensor | None = None,
        read: TokensRead | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Args:
            hidden_states: `(batch, length, hidden_size)` what asks, or `(count, hidden_size)` with `read`.
            encoder_hidden_states: `(batch, tokens, hidden_size)` what is looked at; by default `hidden_states`.
            attention_mask: As `create_bidirectional_mask` gives it.
            images: `(batch,)`, the row of `encoder_hidden_states` that each text sees; by default text i sees row i.
            read: Which tokens of the batch ask.

        Returns:
            What they see, as `hidden_states`, and the weights of `eager`; with `read` those of `read.side_by_side`.
        """

        def heads(rows: Tensor) -> Tensor:
            return rows.view(*rows.shape[:-1], -1, self.attention_head_size).transpose(1, 2)

        owner = self if self.tied_to is None else self.tied_to
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        key, value = (heads(part(seen)) for part in (owner.key, owner.value))
        if images is not None:
            key, value = key.index_select(0, images), value.index_select(0, images)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.dropout.p if self.training else 0.0
        query = self.query(hidden_states)
        if read is not None:
            query = read.side_by_side(query)
            attention_mask = None if attention_mask is None else attention_mask[:, :, :1]  # equal for all that ask
        context, weights = attend(
            self, heads(query), key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        context = context.flatten(2)
        return context if read is None else read.one_by_one(context), weights


class CrossAttentionLayer(GradientCheckpointingLayer):
    """A layer of BERT that attends to the image between its self-attention and its feed-forward part.

    Text attends to text in both directions; `BertLayer` itself has a cross-attention only as a causal decoder.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention, self.crossattention = BertAttention(config), BertAttention(config, is_cross_attention=True)
        self.attention.self, self.crossattention.self = FusionAttention(config), FusionAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(
        self,
        hidden: Tensor,
        image_tokens: Tensor,
        mask: Tensor | None,
        images: Tensor | None = None,
        read: TokensRead | None = None,
    ) -> Tensor:
        """
        Args:
            hidden: `(batch, length, hidden_size)`, the text.
            image_tokens: `(images, tokens, hidden_size)`.
            mask: Of the text, as `create_bidirectional_mask` gives it.
            images: `(batch,)`, the image of each text; by default text i sees image i.
            read: The tokens whose outputs are wanted; by default all.

        Returns:
            As `hidden`, or `(count, hidden_size)` of those that are read.
        """
        own = hidden if read is None else read.of(hidden)
        hidden = self.attention(own, mask, hidden, read=read)[0]
        hidden = self.crossattention(hidden, None, image_tokens, None, images=images, read=read)[0]
        return self.output(self.intermediate(hidden), hidden)


class FusionEncoder(nn.Module):
    """The last layers of BERT, with cross-attention to the tokens of an image.

    Args:
        config: Of the BERT; its attention implementation is that of the layers.
        num_layers: How many layers.
        image: The image encoder. The tokens of a transformer as wide as BERT are taken as they are; others are
            projected, and those of a feature map get 2-D positions.
    """

    def __init__(self, config: BertConfig, num_layers: int, image: Encoder) -> None:
        super().__init__()
        self.config = config
        fits = isinstance(image, AutoEncoder) and image.hidden_size == config.hidden_size
        self.converter = None if fits else LatentConverter(image.hidden_size, config.hidden_size)
        self.layer = nn.ModuleList(CrossAttentionLayer(config) for _ in range(num_layers))

    def initialize(self) -> None:
        """As BERT; what was loaded stays."""
        initialize_as_bert(self.modules(), self.config.initializer_range)

    def image_tokens(self, output: EncoderOutput) -> Tensor:
        """`(batch, tokens, hidden_size)`, what the cross-attention reads."""
        return output.tokens if self.converter is None else self.converter(output)  # type: ignore[return-value]

    def forward(
        self,
        text_tokens: Tensor,
        image_tokens: Tensor,
        attention_mask: Tensor | None = None,
        images: Tensor | None = None,
        read: TokensRead | None = None,
    ) -> Tensor:
        """
        Args:
            text_tokens: `(batch, length, hidden_size)`, from the layers that read text alone.
            image_tokens: `(images, tokens, hidden_size)`, from `image_tokens`.
            attention_mask: `(batch, length)` and no other shape, 1 or True at real tokens; None where all are.
            images: `(batch,)`, the image that each text sees; by default text i sees image i.
            read: The tokens whose outputs are wanted; the last layer makes no others.

        Returns:
            `(batch, length, hidden_size)`; the first token stands for the pair. With `read`, `(count, hidden_size)`.
        """
        mask = create_bidirectional_mask(self.config, text_tokens, attention_mask)
        *first, last = self.layer
        hidden = text_tokens
        for layer in first:
            hidden = layer(hidden, image_tokens, mask, images)
        # Flash and flex attention have masks of whole texts that look at themselves: all tokens of those are made.
        whole = mask is not None and not (isinstance(mask, Tensor) and mask.ndim == 4)
        if read is not None and whole:
            return read.of(last(hidden, image_tokens, mask, images))
        return last(hidden, image_tokens, mask, images, read)


class MaskedLanguageHead(nn.Module):
    """Logits of the vocabulary, as BERT's: a dense layer, and the word embeddings as the decoder."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.initializer_range = config.initializer_range
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act] if isinstance(config.hidden_act, str) else config.hidden_act
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def initialize(self) -> None:
        initialize_as_bert(self.modules(), self.initializer_range)
        init.zeros_(self.bias)

    @torch.no_grad()
    def take_from_bert(self, source: BertForMaskedLM, missing: set[str]) -> None:
        """The head of a BERT, unless its checkpoint had none: `missing` are the names that it lacked."""
        head = source.cls.predictions
        if not any("predictions" in key for key in missing):
            self.dense.load_state_dict(head.transform.dense.state_dict())
            self.LayerNorm.load_state_dict(head.transform.LayerNorm.state_dict())
            self.bias.copy_(head.bias)

    def forward(self, hidden: Tensor, word_embeddings: Tensor) -> Tensor:
        """`(..., hidden_size)`, `(vocabulary, hidden_size)` -> `(..., vocabulary)`."""
        return F.linear(self.LayerNorm(self.activation(self.dense(hidden))), word_embeddings, self.bias)


def initialize_as_bert(modules: Iterable[nn.Module], std: float) -> None:
    """Normal weights and no biases; what was loaded stays."""
    for module in modules:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=std)
            if module.bias is not None:
                init.zeros_(module.bias)
