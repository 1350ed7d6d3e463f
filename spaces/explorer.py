"""A trained model, and the embeddings of the small data set that its pages show."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from heads import Head
from PIL import Image
from row_heads import RowHead
from sample import find_sample, read_recipe
from thumbnails import player, thumbnail
from torch import Tensor
from usual import Usual

from hf_latent.data.collator import LatentCollator
from hf_latent.data.sample import WORDS_SHOWN, Sample
from hf_latent.errors import UserError, blamed_on
from hf_latent.finished import find_run, load_finished
from hf_latent.kinds import KINDS
from hf_latent.metrics import retrieval
from hf_latent.models.embeddings import Embeddings
from hf_latent.models.images import read_image
from hf_latent.models.modeling_latent_albef import LatentALBEFModel
from hf_latent.reading import reader_of
from hf_latent.runs import METRICS, RECIPE, read_metrics
from hf_latent.tasks import task_of
from hf_latent.views import Views, build_view

BATCH = 100
FUSED = "both together"
PAIR = ("image", "text")


class Explorer:
    """What every page asks: embeddings of the sample and of what a visitor brings.

    Args:
        run: A run folder, or the id of a model on the Hub.
        trust_recipe: Read the data that a recipe of somebody else names on this machine or elsewhere.

    Attributes:
        name: The folder's name, or the id.
        repository: Its id, if it was loaded from the Hub.
        metrics: What was measured when it was trained; empty where nothing was.
        head: What a model that was trained on labels is asked; None of others.
        reader: The model, as a source of data is told of it.
        source: Its data; None where they cannot be read here.
        rows: Those that the pages show, as [`sample`] has them; None where there are none.
        note: What should be said of them; empty, mostly.

    Raises:
        UserError: If there is no such run, its model cannot be loaded, or no data fits it.
    """

    def __init__(self, run: str, trust_recipe: bool = False) -> None:
        self.name = Path(run).resolve().name if Path(run).is_dir() else run
        folder = find_run(run)
        self.model, self.processor = load_finished(run, folder)
        self.repository = None if Path(run).is_dir() else run
        self.recipe = read_recipe(folder)
        self.metrics = read_metrics(folder) if (folder / METRICS).is_file() else {}
        task = task_of(type(self.model))
        reader = self.reader = reader_of(type(self.model), self.model.config)
        self.source, self.rows, self.note = find_sample(
            self.recipe, self.processor.modalities, reader, folder, trust_recipe
        )
        kind = Head if task is not None and task.sentence else RowHead
        self.head = None if task is None else kind(self.model, self.processor, task, self.rows)
        if self.head is not None:
            self.note = self.note or self.head.note
            return
        if self.rows is None:
            if self.image_and_text is None:  # there is nothing to ask of others without rows
                raise UserError(self.note)
            return
        with blamed_on(f"{run} cannot embed its data"):
            self.unit = unit(self.embed(self.sample.values))

    @property
    def sample(self) -> Sample:
        """The rows that the pages show.

        Raises:
            UserError: If there are none.
        """
        if self.rows is None:
            raise UserError(self.note)
        return self.rows

    @property
    def modalities(self) -> list[str]:
        return list(self.model.config.modalities)

    @property
    def images(self) -> list[str]:
        """The modalities that are images."""
        return [name for name, spec in self.processor.modalities.items() if spec["kind"] == "image"]

    @property
    def image_and_text(self) -> tuple[str, str] | None:
        """The only modality of images and the only one of texts, where the model compares the two whatever else it
        reads; None where it cannot."""
        names = [[name for name, spec in self.processor.modalities.items() if spec["kind"] == kind] for kind in PAIR]
        if [len(found) for found in names] != [1, 1] or not (self.model.compared or len(self.modalities) == 2):
            return None
        return names[0][0], names[1][0]

    @property
    def pictured(self) -> list[str]:
        """The modalities that are shown as pictures: all but texts."""
        return [name for name, spec in self.processor.modalities.items() if KINDS[spec["kind"]].PICTURED]

    @property
    def no_embeddings(self) -> str | None:
        """Why the model embeds nothing to compare; None where it does."""
        if self.head is None:
            return None
        return f"It was trained to answer, which shapes no space of embeddings: see the tab {self.head.tab}."

    @property
    def no_space(self) -> str | None:
        """Why there is no latent space of rows to look at; None where there is one."""
        return self.no_embeddings or (self.note if self.rows is None else None)

    @torch.no_grad()
    def embed(self, values: Mapping[str, Sequence[Any]]) -> Embeddings:
        """Raw embeddings of some rows, of any of the modalities."""
        rows = len(next(iter(values.values())))
        options = {"return_loss": False, "return_logits": False}
        if isinstance(self.model, LatentALBEFModel):
            options["return_fused"] = False  # what it fuses lies in no space with the embeddings
        parts = []
        for start in range(0, rows, BATCH):
            part = {name: column[start : start + BATCH] for name, column in values.items()}
            parts.append(self.model(**self.processor.batch(part), **options))
        return Embeddings.join(parts)

    @torch.no_grad()
    def embed_views(self, values: Mapping[str, Sequence[Any]], views: Views) -> Embeddings:
        """The same of a batch, with the second view that the objective reads; every row is augmented alike."""
        collator = LatentCollator(self.processor, {name: name for name in values}, word_ids=views.of_words)
        columns = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        inputs = collator(columns)["modalities"]
        second = {}
        for name in self.model.second_views(list(values)):
            view = views.modalities[name]
            noise = view.draw(1, inputs[name], torch.Generator().manual_seed(0))
            noise = {part: row.repeat(len(columns), *[1] * (row.ndim - 1)) for part, row in noise.items()}
            second[name] = view.augment(inputs[name], noise)
        packed = self.model.pack(views.plain(inputs), second or None)
        return self.model(**packed, return_loss=False, return_logits=False)

    def describe(self, row: int) -> str:
        """What a row of the sample shows, and its texts."""
        texts = [values[row][:WORDS_SHOWN] for values in self.sample.values.values() if isinstance(values[row], str)]
        return " · ".join(dict.fromkeys([self.sample.words[row], *texts]))

    def recalls(self, unit: Mapping[str, Tensor]) -> dict[str, float]:
        """How often a right one is nearest, of the first two modalities of the sample, in percent, both ways."""
        ids, (a, b) = self.sample.ids, self.modalities[:2]
        of_a, of_b = self._distinct(a), self._distinct(b)
        found = retrieval(unit[a][of_a], unit[b][of_b], ids[of_a], ids[of_b], k=(1,), names=(a, b))
        return {f"{to} nearest to {of} is right": found[f"{of}_to_{to}_r1"] for of, to in ((a, b), (b, a))}

    def _distinct(self, name: str) -> np.ndarray:
        """The rows of one modality; of those with the same id and the same text, the first."""
        values = [value if isinstance(value, str) else str(row) for row, value in enumerate(self.sample.values[name])]
        return np.unique(
            [f"{number} {v}" for number, v in zip(self.sample.ids, values, strict=True)], return_index=True
        )[1]

    @cached_property
    def views(self) -> Views | None:
        """How training augmented what the model reads; None where no recipe tells."""
        written, found = self.recipe.get("views", {}), {}
        if {"labels", "teacher", "third_augmented"} & self.model.objective.requires:
            return None  # a visitor's rows have no labels, a finished model has no teacher, and two views are made
        with blamed_on(f"{RECIPE}: views"):
            for name in self.modalities:
                if name not in written:
                    return None
                options = {key: value for key, value in written[name].items() if key != "kind"}
                spec = self.processor.modalities[name]
                options = {key: spec[key] for key in ("size", "mean", "std") if key in spec} | options
                view = build_view(str(written[name].get("kind")), **options)
                found[name] = view.for_tokenizer(self.processor.tokenizers.get(name)).for_modality(spec)
        return Views(found)

    def unlike_html(self, image: Any, what: str = "This picture") -> str:
        """That a picture is unlike those of the data; empty where it is like them, or none of them is here."""
        return self.usual.unlike_html(image, what) if self.usual else ""

    @cached_property
    def usual(self) -> Usual | None:
        """What the pictures of the data look like; None where none is here."""
        if self.head is not None:
            pictures = self.head.pictures
        else:
            pictures = [value for name in self.images for value in self.rows.values[name]] if self.rows else []
        return Usual(pictures) if pictures else None

    def player(self, name: str, row: int) -> str:
        """HTML that plays what a row of the sample holds; empty of what is not heard."""
        return player(self.sample.values[name][row], self.processor.modalities[name])

    @cached_property
    def thumbnails(self) -> dict[str, list[Image.Image]]:
        """Small pictures of the sample, of each modality that is no text."""
        kinds = {name: self.processor.modalities[name]["kind"] for name in self.pictured}
        return {name: [thumbnail(value, kind) for value in self.sample.values[name]] for name, kind in kinds.items()}


def unit(embeddings: Embeddings) -> dict[str, Tensor]:
    """What a map shows: the embedding of each modality and, where there is one, of all together, of unit length."""
    found = dict(embeddings.embeds or {})
    if embeddings.fused is not None:
        found[FUSED] = embeddings.fused
    return {name: F.normalize(rows.double(), dim=-1) for name, rows in found.items()}


def picture(value: Any) -> Image.Image:
    """A picture of a data set as models read it: in RGB, upright, on white where it is transparent."""
    return read_image(value)
