"""Questions: what a model answers about an image, or says of a sentence about one or two images."""

from collections.abc import Sequence
from html import escape
from typing import Any, cast

import gradio as gr
from explorer import Explorer, picture
from heads import Head
from page import LAST, THEN, bar_html, named, picker, spoken, table_html
from PIL import Image
from sentences import LONGEST, checked, unread_html
from upload import Upload

TITLE = "Questions"
SHOWN = 8


def refusal(explorer: Explorer) -> str | None:
    """Why a model answers no questions; None where it does."""
    if explorer.head is not None:
        return None
    return "It was not trained to answer: a LatentALBEF of a downstream task is, such as latent_albef_questions_quick."


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    heads = {explorer.name: cast(Head, explorer.head) for explorer in explorers}
    rows = {name: examples(head) for name, head in heads.items()}
    first = explorers[0].name

    @spoken
    def answer(name: str, image: Image.Image | None, other: Image.Image | None, sentence: str) -> str:
        return answer_html(cast(Head, named(explorers, name).head), [image, other], checked(sentence))

    @spoken
    def switch(name: str, *asked: Any) -> list[Any]:
        """What is asked stays where all models read the same kind of sentence and as many images."""
        head = cast(Head, named(explorers, name).head)
        if len({(each.images, each.sentence) for each in heads.values()}) > 1:
            asked = tuple(rows[name][0])
        image, other, sentence = asked
        return [
            gr.update(value=image, label=label_of(head)),
            gr.update(value=other, visible=shown(head)),
            gr.update(value=sentence, label=f"A {head.sentence}"),
            *(gr.update(visible=each == name) for each in rows),
            answer(name, *asked),
        ]

    name, head = picker(explorers), heads[first]
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            options: dict[str, Any] = {"height": 200, "sources": ["upload", "clipboard"], "format": "png"}
            with gr.Row():
                image = Upload(rows[first][0][0], label=label_of(head), min_width=130, **options)
                other = Upload(rows[first][0][1], label="Right picture", visible=shown(head), min_width=130, **options)
            sentence = gr.Textbox(rows[first][0][2], label=f"A {head.sentence}", max_length=LONGEST)
            press = gr.Button("What does it say?", variant="primary")
            groups, chosen = [], []
            for each, listed in rows.items():
                with gr.Column(visible=each == first) as group:
                    two = heads[each].images > 1
                    found = listed if two else [row[::2] for row in listed]
                    parts = [image, other, sentence] if two else [image, sentence]
                    chosen.append(gr.Examples(found, parts, label="Or one of these", elem_id=f"rows-{len(groups)}"))
                groups.append(group)
        with gr.Column(scale=3, min_width=300):
            said = gr.HTML(answer(first, *rows[first][0]))
    parts = [image, other, sentence]
    changed = [press.click, image.change, other.change, sentence.change]
    gr.on(changed, answer, [name, *parts], said, api_name="question", **LAST)
    for listed in chosen:
        listed.load_input_event.then(answer, [name, *parts], said, **THEN)
    name.input(switch, [name, *parts], [*parts, *groups, said], api_visibility="private", **LAST)


def shown(head: Head) -> bool | str:
    """Whether the second picture is; "hidden" it still takes a value."""
    return head.images > 1 or "hidden"


def label_of(head: Head) -> str:
    """What the first picture is called."""
    return "Left picture" if head.images > 1 else "A picture"


def examples(head: Head) -> list[list[Any]]:
    """Rows of a first picture, a second one or None, and a sentence."""
    found = []
    for images, sentence in head.examples:
        image, other, *_ = [*map(picture, images), None]
        found.append([image, other, sentence[:LONGEST]])
    return found


def answer_html(head: Head, images: Sequence[Image.Image | None], sentence: str) -> str:
    """What the model says, and how probable the likeliest answers are."""
    given = [image for image in images[: head.images] if image is not None]
    if len(given) < head.images:
        what = "an image" if head.images == 1 else "two images"
        return f"<p class='quiet'>Bring {what}, or press an example.</p>"
    if not sentence:
        return f"<p class='quiet'>Write a {head.sentence}.</p>"
    shares = head.shares(given, sentence)
    if not head.writes:
        said, told = shares[0][0], f"One of {len(shares)} classes."
    elif head.answers:
        said = head.writing(given, sentence)
        told = (
            "On top is what it writes, word by word; in the table are the likeliest of the "
            f"{len(head.answers)} answers that its data knows, with their probability among these."
        )
    else:
        said = head.writing(given, sentence)
        told = "On top is what it writes, word by word; in the table are the likeliest of what it could write."
    names = ["This picture"] if head.images == 1 else ["The left picture", "The right picture"]
    unlike = "".join(head.usual.unlike_html(image, name) for image, name in zip(given, names, strict=True))
    cells = [[escape(name) or "…", bar_html(share, f"{100 * share:.1f} %")] for name, share in shares[:SHOWN]]
    return (
        f"<p class='said'><small>{escape(sentence)}</small>{escape(said) or '…'}</p>"
        f"{unread_html(head.processor.tokenizer, sentence)}{unlike}"
        f"{table_html(['Answer', 'Probability'], cells, 'likeliest')}<p class='quiet'>{told}</p>"
        + (f"<p class='quiet'>{escape(head.note)}</p>" if head.note else "")
    )
