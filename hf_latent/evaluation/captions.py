"""An image and a text encoder, measured on held-out images with captions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.loaded import CaptionBenchmark
from ..errors import UserError
from ..metrics import geometry, linear_probe, retrieval, zero_shot
from ..metrics.retrieval import scored_retrieval
from ..models.embeddings import Embeddings
from ..models.image_text import ImageTextPreTrainedModel
from ..models.modeling_latent_albef import LatentALBEFForImageTextRetrieval
from ..plots import plot_latent_map
from ..training import LatentTrainer
from .rows import MAP_ROWS, some

FEWEST = 4  # images that have a geometry
GEOMETRY_ROWS = 5000  # nearest neighbours cost the square of it


class CaptionsEvaluation:
    """An image and a text tower: zero-shot classification, retrieval, probes of the factors, and geometry.

    Where the model can tell pairs, `rerank` candidates of a query are ordered anew by that, too.
    """

    def __init__(self, benchmark: CaptionBenchmark, protocol: str, rerank: int = 16) -> None:
        if len(benchmark.images) < FEWEST:
            raise UserError(f"the test split holds {len(benchmark.images)} images: {FEWEST} or more can be measured")
        self.benchmark, self.protocol, self.rerank = benchmark, protocol, rerank

    def embed(self, trainer: LatentTrainer) -> None:
        """Embed all rows; every process takes part."""
        self.model: Any = trainer.accelerator.unwrap_model(trainer.model)
        self.processor = trainer.processing_class
        self.test = trainer.embed(self.benchmark.test)
        self.train = None if self.benchmark.train is None else trainer.embed(self.benchmark.train)
        self.classes = embed_texts(self.model, self.processor, self.benchmark.classes)
        self.temperature = 1 / torch.as_tensor(self.model.scale).item()

    def metrics(self) -> dict[str, float]:
        benchmark = self.benchmark
        embeds = cast(dict[str, Tensor], self.test.embeds)
        image, text = embeds["image"], embeds["text"]
        found: dict[str, float] = {}
        if benchmark.test_classes is not None:
            accuracy = zero_shot(image, self.classes, benchmark.test_classes)
            found |= {f"zero_shot_{key}": value for key, value in accuracy.items()}
        images, texts = benchmark.images, benchmark.texts
        found |= retrieval(image[images], text[texts], pairs=benchmark.pairs)
        if isinstance(self.model, LatentALBEFForImageTextRetrieval) and self.model.config.itm_weight:
            found |= reranked_retrieval(self.model, self.processor, benchmark, image[images], text[texts], self.rerank)
        found |= self._probes()
        rows = images[some(len(images), GEOMETRY_ROWS)]  # once each, however many captions they have
        found |= geometry({name: vectors[rows] for name, vectors in embeds.items()}, k=min(10, len(rows) - 1))
        if self.test.independent is not None:
            cosine = F.cosine_similarity(image, self.test.independent["image"], dim=-1)
            found["separation"] = cosine.abs().mean().item()
        found["temperature"] = self.temperature
        return found

    def _probes(self) -> dict[str, float]:
        """Every factor from the image embedding; the private ones also with the independent embedding beside it."""
        found: dict[str, float] = {}
        if self.train is None:
            return found
        unit = self.protocol != "cyclip"  # which reads the features as they are
        features = _image_features(self.train, unit), _image_features(self.test, unit)
        for factor, labels in self.benchmark.train_labels.items():
            kinds = ["", "_full"] if factor in self.benchmark.private and len(features[0]) > 1 else [""]
            for kind in kinds:
                train, test = (np.concatenate(parts if kind else parts[:1], axis=1) for parts in features)
                truth = self.benchmark.test_labels[factor]
                result = linear_probe(train, labels, test, truth, protocol=self.protocol)
                found[f"probe_{factor}{kind}"] = result.accuracy
        return found

    def figures(self, folder: Path, name: str, metrics: dict[str, Any]) -> None:
        embeds = {key: F.normalize(rows, dim=-1).numpy() for key, rows in cast(Any, self.test.embeds).items()}
        rows = some(len(self.benchmark.test_ids), MAP_ROWS // 2)
        both = np.concatenate([embeds["image"][rows], embeds["text"][rows]])
        factors = {"modality": np.repeat([0, 1], len(rows))}
        classes = {"modality": ["image", "text"], **self.benchmark.class_names}
        factors |= {factor: np.tile(labels[rows], 2) for factor, labels in self.benchmark.test_labels.items()}
        plot_latent_map(both, factors, folder / "latent_map.png", classes)


def embed_texts(
    model: ImageTextPreTrainedModel, processor: Any, sentences: Sequence[str], batch_size: int = 256
) -> Tensor:
    """`(sentences, projection_dim)` on the CPU, in evaluation mode."""
    model.eval()
    rows = []
    for start in range(0, len(sentences), batch_size):
        tokens = processor.stack("text", list(sentences[start : start + batch_size]))
        with torch.no_grad():
            rows.append(model.get_text_features(**{k: v.to(model.device) for k, v in tokens.items()}).float().cpu())
    return torch.cat(rows) if rows else torch.empty(0, model.config.projection_dim)


@torch.no_grad()
def reranked_retrieval(
    model: LatentALBEFForImageTextRetrieval,
    processor: Any,
    benchmark: CaptionBenchmark,
    image_embeds: Tensor,
    text_embeds: Tensor,
    candidates: int,
    batch_size: int = 256,
) -> dict[str, float]:
    """Retrieval with the nearest candidates of each query ordered anew by matching.

    The tokens of all images and texts are held at once, on the CPU.

    Args:
        image_embeds, text_embeds: Of the benchmark's distinct images and texts.
        candidates: How many of a query are ordered anew.

    Returns:
        As `retrieval`, under names that begin with `reranked_`.
    """
    model.eval()
    rows, columns = cast(Any, benchmark.test), benchmark.columns
    words = processor.stack("text", [rows[int(i)][columns["text"]] for i in benchmark.texts])
    text_tokens, image_tokens = [], []
    for part in zip(*(column.split(batch_size) for column in words.values()), strict=True):
        inputs = {name: column.to(model.device) for name, column in zip(words, part, strict=True)}
        text_tokens.append(model.encoders["text"](**inputs).tokens.cpu())
    for start in range(0, len(benchmark.images), batch_size):
        pictures = [rows[int(i)][columns["image"]] for i in benchmark.images[start : start + batch_size]]
        pixels = processor(images=pictures)["pixel_values"].to(model.device)
        image_tokens.append(model.fusion.image_tokens(model.encoders["image"](pixel_values=pixels)).cpu())
    tokens = torch.cat(image_tokens), torch.cat(text_tokens), words["attention_mask"]
    similarity = F.normalize(image_embeds.float(), dim=-1) @ F.normalize(text_embeds.float(), dim=-1).T
    by_image, by_text = (model.rerank(similarity, *tokens, k=candidates, by_text=way) for way in (False, True))
    found = scored_retrieval(by_image, by_text, pairs=benchmark.pairs)
    return {f"reranked_{key}": value for key, value in found.items()}


def _image_features(embeddings: Embeddings, unit: bool) -> list[np.ndarray]:
    """The image embedding, of unit length if so asked, and the independent one where there is one."""
    images = [field["image"].float() for field in (embeddings.embeds, embeddings.independent) if field is not None]
    return [(F.normalize(rows, dim=-1) if unit else rows).numpy() for rows in images]
