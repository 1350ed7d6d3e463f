"""What a CoMM model of Trifeature pairs finds similar: by one image, by the other, and by both fused.

Start it with `python app.py RUN`, RUN a run folder or the id of a model on the Hub; or set HF_LATENT_MODEL.
"""

import base64
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
import yaml
from huggingface_hub import snapshot_download
from PIL import Image
from transformers import AutoModel, AutoProcessor

import hf_latent
from hf_latent.data.trifeature import COLORS, SHAPES, TEXTURES, TrifeatureImages
from hf_latent.errors import UserError, suggest
from hf_latent.metrics.interactions import CHANCE
from hf_latent.runs import METRICS, RECIPE, read_metrics

REFERENCE_PAIRS, NEIGHBOURS, BATCH = 600, 5, 100
MODALITIES = ("image1", "image2")
VIEWS = {"image1": "Image 1 alone", "image2": "Image 2 alone", "fused": "Both images, fused"}
FACTORS = ("shape", "texture 1", "color 1", "texture 2", "color 2")
TILES = {
    "redundancy": "Redundancy: the shape of both images",
    "uniqueness1": "Uniqueness 1: the texture of image 1",
    "uniqueness2": "Uniqueness 2: the texture of image 2",
    "synergy": "Synergy: a rule that takes both images",
}
FIGURE = "figures/interactions.png"
FILES = ["*.json", "*.py", "*.safetensors", RECIPE, FIGURE]
CSS = """
.html-container { padding: 0 !important; }
.tiles, .views { display: grid; gap: 8px 12px; grid-template-columns: repeat(auto-fit, minmax(145px, 1fr)); }
.views { gap: 20px; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); }
.tile, .pair { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 10px; }
.tile b, .tile small, .pair small { display: block; line-height: 1.35; } .tile b { font-size: 1.5em; }
.tile small, .picked small, .pair small, .views p { opacity: 0.8; }
.views h3 { margin: 0; } .views p { margin: 2px 0 10px; min-height: 3.3em; }
.pair { display: flex; align-items: center; gap: 12px; margin-bottom: 8px; }
.two { display: flex; flex: none; gap: 3px; } .two img { width: 56px; border-radius: 4px; }
.view-image1 img + img, .view-image2 img:first-child { opacity: 0.35; }
.picked { text-align: center; } .picked small { display: block; min-height: 1.4em; }
.picked img { display: block; width: 100%; max-width: 176px; margin: 0 auto 6px; border-radius: 8px; }
"""


@dataclass(frozen=True)
class Picture:
    """A Trifeature image and what it shows; `held_out` says that the model was not trained on it."""

    pixels: np.ndarray
    shape: str
    texture: str
    color: str
    held_out: bool


@dataclass(frozen=True)
class Neighbour:
    """A pair of the reference, its similarity to the query, and the factors that agree with the query's."""

    pair: tuple[Picture, Picture]
    similarity: float
    agrees: tuple[str, ...]


class Explorer:
    """A trained model, the pictures to ask it about, and the features of a reference set of held-out pairs.

    Args:
        run: A run folder, or the id of a model on the Hub.

    Raises:
        UserError: If there is no such run, or it is not one of CoMM on Trifeature pairs.
    """

    def __init__(self, run: str) -> None:
        self.name = run if not Path(run).is_dir() else Path(run).resolve().name
        folder = find_run(run)
        try:
            self.model = AutoModel.from_pretrained(folder).eval()
            self.processor = AutoProcessor.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise UserError(f"{run} holds no model that can be loaded: {error}") from None
        modalities = getattr(self.processor, "modalities", {})
        if set(modalities) != set(MODALITIES):
            raise UserError(f"{run} is a model of {', '.join(modalities) or 'something else'}, not of two images")
        self.metrics = read_metrics(folder) if (folder / METRICS).is_file() else {}
        self.figure = Image.open(folder / FIGURE) if (folder / FIGURE).is_file() else None
        options = data_options(folder)
        try:  # The first render of a training combination is the same however many there are.
            self.data = hf_latent.load_trifeature(renders=1, **options)
        except ValueError as error:
            raise UserError(f"{folder / RECIPE}: data: {error}") from None
        self.pairs = self.data.pairs("test", max_pairs=REFERENCE_PAIRS)
        images, index = self.data.test.images, self.pairs.index
        # An image is encoded once for all the pairs that show it.
        features = {name: self._features({name: images})[index[:, k]] for k, name in enumerate(MODALITIES)}
        features["fused"] = self._features({name: images[index[:, k]] for k, name in enumerate(MODALITIES)})
        # All features share one large part, which would make every cosine nearly 1.
        self._means = {view: rows.mean(0) for view, rows in features.items()}
        self._reference = {view: self._directions(rows, view) for view, rows in features.items()}

    def picture(self, shape: str, texture: str, color: str) -> Picture:
        """The held-out picture of this combination, or its first training picture where it was not held out."""
        for word, known in ((shape, SHAPES), (texture, TEXTURES), (color, COLORS)):
            if word not in known:
                raise UserError(f"no picture shows {word!r}: {suggest(word, known)}")
        wanted = SHAPES.index(shape), TEXTURES.index(texture), COLORS.index(color)

        def rows(images: TrifeatureImages) -> np.ndarray:
            return np.flatnonzero((np.stack([images.shape, images.texture, images.color], 1) == wanted).all(1))

        test, train = rows(self.data.test), rows(self.data.train)
        return picture_of(self.data.test, test[0], True) if len(test) else picture_of(self.data.train, train[0], False)

    def neighbours(self, first: Picture, second: Picture) -> dict[str, list[Neighbour]]:
        """The most similar reference pairs in each of `VIEWS`, best first; in the first two, an image counts once."""
        both = {"image1": first.pixels[None], "image2": second.pixels[None]}
        scores, found = {}, {}
        for view in VIEWS:
            features = self._features(both if view == "fused" else {view: both[view]})
            scores[view] = self._reference[view] @ self._directions(features, view)[0]
        for view, score in scores.items():
            order = np.lexsort((-scores["fused"], -score))  # of the pairs that show one image, the nearest as a pair
            shown = order if view == "fused" else self.pairs.index[order, MODALITIES.index(view)]
            best = order[np.sort(np.unique(shown, return_index=True)[1])[:NEIGHBOURS]]
            test, index = self.data.test, self.pairs.index
            pairs = [(picture_of(test, a, True), picture_of(test, b, True)) for a, b in index[best]]
            found[view] = [
                Neighbour(pair, float(score[row]), agreement((first, second), pair))
                for row, pair in zip(best, pairs, strict=True)
            ]
        return found

    def examples(self, count: int = 4) -> list[list[str]]:
        """Pairs of held-out pictures, of a shape each, that are not in the reference: shape, and both pictures."""
        test, known = self.data.test, set(map(tuple, self.pairs.index.tolist()))
        chosen = []
        for shape in reversed(range(len(SHAPES))):
            pairs = itertools.permutations(np.flatnonzero(test.shape == shape).tolist(), 2)
            new = [(a, b) for a, b in pairs if (a, b) not in known and test.texture[a] != test.texture[b]]
            free = [(a, b) for a, b in new if test.color[a] != test.color[b]]
            if free:
                a, b = (picture_of(test, row, True) for row in free[len(free) // 2])
                chosen.append([a.shape, a.texture, a.color, b.texture, b.color])
        return chosen[:count]

    @torch.no_grad()
    def _features(self, images: dict[str, np.ndarray]) -> np.ndarray:
        rows = len(next(iter(images.values())))
        batches = [
            self.processor({name: list(values[start : start + BATCH]) for name, values in images.items()})
            for start in range(0, rows, BATCH)
        ]
        return torch.cat([self.model.get_fused_features(**batch) for batch in batches]).double().numpy()

    def _directions(self, features: np.ndarray, view: str) -> np.ndarray:
        centred = features - self._means[view]
        return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def find_run(run: str) -> Path:
    """The folder of a run, fetched from the Hub where `run` is not a folder."""
    if Path(run).is_dir():
        return Path(run)
    try:
        return Path(snapshot_download(run, allow_patterns=FILES, ignore_patterns=["checkpoint-*"]))
    except (OSError, ValueError):
        raise UserError(f"{run} is neither a folder nor a model that can be reached on the Hub") from None


def data_options(folder: Path) -> dict[str, Any]:
    """How the run's recipe says the pictures are drawn; nothing, hence the defaults, without a recipe."""
    if not (folder / RECIPE).is_file():
        return {}
    try:
        data = yaml.safe_load((folder / RECIPE).read_text())["data"]
        if data["name"] != "trifeature":
            raise UserError(f"{folder} was trained on {data['name']!r}; this page knows Trifeature pairs")
        return {key: data[key] for key in ("image_size", "texture_period", "seed") if key in data}
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{folder / RECIPE} has no data section that can be read ({error})") from None


def picture_of(images: TrifeatureImages, row: int, held_out: bool) -> Picture:
    """One row of a split, with its labels in words."""
    words = SHAPES[images.shape[row]], TEXTURES[images.texture[row]], COLORS[images.color[row]]
    return Picture(images.images[row], *words, held_out=held_out)


def sentence(agrees: Sequence[str]) -> str:
    """What agrees, in words."""
    if not agrees:
        return "nothing agrees"
    return "same " + " and ".join([", ".join(agrees[:-1]), agrees[-1]] if agrees[1:] else agrees)


def agreement(query: tuple[Picture, Picture], found: tuple[Picture, Picture]) -> tuple[str, ...]:
    """Those of `FACTORS` in which two pairs agree."""
    values = [(a.shape, a.texture, a.color, b.texture, b.color) for a, b in (query, found)]
    return tuple(name for name, wanted, has in zip(FACTORS, *values, strict=True) if wanted == has)


def image_html(picture: Picture) -> str:
    """The picture as HTML, with its words for those who do not see it."""
    Image.fromarray(picture.pixels).save(buffer := BytesIO(), format="png")
    words, data = f"{picture.color} {picture.shape}, {picture.texture}", base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{words}" title="{words}" src="data:image/png;base64,{data}">'


def picked_html(picture: Picture) -> str:
    """A picture of the query; a training picture is called one."""
    where = "held out" if picture.held_out else "from the training set: this combination was not held out"
    return f'<div class="picked">{image_html(picture)}<small>{where}</small></div>'


def neighbours_html(found: dict[str, list[Neighbour]]) -> str:
    """The three lists side by side, each with a count of what agrees; an image that a view does not see is faint."""
    columns = []
    for view, pairs in found.items():
        seen = [name for name in FACTORS if view == "fused" or name[-1] in ("e", view[-1])]
        counts = ", ".join(f"{name} in {sum(name in pair.agrees for pair in pairs)}" for name in seen)
        columns.append(f'<div class="view-{view}"><h3>{VIEWS[view]}</h3><p>Of these {len(pairs)}, same {counts}.</p>')
        for pair in pairs:
            two, words = "".join(map(image_html, pair.pair)), f"<small>{sentence(pair.agrees)}</small>"
            card = f'<div class="two">{two}</div><div><b>{pair.similarity:.2f}</b>{words}</div>'
            columns.append(f'<div class="pair">{card}</div>')
        columns.append("</div>")
    return f'<div class="views">{"".join(columns)}</div>'


def metrics_html(metrics: dict[str, Any]) -> str:
    """What linear probes read from this run's features, or a sentence where it was not measured."""
    tiles = [
        f'<div class="tile"><b>{metrics[name]:.1f} %</b>{title}<small>a guess: {CHANCE[name]:.0f} %</small></div>'
        for name, title in TILES.items()
        if isinstance(metrics.get(name), int | float)
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else "This run has not been measured."


def build_demo(run: str) -> gr.Blocks:
    """The page of one run.

    Raises:
        UserError: As `Explorer`.
    """
    explorer = Explorer(run)

    def show(shape: str, texture1: str, color1: str, texture2: str, color2: str) -> tuple[str, str, str]:
        try:
            pair = explorer.picture(shape, texture1, color1), explorer.picture(shape, texture2, color2)
            return picked_html(pair[0]), picked_html(pair[1]), neighbours_html(explorer.neighbours(*pair))
        except UserError as error:
            raise gr.Error(str(error)) from None

    examples = explorer.examples()
    shape, texture1, color1, texture2, color2 = examples[0]
    with gr.Blocks(title="hf_latent: what the model finds similar", analytics_enabled=False) as demo:
        gr.Markdown(
            f"# What does the model find similar?\n**{escape(explorer.name)}** is a CoMM model of pairs of images "
            "that share their shape. Linear probes read from its features, in macro accuracy on held-out pairs:"
        )
        gr.HTML(metrics_html(explorer.metrics))
        if explorer.figure is not None:
            with gr.Accordion("The same as a figure", open=False):
                gr.Image(explorer.figure, show_label=False, interactive=False)
        gr.Markdown(
            f"## Pick a pair\nBelow it are the {NEIGHBOURS} most similar of {len(explorer.pairs)} held-out pairs: by "
            "image 1 alone, by image 2 alone, and by both fused; an image that a list does not look at is faint. The "
            "number is the cosine of the features less their mean: 1 is the same direction, 0 an unrelated one."
        )
        inputs = [gr.Dropdown(list(SHAPES), value=shape, label="Shape of both images")]
        pictures = []
        with gr.Row():
            for k, (texture, color) in enumerate(((texture1, color1), (texture2, color2)), start=1):
                with gr.Column(min_width=140):
                    pictures.append(gr.HTML())
                    inputs.append(gr.Dropdown(list(TEXTURES), value=texture, label=f"Texture {k}"))
                    inputs.append(gr.Dropdown(list(COLORS), value=color, label=f"Color {k}"))
        outputs = [*pictures, lists := gr.HTML(render=False)]
        labels = [f"{row[0]}: {row[2]} {row[1]} + {row[4]} {row[3]}" for row in examples]
        gr.Examples(
            examples,
            inputs,
            outputs,
            show,
            cache_examples=False,
            run_on_click=True,
            example_labels=labels,
            label="Or one of these held-out pairs",
        )
        lists.render()
        demo.load(show, inputs, outputs, api_name="neighbours")
        for dropdown in inputs:
            dropdown.input(show, inputs, outputs, api_visibility="private")
    return demo


def main(arguments: Sequence[str]) -> int:
    """Serve the run that is named first, or else in HF_LATENT_MODEL; returns the exit code."""
    run = arguments[0] if arguments else os.environ.get("HF_LATENT_MODEL", "")
    if not run:
        print("Name a run: python app.py RUN, or set HF_LATENT_MODEL to its folder or Hub id.", file=sys.stderr)
        return 2
    try:
        demo = build_demo(run)
    except UserError as error:
        print(f"This run cannot be shown: {error}", file=sys.stderr)
        return 2
    demo.launch(css=CSS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
