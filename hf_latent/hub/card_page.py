"""A card as one self-contained page, to look at before it is published. Nothing in it is fetched or run."""

import base64
import html
import io
import re
import tempfile
import webbrowser
from pathlib import Path

from markdown_it import MarkdownIt
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image

from ..errors import UserError
from ..runs import leads_out

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ max-width: 52rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.6 system-ui, sans-serif; color: #1f2328;
  background: #fff }}
h1, h2 {{ border-bottom: 1px solid #d1d9e0; padding-bottom: .3em }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
th, td {{ border: 1px solid #d1d9e0; padding: .35em .8em; text-align: left }}
pre {{ background: #f6f8fa; padding: 1em; overflow-x: auto; border-radius: 6px }}
code {{ font-size: .88em; overflow-wrap: anywhere }}
:not(pre) > code {{ background: #eff1f3; padding: .15em .35em; border-radius: 5px }}
img {{ max-width: 100% }}
.formula {{ text-align: center; overflow-x: auto }}
.formula img {{ max-width: none }}
summary {{ cursor: pointer; color: #59636e }}
</style>
</head>
<body>
<details><summary>Header for the Hub</summary><pre>{header}</pre></details>
{body}
</body>
</html>
"""
_FORMULA = re.compile(r"^\$\$\n(.+)\n\$\$$", re.MULTILINE)
_FIGURE = re.compile(r'src="(figures/[\w.-]+)"')


def open_card(card: Path) -> Path:
    """Show a card in the browser.

    Returns:
        The page, a temporary file that the browser goes on reading.

    Raises:
        UserError: If there is no browser; it names the page.
    """
    with tempfile.NamedTemporaryFile("w", prefix="card-", suffix=".html", delete=False, encoding="utf-8") as file:
        file.write(card_page(card.read_text(encoding="utf-8"), card.parent))
    page = Path(file.name)
    if not webbrowser.open(page.as_uri()):
        raise UserError(f"no browser was found to open the card with: look at {page}")
    return page


def card_page(text: str, folder: Path) -> str:
    """The HTML of a card, its figures taken from `folder`, its formulas drawn."""
    _, header, body = text.split("---\n", 2)
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    pieces = _FORMULA.split(body)  # text and formulas by turns
    rendered = [_formula(piece) if i % 2 else markdown.render(piece) for i, piece in enumerate(pieces)]

    def figure(found: re.Match[str]) -> str:
        path = folder / found[1]
        own = path.is_file() and not leads_out(folder, path)
        return f'src="{_data("image/png", path.read_bytes())}"' if own else found[0]

    title = re.search(r"<h1>(.*?)</h1>", rendered[0])
    return _PAGE.format(
        title=title[1] if title else "Model card",
        header=html.escape(header.strip()),
        body=_FIGURE.sub(figure, "".join(rendered)),
    )


def _formula(latex: str) -> str:
    picture = io.BytesIO()
    displayed = latex.replace(r"\frac", r"\dfrac")  # large, as the Hub sets a formula that stands alone
    try:
        math_to_image(f"${displayed}$", picture, prop=FontProperties(size=12), format="svg")
    except ValueError:  # matplotlib knows less LaTeX than the Hub
        return f"<pre>{html.escape(latex)}</pre>"
    source = _data("image/svg+xml", picture.getvalue())
    return f'<p class="formula"><img src="{source}" alt="{html.escape(latex)}"></p>\n'


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
