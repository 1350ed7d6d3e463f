"""Tokenizers by name: one that is made of the words of a data set, or any of the Hub or of the disk."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import UserError

WORDS = "words"
TRIFEATURE = "trifeature"
_SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def word_tokenizer(sentences: Iterable[str], max_length: int | None = None) -> Any:
    """A tokenizer whose tokens are the words of `sentences`, in lower case, commonest first.

    Small and exact for small vocabularies; what it never saw becomes [UNK]. A sentence stands between [CLS] and [SEP].
    Without a `max_length` it knows no limit, and the processor that takes it sets its own.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(unk_token=_SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    counts = Counter(
        word
        for sentence in sentences
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(sentence))
    )
    words = sorted(counts, key=lambda word: (-counts[word], word))  # the same on every machine
    vocabulary = {token: number for number, token in enumerate([*_SPECIAL.values(), *words])}
    tokenizer.model = models.WordLevel(vocabulary, unk_token=_SPECIAL["unk_token"])
    ends = [(_SPECIAL[name], vocabulary[_SPECIAL[name]]) for name in ("cls_token", "sep_token")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **_SPECIAL)


def trifeature_tokenizer() -> Any:
    """The words of all that is said and asked about Trifeature pictures, and [MASK].

    A model that has learned it from captions reads questions and statements with the same tokens.
    """
    from .trifeature_sentences import every_sentence

    tokenizer = word_tokenizer(every_sentence())
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    return tokenizer


def load_tokenizer(name: str, sentences: Iterable[str]) -> Any:
    """The tokenizer of a recipe.

    Args:
        name: `words` for one made of `sentences`, `trifeature` for all words of the built-in sentences about
            Trifeature pictures, else what `AutoTokenizer` loads.
        sentences: What `words` is made of.

    Raises:
        UserError: If there is none of that name.
    """
    if name == WORDS:
        return word_tokenizer(sentences)
    if name == TRIFEATURE:
        return trifeature_tokenizer()
    from transformers import AutoTokenizer

    owner, *rest = name.split("/")
    place, options = name, {}
    if len(rest) == 2 and not Path(name).is_dir():  # a folder in a repository of the Hub
        place, options = f"{owner}/{rest[0]}", {"subfolder": rest[1]}
    try:
        return AutoTokenizer.from_pretrained(place, **options)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"data.tokenizers: {name!r} cannot be loaded ({reason}): write a checkpoint's name, a folder, {WORDS} or "
            f"{TRIFEATURE}"
        ) from error
