"""Look: where in a picture a model finds a phrase, and each of its words."""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
import numpy as np
import torch
from explorer import Explorer, picture
from page import LAST, THEN, bar_html, image_html, named, picker, spoken
from PIL import Image, ImageDraw, ImageOps
from sentences import LONGEST, checked, unread_html, words_of
from upload import Upload

from hf_latent.models.modeling_latent_albef import LatentALBEFForImageTextRetrieval
from hf_latent.plots.grounding import DARKEST

TITLE, ORDER = "Look", 40
EXAMPLES = 6
LARGE, SMALL = 360, 150  # pixels of the longer side
NO_IMAGE = "<p class='quiet'>Bring an image, or press an example.</p>"
NO_PHRASE = "<p class='quiet'>Write what to look for.</p>"


def refusal(explorer: Explorer) -> str | None:
    """Why a model cannot be asked where it looks; None where it can."""
    if explorer.no_embeddings or not isinstance(explorer.model, LatentALBEFForImageTextRetrieval):
        return "To look takes a LatentALBEF of pre-training or of retrieval, which tells whether image and text match."
    if not explorer.model.config.itm_weight:
        return "It was trained without matching (itm_weight: 0), which a map is made from."
    try:
        maps_of(explorer, Image.new("RGB", (32, 32)), "a")
    except ValueError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}."
    return None


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    rows = examples(explorers[0])
    start = rows[0] if rows else [None, ""]

    @spoken
    def look(name: str, image: Image.Image | None, phrase: str) -> str:
        explorer, phrase = named(explorers, name), checked(phrase)
        return NO_IMAGE if image is None else look_html(explorer, image, phrase) if phrase else NO_PHRASE

    name = picker(explorers)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            image = Upload(start[0], label="A picture", height=230, sources=["upload", "clipboard"], format="png")
            phrase = gr.Textbox(start[1], label="What to look for", max_length=LONGEST)
            press = gr.Button("Where is it?", variant="primary")
            chosen = gr.Examples(rows, [image, phrase], label="Or one of these", elem_id="rows-look") if rows else None
        with gr.Column(scale=3, min_width=300):
            answer = gr.HTML(look(name.value, *start))
    asking = [press.click, image.change, phrase.change, name.input]
    gr.on(asking, look, [name, image, phrase], answer, api_name="look", **LAST)
    if chosen is not None:
        chosen.load_input_event.then(look, [name, image, phrase], answer, **THEN)


def examples(explorer: Explorer) -> list[list[Any]]:
    """Pictures of the sample, each with something that its text names; none where there is no sample."""
    if explorer.rows is None:
        return []
    sample, found = explorer.rows, []
    images, texts = sample.values["image"], sample.values["text"]
    rows = np.linspace(0, len(texts) - 1, min(EXAMPLES, len(texts))).astype(int)
    for place, row in enumerate(rows):
        things = sample.phrases[row] if sample.phrases else [texts[row]]
        found.append([picture(images[row]), things[place % len(things)][:LONGEST]])
    return found


def maps_of(explorer: Explorer, image: Image.Image, phrase: str) -> tuple[np.ndarray, float]:
    """`(tokens, rows, columns)`, the map of each token, and the probability that image and phrase belong together.

    Raises:
        ValueError: If the model's image tokens are no grid.
    """
    inputs = explorer.processor.batch({"image": [image], "text": [phrase]})
    maps = explorer.model.grounding_maps(**inputs, each_token=True)[0]
    with torch.no_grad():
        match = explorer.model(**inputs).itm_logits[0].softmax(0)[1].item()
    return maps.double().numpy(), match


def look_html(explorer: Explorer, image: Image.Image, phrase: str) -> str:
    """The picture lit where the model finds the phrase, and once for each word."""
    tokenizer = explorer.processor.tokenizer
    maps, match = maps_of(explorer, image, phrase)
    seen = seen_of(image, explorer.processor.image_processor)
    whole, total = maps.sum(0), max(float(maps.sum()), 1e-30)
    cards = []
    for word, places in words_of(tokenizer, phrase):
        share = float(maps[places].sum()) / total
        shown = image_html(lit(seen, maps[places].sum(0), SMALL), f"Where it finds “{word}”")
        cards.append(f"<figure>{shown}<b>{escape(word)}</b>{bar_html(share, f'{100 * share:.0f} %')}</figure>")
    large = image_html(lit(seen, whole, LARGE), f"Where it finds “{phrase}”")
    nothing = "" if whole.any() else "<p>Nothing in the picture speaks for this phrase.</p>"
    return (
        f"<p>Do picture and phrase belong together?</p>{bar_html(match, f'{100 * match:.1f} %', 'Matching')}"
        f"{unread_html(tokenizer, phrase)}{explorer.unlike_html(image)}"
        f"<div class='lit'><figure>{large}<b>{escape(phrase)}</b></figure>"
        "<p class='quiet'>Light falls where the phrase finds in the picture what speaks for the two belonging "
        "together: Grad-CAM of matching on the cross-attention. The cross is where it is brightest.</p></div>"
        f"{nothing}<h4>Word by word</h4><div class='gallery'>{''.join(cards)}</div>"
        "<p class='quiet'>Each picture is lit up to its own brightest place. Under a word is its share of the whole "
        "map; the rest is of the tokens at both ends of the phrase.</p>"
    )


def seen_of(image: Image.Image, image_processor: Any) -> Image.Image:
    """The part of an image that a model sees: all of it, mostly."""
    if image_processor.do_center_crop and "shortest_edge" in dict(image_processor.size):
        crop = image_processor.crop_size
        return ImageOps.fit(image, (crop["width"] * image.height // crop["height"], image.height))
    return image


def lit(image: Image.Image, values: np.ndarray, side: int) -> Image.Image:
    """An image lit where a map of it is large, with a cross at its largest value.

    Light instead of a color: a colored map over colored objects would change what they are.
    """
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    shown = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    strength = values / max(float(values.max()), 1e-30)
    light = Image.fromarray(strength.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    shade = 1 - DARKEST * (1 - np.asarray(light)[..., None])
    shown = Image.fromarray((np.asarray(shown) * shade).round().clip(0, 255).astype(np.uint8))
    if strength.any():
        row, column = np.unravel_index(strength.argmax(), strength.shape)
        x, y = (column + 0.5) * size[0] / strength.shape[1], (row + 0.5) * size[1] / strength.shape[0]
        arm, draw = side / 28, ImageDraw.Draw(shown)
        for color, more in (("black", 2), ("white", 0)):
            width = max(1, side // 120) + more
            draw.line((x - arm - more / 2, y, x + arm + more / 2, y), color, width)
            draw.line((x, y - arm - more / 2, x, y + arm + more / 2), color, width)
    return shown
