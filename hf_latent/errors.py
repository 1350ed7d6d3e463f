"""Errors that speak to the user."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MANY = 50  # words, such as the arguments of a Trainer, among which a sentence would drown


class UserError(ValueError):
    """Something that the user can put right. The command line prints its text alone and exits with code 2."""

    def __init__(self, text: str = "") -> None:
        if text.startswith("Caught UserError in "):
            # torch makes an error of a data loader's worker anew, with the traceback as its text.
            text = text.rpartition(f"{__name__}.UserError: ")[2].strip()
        super().__init__(text)


def suggest(word: str, known: Iterable[str]) -> str:
    """What to write instead of a misspelled word: the nearest known one, and all of them unless they are very many."""
    known = sorted(known)
    close = difflib.get_close_matches(str(word), known, n=1)
    if close and len(known) > MANY:
        return f"did you mean {close[0]!r}?"
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known) or 'none'}"


@contextmanager
def blamed_on(section: str) -> Iterator[None]:
    """What a library refuses in here, with whatever error, is a mistake in this section of the recipe."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = str(error).partition("\nException raised from")[0]  # what follows are the frames of torch
        raise UserError(f"{section}: {said or type(error).__name__}") from error


def printable(text: object) -> str:
    """A text for the terminal: names that others gave may hold characters that command it."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in str(text))
