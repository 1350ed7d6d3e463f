"""What the families of text models differ in: special tokens, the pooled position, maximum length, mask and padding.

A family that is not named here is taken to read an attention mask and as many tokens as its config has positions;
`check_text_tower` tries that before training.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING

MAX_LENGTH = 77  # of a caption in tokens, where nobody knows another limit (as CLIP)
NO_LIMIT = 1_000_000  # a tokenizer with a `model_max_length` above it has none
TRIED = 1024  # tokens; what reads more has rotary or relative positions, or a table whose size is known
# What the attributes that hold a maximum length are called, where a config does not map its own to the first.
LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len")
LARGEST_TOKEN = 2  # the `eos_token_id` with which CLIP models pool at the largest token id of a caption


@dataclass(frozen=True)
class TextFamily:
    """How one `model_type` reads captions.

    Attributes:
        reads_mask: Whether the model is given the attention mask. Otherwise padding is part of what it reads.
        padding: `"longest"`, to the longest caption of a batch, or `"max_length"`, always to the maximum length: where
            padding changes the embedding of a caption, all captions have the same width.
        pools_end: Whether its own pooled vector is the state at the end-of-text token, `config.eos_token_id`.
    """

    reads_mask: bool = True
    padding: str = "longest"
    pools_end: bool = False


FAMILIES = {
    "clip_text_model": TextFamily(pools_end=True),
    "convbert": TextFamily(padding="max_length"),  # its convolutions reach into the padding
    "fnet": TextFamily(reads_mask=False, padding="max_length"),
    "siglip_text_model": TextFamily(reads_mask=False, padding="max_length"),
    "yoso": TextFamily(padding="max_length"),  # as convbert
}


def text_family(model_type: str) -> TextFamily:
    return FAMILIES.get(model_type, TextFamily())


def unread_inputs(model: Any) -> frozenset[str]:
    """What tokenizers give that a text model does not read."""
    unread = {"token_type_ids"} - inspect.signature(model.forward).parameters.keys()
    reads_mask = text_family(model.config.model_type).reads_mask
    return frozenset(unread if reads_mask else unread | {"attention_mask"})


def length_limit(model: Any) -> int | None:
    """The most tokens of a caption that a text model has positions for, special tokens included; None if any number.

    Models that follow RoBERTa count positions from behind the padding index of their table.
    """
    sizes = [getattr(model.config, name, None) for name in LENGTHS]
    limit = next((size for size in sizes if isinstance(size, int) and size > 0), None)
    for name, table in model.named_modules():
        weight, padding = getattr(table, "weight", None), getattr(table, "padding_idx", None)
        if "position" in name and isinstance(weight, Tensor) and len(weight) == limit and padding is not None:
            return limit - padding - 1
    return limit


def checked_length(length: Any, limit: int | None) -> int:
    """A maximum length that was written, in tokens; a ValueError where a model cannot read so many."""
    if not isinstance(length, int) or isinstance(length, bool) or not 0 < length <= (limit or length):
        wanted = "1 or more tokens" if limit is None else f"1 to {limit} tokens, for which the model has positions"
        raise ValueError(f"max_length={length!r}: write {wanted}")
    return length


def fit_config(config: dict[str, Any], tokenizer: Any) -> None:
    """Fill in what the config of a text model that is trained from scratch leaves to its tokenizer.

    That is the size of the vocabulary and the ids of the special tokens that its family reads; what is written stays.
    A tokenizer that has no token for the beginning or the end of a text, as BERT's, has one for the class or a
    separator, which stands there.
    """
    model_type = config.get("model_type", "")
    if "vocab_size" not in config:
        config["vocab_size"] = len(tokenizer)
        config.setdefault("pad_token_id", tokenizer.pad_token_id)
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "cls", "eos", "sep", "pad")}
    for first, second in (("bos", "cls"), ("eos", "sep")):
        known = [ids[name] for name in (first, second) if ids[name] is not None]
        ids[first], ids[second] = (known[0], known[-1]) if known else (None, None)
    if model_type not in CONFIG_MAPPING:
        return  # building the model says so
    if text_family(model_type).pools_end:
        ids["eos"] = _last_token(tokenizer)
    defaults = CONFIG_MAPPING[model_type]()
    for name, value in ids.items():
        if value is not None and getattr(defaults, f"{name}_token_id", None) is not None:
            config.setdefault(f"{name}_token_id", value)


def fit_tokenizer(tokenizer: Any, model_type: str | None = None) -> None:
    """Let a tokenizer pad as a family needs it.

    One without a padding token, as GPT-2's, pads with its end of text, which the attention mask hides. Padding stands
    on the right, where it moves no position, except where it is part of what the model reads.
    """
    if tokenizer.pad_token is None:
        token = tokenizer.eos_token or tokenizer.unk_token or "[PAD]"
        tokenizer.add_special_tokens({"pad_token": token})
    if model_type is None or text_family(model_type).padding == "longest":
        tokenizer.padding_side = "right"


def fit_length(tokenizer: Any, limit: int | None) -> int:
    """The most tokens of a caption, which the tokenizer is told: as many as tokenizer and model both read, or 77 where
    neither has a limit.

    Raises:
        ValueError: If the special tokens alone fill a caption.
    """
    length = own_limit(tokenizer) if limit is None else min(tokenizer.model_max_length, limit)
    special = tokenizer.num_special_tokens_to_add()
    if length <= special:
        raise ValueError(
            f"its text model reads {length} tokens, and each caption has {special} special ones: write a larger "
            "max_position_embeddings"
        )
    tokenizer.model_max_length = length
    return length


def own_limit(tokenizer: Any) -> int:
    """The maximum length of a tokenizer, 77 where it has none."""
    return MAX_LENGTH if tokenizer.model_max_length > NO_LIMIT else tokenizer.model_max_length


def last_token(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """The state at the last real token of each row, on whichever side the padding is: `(batch, hidden_size)`."""
    if mask is None:
        return hidden[:, -1]
    places = torch.arange(hidden.shape[1], device=hidden.device)
    return hidden[torch.arange(len(hidden), device=hidden.device), (mask.long() * places).argmax(dim=1)]


@torch.no_grad()
def check_text_tower(encoder: Any, tokenizer: Any, length: int, pooled: bool = True) -> None:
    """Embed two captions, and one of the maximum length, with an encoder on the CPU: an index out of range would end a
    process that uses a GPU.

    Args:
        encoder: An `auto` encoder of text.
        tokenizer: Its tokenizer.
        length: The maximum length of a caption.
        pooled: Whether its pooled vectors are read, and not only its tokens.

    Raises:
        ValueError: If the encoder fails, pools at a token that captions do not have, or gives different captions the
            same embedding.
    """
    config = encoder.model.config
    family = text_family(config.model_type)
    if pooled and family.pools_end and encoder.pooling in (None, "pooler"):
        _check_end(config, tokenizer)
    words = _words(tokenizer)
    if not words:
        return
    tried = min(length, TRIED)
    try:
        _embed(encoder, tokenizer, [" ".join(words * (tried // len(words) + 1))], tried)
    except (IndexError, RuntimeError) as error:
        raise ValueError(
            f"a {config.model_type!r} model does not read captions of {tried} tokens ({error}): write a smaller "
            "max_position_embeddings, or a tokenizer with a smaller model_max_length"
        ) from error
    if not pooled or len(words) < 2:
        return
    first, second = _embed(encoder, tokenizer, words[:2], length)
    if torch.allclose(first, second, rtol=1e-5, atol=1e-6 * first.abs().max().item()):
        raise ValueError(
            f"different captions get the same embedding from this {config.model_type!r} model with "
            f"pooling: {encoder.pooling or 'null'}: write pooling: mean or last"
        )


def _embed(encoder: Any, tokenizer: Any, captions: list[str], length: int) -> Tensor:
    padding = text_family(encoder.model.config.model_type).padding
    tokens = tokenizer(
        captions,
        padding=padding,
        truncation=True,
        max_length=length,
        return_tensors="pt",
        return_attention_mask=True,
    )
    training = encoder.training
    encoder.eval()
    try:
        return encoder(**tokens).pool()
    finally:
        encoder.train(training)


def _words(tokenizer: Any) -> list[str]:
    """Some words of the vocabulary that are different tokens."""
    special = set(tokenizer.all_special_ids)
    ids = [number for number in range(len(tokenizer)) if number not in special]
    words: dict[tuple[int, ...], str] = {}
    for number in ids[:: max(1, len(ids) // 16)]:
        word = tokenizer.decode([number]).strip()
        tokens = tuple(tokenizer(word, add_special_tokens=False)["input_ids"])
        if word and tokens and not special.issuperset(tokens):
            words.setdefault(tokens, word)
    return list(words.values())


def _last_token(tokenizer: Any) -> int | None:
    """The special token that ends each caption."""
    ids = tokenizer("a")["input_ids"]
    return ids[-1] if ids and ids[-1] in tokenizer.all_special_ids else None


def _check_end(config: Any, tokenizer: Any) -> None:
    """A ValueError where captions do not end in the token at which the model pools."""
    end, where = _last_token(tokenizer), config.eos_token_id
    if end is None:
        what = "the tokenizer puts no end-of-text token behind a caption"
    elif where == LARGEST_TOKEN and end != max(tokenizer.get_vocab().values()):
        what = f"with eos_token_id={where} it takes the largest token id for it, and captions end in token {end}"
    elif where not in (LARGEST_TOKEN, end):
        what = f"that is token {where}, and captions end in token {end}"
    else:
        return
    raise ValueError(
        f"a {config.model_type!r} model pools at the end-of-text token: {what}; write the tokenizer that it was "
        "trained with, leave eos_token_id out where it is trained from scratch, or write pooling: last"
    )
