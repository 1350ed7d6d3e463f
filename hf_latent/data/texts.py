"""What a tokenizer makes of the texts of a data set: which words it does not know, and which texts it cuts."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, cast

from torch.utils.data import Dataset

from ..errors import UserError
from .loaded import LoadedData

CHUNK = 1000  # texts that are tokenized at a time


@dataclass
class TextCounts:
    """Counts over the texts of one modality in one split.

    Attributes:
        texts, words: How many there are. Where a tokenizer makes several tokens of a word, each counts.
        unknown: Words that the tokenizer does not know.
        blank: Texts that hold no word that it knows.
        cut: Texts that are longer than the model reads.
        example: The first unknown word.
    """

    texts: int = 0
    words: int = 0
    unknown: int = 0
    blank: int = 0
    cut: int = 0
    example: str | None = None


def count_texts(tokenizer: Any, texts: Iterable[str], max_length: int) -> TextCounts:
    """Counts of what the tokenizer makes of texts, which the model reads up to `max_length` tokens."""
    found, remaining = TextCounts(), iter(texts)
    longest = max_length - tokenizer.num_special_tokens_to_add()
    while chunk := list(itertools.islice(remaining, CHUNK)):
        ids = tokenizer(chunk, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        for text, tokens in zip(chunk, ids, strict=True):
            unknown = 0 if tokenizer.unk_token_id is None else tokens.count(tokenizer.unk_token_id)
            found.texts += 1
            found.words += len(tokens)
            found.unknown += unknown
            found.blank += unknown == len(tokens)
            found.cut += len(tokens) > longest
            if unknown and found.example is None:
                found.example = unknown_word(tokenizer, text)
    return found


def unknown_word(tokenizer: Any, text: str) -> str | None:
    """The first word of a text that the tokenizer does not know, if there is one."""
    options: dict[str, Any] = {"add_special_tokens": False, "truncation": False, "verbose": False}
    tokens = tokenizer(text, return_offsets_mapping=tokenizer.is_fast, **options)
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown not in tokens["input_ids"]:
        return None
    if not tokenizer.is_fast:
        return text
    start, end = tokens["offset_mapping"][tokens["input_ids"].index(unknown)]
    return text[start:end]


def check_known(tokenizer: Any, sentences: Iterable[str], what: str) -> None:
    """A UserError where the tokenizer does not know a word of the sentences: all such words are one to the model."""
    for sentence in sentences:
        word = unknown_word(tokenizer, sentence)
        if word is not None:
            raise UserError(
                f"the tokenizer does not know the word {word!r} of the {what} {sentence!r}: begin with a model whose "
                "tokenizer does, or let data.tokenizers of the recipe that it was trained by make one of the columns "
                "that hold such words, as in {text: {words: [caption, answer]}}"
            )


def report_texts(data: LoadedData, processor: Any, contrasted: bool = True) -> None:
    """Print what share of the words is unknown to the tokenizers, and how many texts they cut; of streams not.

    Args:
        data, processor: Of a run.
        contrasted: Rows are contrasted with each other, so that equal texts should have equal ids.
    """
    splits: dict[str, Dataset] = {"training": data.train}
    if data.evaluation is not None:
        if data.evaluation.validation is not None:
            splits["validation"] = data.evaluation.validation.rows
        if data.evaluation.test is not data.evaluation.validation:
            splits["test"] = data.evaluation.test.rows
    for name, tokenizer in processor.tokenizers.items():
        if contrasted and (repeated := _repeated(data.train, data.columns[name])):
            column, count = data.columns[name], len(cast(Sized, data.train))
            print(
                f"{repeated:,} of {count:,} training rows share their {column!r} with a row of another id, and are "
                f"contrasted with it: data.ids={column} makes them positives of each other"
            )
        most = processor.modalities[name]["max_length"]
        for split, rows in splits.items():
            if not isinstance(rows, Sized):
                continue
            counts = count_texts(tokenizer, _texts(rows, data.columns[name]), most)
            where = f"column {data.columns[name]!r} of the {split} rows"
            print(f"Unknown words in {where}: {100 * counts.unknown / max(counts.words, 1):.1f} %", end="")
            blank = f"{counts.blank:,} of {counts.texts:,} texts hold no known word"
            print(f", such as {counts.example!r}; {blank}" if counts.unknown else "")
            if counts.cut:
                longer = f"longer than {most} tokens and will be cut there"
                print(f"{counts.cut:,} of {counts.texts:,} captions are {longer} ({where})")


def _repeated(rows: Dataset, column: str) -> int:
    """How many rows have the text of a row with another id; 0 where the rows have no text beside the images."""
    if not hasattr(rows, "sentences") or not hasattr(rows, "ids"):
        return 0
    ids: dict[str, set[int]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    for text, number in zip(rows.sentences(column), rows.ids, strict=True):
        if not text:
            continue
        ids[text].add(int(number))
        counts[text] += 1
    return sum(counts[text] for text, numbers in ids.items() if len(numbers) > 1)


def _texts(rows: Dataset, column: str) -> Iterator[str]:
    """The texts of a column, without the images beside them where the rows can be read so."""
    if hasattr(rows, "sentences"):
        return filter(None, rows.sentences(column))
    return (rows[i][column] for i in range(len(cast(Sized, rows))))
