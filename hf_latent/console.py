"""What a command prints: results on stdout, and messages there, on stderr, or nowhere."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

import huggingface_hub.utils as hub


@contextmanager
def messages(quiet: bool = False, to_stderr: bool = False) -> Iterator[None]:
    """While this is open, what is printed on stdout is thrown away (`quiet`) or goes to stderr."""
    with ExitStack() as stack:
        if quiet:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8", errors="replace"))
            stack.enter_context(_instead_of_stdout(nowhere))
        elif to_stderr:
            stack.enter_context(_instead_of_stdout(sys.stderr))
        yield


@contextmanager
def progress_bars(shown: bool) -> Iterator[None]:
    """While this is open, those of `datasets` and the Hub are not shown, unless `shown`."""
    if shown:
        yield
        return
    import datasets

    changed = [library for library in (hub, datasets) if not library.are_progress_bars_disabled()]
    for library in changed:
        library.disable_progress_bars()
    try:
        yield
    finally:
        for library in changed:
            library.enable_progress_bars()


@contextmanager
def _instead_of_stdout(target: Any) -> Iterator[None]:
    """Python's stdout is another file; the process's too, for libraries and processes that write there."""
    try:
        own = sys.stdout.fileno() == 1
        number = target.fileno() if own else -1
    except (AttributeError, OSError, ValueError):  # in a notebook or a test
        own, number = False, -1
    if not own:
        with redirect_stdout(target):
            yield
        return
    stdout = sys.stdout
    stdout.flush()
    kept = os.dup(1)
    os.dup2(number, 1)
    try:
        with redirect_stdout(target):
            yield
    finally:
        stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def as_json(data: Any) -> str:
    """One JSON document, in ASCII, with null for numbers that are not finite."""
    return json.dumps(_finite(data), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
