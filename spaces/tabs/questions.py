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

from hf_latent.tasks import TASKS

TITLE, ORDER = "Questions", 50
SHOWN = 8


def refusal(explorer: Explorer) -> str | None:
    """Why a model answers no questions; None where it does."""
    if isinstance(explorer.head, Head):
        return None
    return f"It was not trained to answer: a model of a downstream task is, such as {known_tasks()}."


def known_tasks() -> str:
    """The names of the models that answer, as recipes write them."""
    return ", ".join(task.type_name for task in TASKS.values() if task.sentence)


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    heads = {explorer.name: cast(Head, explorer.head) for explorer in explorers}
    rows = {name: examples(head) for name, head in heads.items()}
    first = explorers[0].name

    @spoken
    def answer(name: str, image: Image.Image | None, other: Image.Image | None, sentence: str) -> str:
        return answer_html(named(explorers, name), [image, other], checked(sentence))

    @spoken
    def switch(name: str, *asked: Any) -> list[Any]:
        """What is asked stays where all models read the same kind of sentence and as many images."""
        head = cast(Head, named(explorers, name).head)
        if len({(each.images, each.sentence) for each in heads.values()}) > 1:
            asked = tuple(first_of(rows[name]))
        image, other, sentence = asked
        return [
            gr.update(value=image, label=label_of(head)),
            gr.update(value=other, visible=shown(head)),
            gr.update(value=sentence, label=f"A {head.sentence}"),
            *(gr.update(visible=each == name and bool(listed)) for each, listed in rows.items()),
            answer(name, *asked),
        ]

    name, head, start = picker(explorers), heads[first], first_of(rows[first])
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            options: dict[str, Any] = {"height": 200, "sources": ["upload", "clipboard"], "format": "png"}
            with gr.Row():
                image = Upload(start[0], label=label_of(head), min_width=130, **options)
                other = Upload(start[1], label="Right picture", visible=shown(head), min_width=130, **options)
            sentence = gr.Textbox(start[2], label=f"A {head.sentence}", max_length=LONGEST)
            press = gr.Button("What does it say?", variant="primary")
            groups, chosen = [], []
            for each, listed in rows.items():
                if not listed:
                    groups.append(gr.Column(visible=False))
                    continue
                with gr.Column(visible=each == first) as group:
                    two = heads[each].images > 1
                    found = listed if two else [row[::2] for row in listed]
                    parts = [image, other, sentence] if two else [image, sentence]
                    chosen.append(gr.Examples(found, parts, label="Or one of these", elem_id=f"rows-{len(groups)}"))
                groups.append(group)
        with gr.Column(scale=3, min_width=300):
            said = gr.HTML(answer(first, *start))
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


def first_of(rows: list[list[Any]]) -> list[Any]:
    """What is asked to begin with: nothing where there are no examples."""
    return rows[0] if rows else [None, None, ""]


def answer_html(explorer: Explorer, images: Sequence[Image.Image | None], sentence: str) -> str:
    """What the model says, and how probable the likeliest answers are."""
    head = cast(Head, explorer.head)
    note = f"<p class='quiet'>{escape(explorer.note)}</p>" if explorer.note else ""
    given = [image for image in images[: head.images] if image is not None]
    if len(given) < head.images:
        what = "an image" if head.images == 1 else "two images"
        example = ", or press an example" if head.examples else ""
        return f"<p class='quiet'>Bring {what}{example}.</p>{note}"
    if not sentence:
        return f"<p class='quiet'>Write a {escape(head.sentence)}.</p>{note}"
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
    unlike = "".join(explorer.unlike_html(image, name) for image, name in zip(given, names, strict=True))
    cells = [[escape(name) or "…", bar_html(share, f"{100 * share:.1f} %")] for name, share in shares[:SHOWN]]
    return (
        f"<p class='said'><small>{escape(sentence)}</small>{escape(said) or '…'}</p>"
        f"{unread_html(head.processor.tokenizer, sentence)}{unlike}"
        f"{table_html(['Answer', 'Probability'], cells, 'likeliest')}<p class='quiet'>{told}</p>{note}"
    )
