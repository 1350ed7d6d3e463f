"""Ask: which of some texts fits an image, what the objective saw in each pair, and which images fit a text."""

from collections.abc import Sequence
from html import escape

import gradio as gr
import numpy as np
import torch
from explorer import Explorer, picture, unit
from page import LAST, bar_html, image_html, named, picker, spoken, table_html
from PIL import Image
from sentences import LONGEST, checked, unread_html
from terms import Terms
from upload import Upload

from hf_latent.errors import UserError
from hf_latent.models.modeling_latent_albef import LatentALBEFModel

TITLE, ORDER = "Ask", 30
MOST_TEXTS = 12
EXAMPLES, IMAGES_SHOWN = 6, 8
NO_IMAGE = "<p class='quiet'>Bring an image, or press an example.</p>"
NO_RECIPE = "this model has no recipe beside it."
NO_TEXT = "<p class='quiet'>Write what the image should show.</p>"


def refusal(explorer: Explorer) -> str | None:
    """Why a model cannot be asked; None where it can."""
    if explorer.image_and_text is not None:
        return explorer.no_embeddings
    return f"To ask takes a model of images and texts; this one is of {', '.join(explorer.modalities)}."


def names_of(explorer: Explorer) -> tuple[str, str]:
    """The modality of images and that of texts."""
    assert explorer.image_and_text is not None
    return explorer.image_and_text


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    terms = {
        explorer.name: Terms(explorer) if explorer.rows and explorer.views and not untold(explorer) else None
        for explorer in explorers
    }
    explorers = sorted(explorers, key=lambda explorer: explorer.rows is None)  # one with examples first
    images, lines = examples(explorers[0])

    @spoken
    def ask(name: str, image: Image.Image | None, texts: str) -> str:
        explorer = named(explorers, name)
        return NO_IMAGE if image is None else answer_html(explorer, terms[explorer.name], image, lines_of(texts))

    @spoken
    def find(name: str, text: str) -> str:
        return images_html(named(explorers, name), lines_of(text)[0]) if text.strip() else NO_TEXT

    name = picker(explorers)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            image = Upload(
                images[0] if images else None,
                label="An image",
                height=230,
                sources=["upload", "clipboard"],
                format="png",
            )
            if images:
                gr.Examples([[each] for each in images], [image], label="Or one of these")
            texts = gr.Textbox(
                "\n".join(lines), label="Texts, one a line", lines=max(2, len(lines)), max_lines=MOST_TEXTS
            )
            press = gr.Button("Which text fits?", variant="primary")
        with gr.Column(scale=3, min_width=300):
            answer = gr.HTML(ask(name.value, images[0] if images else None, "\n".join(lines)))
    asking = [press.click, image.change, name.input]
    gr.on(asking, ask, [name, image, texts], answer, api_name="ask", **LAST)
    if not images:
        return
    gr.Markdown("### Which images fit a text?")
    text = gr.Textbox(lines[0], label="A text", max_length=LONGEST)
    gr.Examples([[line] for line in lines], [text], label="Or one of these")
    found = gr.HTML(find(name.value, lines[0]))
    gr.on([text.change, name.input], find, [name, text], found, api_name="find", **LAST)


def untold(explorer: Explorer) -> str:
    """Why the objective cannot be asked about a pair; empty where it can."""
    if isinstance(explorer.model, LatentALBEFModel):
        return "it compares with a momentum copy, which training leaves behind."
    return "" if len(explorer.modalities) == 2 else "it reads more modalities than these two."


def lines_of(texts: str) -> list[str]:
    """The texts that a visitor wrote, one a line.

    Raises:
        UserError: If there is none, or too many, or one that is too long.
    """
    lines = list(dict.fromkeys(checked(line) for line in texts.splitlines() if line.strip()))
    if not 1 <= len(lines) <= MOST_TEXTS:
        raise UserError(f"There are {len(lines)} texts: write 1 to {MOST_TEXTS}, one a line.")
    return lines


def examples(explorer: Explorer) -> tuple[list[Image.Image], list[str]]:
    """Some images of the sample, and their texts; none where there is no sample."""
    if explorer.rows is None:
        return [], []
    images, texts = (explorer.sample.values[name] for name in names_of(explorer))
    rows = np.linspace(0, len(texts) - 1, min(EXAMPLES, len(texts))).astype(int)
    return [picture(images[row]) for row in rows], list(dict.fromkeys(texts[row][:LONGEST] for row in rows))


def answer_html(explorer: Explorer, terms: Terms | None, image: Image.Image, texts: list[str]) -> str:
    """Texts as rows, the likeliest first: its probability, its cosine, and the share of each term of the objective."""
    of_image, of_text = names_of(explorer)
    embeddings = unit(explorer.embed({of_image: [image]})) | unit(explorer.embed({of_text: texts}))
    cosines = (embeddings[of_text] @ embeddings[of_image][0]).tolist()
    scale = torch.as_tensor(explorer.model.scale).item()
    chances = (scale * torch.tensor(cosines)).softmax(0).tolist()
    tokenizer = explorer.processor.tokenizers[of_text]
    head = ["Text", "Probability", "Cosine"]
    cells = [[f"{escape(text)}{unread_html(tokenizer, text)}"] for text in texts]
    for row, chance, cosine in zip(cells, chances, cosines, strict=True):
        row += [bar_html(chance, f"{100 * chance:.1f} %"), f"{cosine:.2f}"]
    why = untold(explorer) or NO_RECIPE
    why = explorer.note or NO_RECIPE if explorer.rows is None else why
    told = f"<p class='quiet'>What the objective saw cannot be told: {escape(why)}</p>"
    if terms is not None:
        shares = terms.shares({of_image: [image] * len(texts), of_text: texts}, ids_of(explorer, texts))
        head += [_head(terms, term) for term in terms.usual]
        for row, share in zip(cells, shares, strict=True):
            row += [_cell(terms, term, value) for term, value in share.items()]
        told = (
            "<p class='quiet'>On the right is what each term of the objective sees in the image with that text: the "
            f"pair's share of the term, in a batch with {len(terms.batch.ids)} pairs of the sample. Under its name "
            "is what it sees in these (the middle one, and where nine of ten lie), under a share how many of them "
            "have a smaller one.</p>"
        )
    order = sorted(range(len(texts)), key=lambda row: -chances[row])
    return explorer.unlike_html(image) + table_html(head, [cells[row] for row in order], "terms") + told


def _head(terms: Terms, term: str) -> str:
    low, middle, high = np.quantile(terms.usual[term], (0.05, 0.5, 0.95))
    weight = f", weight {terms.weights[term]:g}" if term in terms.weights else ""
    return f"{escape(term.replace('_', ' '))}{weight}<small>{middle:.2f} ({low:.2f} to {high:.2f})</small>"


def _cell(terms: Terms, term: str, value: float) -> str:
    above = 100 * np.searchsorted(terms.usual[term], value) / len(terms.usual[term])
    return f"{value:.2f}<small>&gt; {above:.0f} %</small>"


def ids_of(explorer: Explorer, texts: Sequence[str]) -> list[int]:
    """The ids of texts: that of the sample's row with the same text, else a new one."""
    known = dict(zip(explorer.sample.values[names_of(explorer)[1]], explorer.sample.ids.tolist(), strict=True))
    new = int(explorer.sample.ids.max()) + 1
    return [known.get(text, new + place) for place, text in enumerate(texts)]


def images_html(explorer: Explorer, text: str) -> str:
    """The images of the sample that are nearest to a text."""
    of_image, of_text = names_of(explorer)
    cosines = explorer.unit[of_image] @ unit(explorer.embed({of_text: [text]}))[of_text][0]
    cards = []
    for row in cosines.argsort(descending=True)[:IMAGES_SHOWN].tolist():
        words = explorer.sample.words[row]
        shown = image_html(explorer.thumbnails[of_image][row], words)
        cards.append(f"<figure>{shown}<b>{cosines[row]:.2f}</b><small>{escape(words)}</small></figure>")
    unread = unread_html(explorer.processor.tokenizers[of_text], text)
    return f'{unread}<div class="gallery">{"".join(cards)}</div>'
