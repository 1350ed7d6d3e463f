"""What the tabs share: the look of the page, pictures and tables as HTML, and errors that are sentences."""

import base64
import functools
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
import plotly.graph_objects as go
from explorer import Explorer
from PIL import Image
from thumbnails import SIDE as THUMBNAIL

from hf_latent.errors import UserError, suggest
from hf_latent.plots import BARS

HERE = Path(__file__).parent
# House colors of middling lightness, and four more: they stand out on white and on black.
PALETTE = (*BARS, "#8A8A8A", "#B3A100", "#7B61FF", "#9C5B3C")
SYMBOLS = ("circle", "diamond", "square", "cross")  # those that maps in two and in three dimensions have
FAINT = "rgba(128, 128, 128, 0.35)"
# What is pulled or typed asks again and again: the last time counts.
LAST: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden"}
# What follows an example that was pressed: once all of it is there.
THEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
Handler = TypeVar("Handler", bound=Callable[..., Any])


def theme() -> gr.themes.Base:
    """Gradio's look in the fonts of the system: nothing is fetched from elsewhere."""
    fonts: dict[str, Any] = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
    return gr.themes.Default(primary_hue="blue", **fonts)


def head() -> str:
    """What the page's head holds: its style, and the script that shows what a map's points are."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "hover.js"))
    return f"<style>{style}</style><script>{script}</script>"


def spoken(handler: Handler) -> Handler:
    """A handler whose failures are told in a sentence; those that are nobody's mistake also go to the log."""

    @functools.wraps(handler)
    def speaking(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except gr.Error:
            raise
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            reason = (str(error).splitlines() or [""])[0][:200]
            sentence = f"The model failed on this ({type(error).__name__}: {reason})."
            raise gr.Error(sentence, print_exception=False) from None

    return speaking  # type: ignore[return-value]


def picker(explorers: Sequence[Explorer], label: str = "Model", index: int = 0) -> gr.Dropdown:
    """A choice of models; hidden where there is only one."""
    names = [explorer.name for explorer in explorers]
    return gr.Dropdown(names, value=names[index], label=label, visible=len(names) > 1)


def named(explorers: Sequence[Explorer], name: str) -> Explorer:
    """The model of that name."""
    known = {explorer.name: explorer for explorer in explorers}
    if name not in known:
        raise UserError(f"no model {name!r}: {suggest(name, known)}")
    return known[name]


def short(text: str, length: int = 40) -> str:
    """The beginning of a text."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def data_uri(image: Image.Image) -> str:
    """A picture as the address of itself."""
    image.save(buffer := BytesIO(), format="webp", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@functools.lru_cache(maxsize=1024)  # of thumbnails: at most 40 MB
def _thumbnail_uri(pixels: bytes, size: tuple[int, int]) -> str:
    return data_uri(Image.frombytes("RGB", size, pixels))


def image_html(image: Image.Image, words: str) -> str:
    """A picture, with its words for those who do not see it."""
    small = max(image.size) <= THUMBNAIL  # of the sample, mostly; what is larger is made for one answer
    address = _thumbnail_uri(image.tobytes(), image.size) if small else data_uri(image)
    return f'<img alt="{escape(words)}" title="{escape(words)}" src="{address}">'


def bar_html(share: float, text: str, title: str = "") -> str:
    """A share from 0 to 1 as a bar behind a text."""
    width = 100 * min(1.0, max(0.0, share))
    return f'<div class="bar" title="{escape(title)}"><i style="width:{width:.1f}%"></i><span>{text}</span></div>'


def table_html(head: Sequence[str], rows: Sequence[Sequence[str]], name: str = "") -> str:
    """A table of cells that are HTML; the first of each row is its head."""
    cells = "".join(f"<th scope='col'>{cell}</th>" for cell in head)
    body = "".join(
        f"<tr><th scope='row'>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    return f'<div class="scroll"><table class="{name}"><tr>{cells}</tr>{body}</table></div>'


def figure(traces: Sequence[Any], height: int, **layout: Any) -> go.Figure:
    """A Plotly figure that leaves colors of text and ground to the page, in the light and in the dark."""
    look: dict[str, Any] = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#808080"},
        "legend": {"orientation": "h", "y": -0.02, "yanchor": "top", "itemsizing": "constant"},
        "dragmode": False,  # a finger on the plot scrolls the page
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#808080", "remove": ["select2d", "lasso2d", "autoScale2d"]},
    }
    return go.Figure(list(traces), {"template": "none", **look, **layout})


def hidden_axes(**options: Any) -> dict[str, Mapping[str, Any]]:
    """Two axes whose numbers mean nothing, and which have one scale."""
    bare = {"visible": False, **options}
    return {"xaxis": bare, "yaxis": {**bare, "scaleanchor": "x"}}
