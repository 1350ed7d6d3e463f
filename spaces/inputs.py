"""What a call may hold: values of the kind that each input of the page has, and of no other."""

import functools
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import gradio as gr
from fastapi import Request
from fastapi.responses import JSONResponse
from gradio.exceptions import InvalidPathError
from gradio.route_utils import FnIndexInferError
from pydantic import ValidationError

from hf_latent.errors import UserError

SHOWN = 60  # characters of a wrong value that are said
REMOTE = ("http:", "https:", "data:")  # what begins so is no file; the page fetches nothing for a visitor


def guard(demo: gr.Blocks) -> None:
    """Have a page check the values of every call; a failure that no handler sees is told in a sentence, too."""
    process = demo.process_api

    @functools.wraps(process)
    async def guarded(block_fn: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        function = demo.fns[block_fn] if isinstance(block_fn, int) else block_fn
        try:
            check(function.inputs, inputs)
            return await process(block_fn, inputs, *rest, **options)
        except gr.Error:
            raise
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception as error:
            if not isinstance(error, InvalidPathError | ValidationError):  # which are a visitor's mistakes
                traceback.print_exception(error, file=sys.stderr)
            reason = short((str(error).splitlines() or [""])[0], 200)
            sentence = f"The call cannot be read ({type(error).__name__}: {reason})."
            raise gr.Error(sentence, print_exception=False) from None

    demo.process_api = guarded  # type: ignore[method-assign]


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """The answer to a call that gradio finds no function or no parameters for; FastAPI's own says nothing."""
    traceback.print_exception(error, file=sys.stderr)
    told = f"{request.url.path} has no such function, or not with these parameters: see the API page."
    return JSONResponse({"detail": told}, status_code=400)


# What gradio raises for such a call.
REFUSED = dict.fromkeys((KeyError, TypeError, ValueError, FnIndexInferError), refuse)


def check(components: Sequence[Any], values: Sequence[Any]) -> None:
    """Refuse values that the components of the page cannot have.

    Raises:
        UserError: If there are too few or too many, or one is of another kind or out of bounds.
    """
    if len(values) != len(components):
        named = ", ".join(map(_name, components))
        raise UserError(f"The call has {len(values)} values and takes {len(components)}: {named}.")
    for component, value in zip(components, values, strict=True):
        wanted = _wanted(component, value)
        if wanted:
            raise UserError(f"{_name(component)} is {short(ascii(value), SHOWN)}: {wanted}.")


def short(text: str, length: int) -> str:
    """The beginning of a text."""
    return text if len(text) <= length else f"{text[:length]}..."


def _name(component: Any) -> str:
    return f"'{component.label}'" if component.label else f"the {component.get_block_name()}"


def _wanted(component: Any, value: Any) -> str:
    """What a component takes instead of a value; empty where it takes it."""
    if isinstance(component, gr.Dropdown | gr.Radio):
        choices = [choice for _, choice in component.choices]
        return "" if isinstance(value, str) and value in choices else f"choose one of {', '.join(map(repr, choices))}"
    if isinstance(component, gr.Slider):
        low, high = component.minimum, component.maximum
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if number and low <= value <= high else f"write a number from {low} to {high}"
    if isinstance(component, gr.Checkbox):
        return "" if isinstance(value, bool) else "write true or false"
    if isinstance(component, gr.Textbox):
        return "" if isinstance(value, str) and _is_unicode(value) else "write a text, in Unicode"
    if isinstance(component, gr.Image):
        path = value.get("path") if isinstance(value, dict) else None
        uploaded = isinstance(path, str) and _is_unicode(path) and "\0" not in path and not path.startswith(REMOTE)
        return "" if value is None or uploaded else "upload an image, and write the path that the upload gave"
    return ""


def _is_unicode(text: str) -> bool:
    """Whether a text can be encoded: half of a surrogate pair cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
