"""Finished runs of small models, as the Space is shown them; and the Space's own modules, made importable."""

import json
import sys
from pathlib import Path

import torch
import yaml

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor, LatentALBEFProcessor, LatentCLIPProcessor
from hf_latent import LatentALBEFForImageTextClassification as Classification
from hf_latent import LatentALBEFForNaturalLanguageVisualReasoning as VisualReasoning
from hf_latent import LatentALBEFForPreTraining as PreTraining
from hf_latent import LatentALBEFForQuestionAnswering as QuestionAnswering
from hf_latent.data.tokenizers import trifeature_tokenizer, word_tokenizer
from hf_latent.data.trifeature import CAPTIONS
from hf_latent.trust import remember
from tests.measured import measured
from tests.models.small import small_albef, small_clip

SPACES = Path(__file__).resolve().parents[2] / "spaces"
if str(SPACES) not in sys.path:
    sys.path.insert(0, str(SPACES))

SIZE = 16
PAIRS = {"name": "trifeature", "image_size": SIZE, "texture_period": 35.0, "renders": 1}
CAPTIONED = {"name": "trifeature_captions", "image_size": SIZE, "texture_period": 35.0}
MASKED = {"image": {"kind": "image", "blur": 0.0}, "text": {"kind": "masked"}}
QUESTIONS, ENTAILMENT, STATEMENTS = (
    {**CAPTIONED, "name": f"trifeature_{task}"} for task in ("questions", "entailment", "statements")
)
VIEWS = {"image": {"kind": "image", "blur": 0.0}, "text": {"kind": "words"}}
METRICS = measured({"redundancy": 96.37, "synergy": 46.06, "zero_shot_top1": 12.5, "seed": 42})


def pairs_run(folder, data=PAIRS, names=("image1", "image2")):
    """CoMM of images."""
    torch.manual_seed(0)
    encoder = {"encoder": "cnn", "channels": [8, 16]}
    CoMMModel(CoMMConfig(modalities={name: encoder for name in names}, embed_dim=16)).save_pretrained(folder)
    CoMMProcessor({name: {"kind": "image", "size": SIZE} for name in names}).save_pretrained(folder)
    return finish(folder, {"data": data} if data else {})


def captions_run(folder, data=CAPTIONED, views=VIEWS, seed=0, **options):
    """LatentCLIP of images and captions; by default with a regularizer that reads the second view."""
    tokenizer = word_tokenizer(CAPTIONS)
    options = {"in_modal": True, "regularizers": {"brownian_bridge": {"weight": 0.5}}, **options}
    model = small_clip(seed=seed, dtype=torch.float32, vocab_size=len(tokenizer), projection_dim=16, **options)
    model.save_pretrained(folder)
    LatentCLIPProcessor.for_size(SIZE, tokenizer).save_pretrained(folder)
    return finish(folder, {key: part for key, part in (("data", data), ("views", views)) if part})


def albef_run(folder, cls=PreTraining, data=CAPTIONED, views=None, **options):
    """LatentALBEF that knows the words of all built-in sentences; a head by its class."""
    tokenizer = trifeature_tokenizer()
    model = small_albef(dtype=torch.float32, vocab_size=len(tokenizer), cls=cls, fusion_layers=2, **options)
    model.save_pretrained(folder)
    LatentALBEFProcessor.for_size(SIZE, tokenizer).save_pretrained(folder)
    return finish(folder, {key: part for key, part in (("data", data), ("views", views)) if part})


def head_runs(folder):
    """A pre-trained LatentALBEF, and one of each task."""
    names = {0: "entailment", 1: "neutral", 2: "contradiction"}
    return [
        albef_run(folder / "pretrained", views=MASKED),
        albef_run(folder / "questions", QuestionAnswering, QUESTIONS),
        albef_run(folder / "entailment", Classification, ENTAILMENT, num_labels=3, id2label=names),
        albef_run(folder / "statements", VisualReasoning, STATEMENTS, num_labels=2),
    ]


def finish(folder, recipe, own=True):
    """The files of a run beside its model; `own` as a training on this machine would leave them."""
    if recipe:
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        if own:
            remember(folder)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder
