"""Sentences that visitors write: how long they may be, and what of them a model reads."""

from html import escape
from typing import Any

from hf_latent.errors import UserError

LONGEST = 300


def checked(text: str) -> str:
    """A sentence in one line, without space around it.

    Raises:
        UserError: If it is too long.
    """
    text = " ".join(text.split())
    if len(text) > LONGEST:
        raise UserError(f"The text {text[:30]!r}... has {len(text)} characters: write at most {LONGEST}.")
    return text


def words_of(tokenizer: Any, text: str) -> list[tuple[str, list[int]]]:
    """The words of a text that are read, each with the places of its tokens."""
    tokens, places = tokenizer(text, truncation=True), {}
    for place, word in enumerate(tokens.word_ids(0)):
        if word is not None:
            places.setdefault(word, []).append(place)
    return [(text[slice(*tokens.word_to_chars(word))], found) for word, found in places.items()]


def unread_html(tokenizer: Any, text: str) -> str:
    """What of a text a model cannot read: words that it never saw, and what is behind the most that it takes."""
    tokens, words = tokenizer(text, truncation=True)["input_ids"], words_of(tokenizer, text)
    told = []
    unknown = [word for word, places in words if tokenizer.unk_token_id in (tokens[place] for place in places)]
    if unknown:
        named = ", ".join(f"<b>{escape(word)}</b>" for word in dict.fromkeys(unknown))
        told.append(f"It never saw {named}: it reads a blank there.")
        if len(unknown) == len(words):
            told.append("It knows no word of this text: what it answers says nothing about it.")
    if len(tokenizer(text)["input_ids"]) > len(tokens):
        told.append(f"It reads no further than <b>{escape(words[-1][0])}</b>, {len(tokens)} tokens.")
    return f"<p class='quiet'>{' '.join(told)}</p>" if told else ""
