"""Finished runs of small models, as the Space is shown them; and the Space's own modules, made importable."""

import json
import sys
from pathlib import Path

import torch
import yaml

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor, LatentCLIPProcessor
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.data.trifeature import CAPTIONS
from tests.models.small import small_clip

SPACES = Path(__file__).resolve().parents[2] / "spaces"
if str(SPACES) not in sys.path:
    sys.path.insert(0, str(SPACES))

SIZE = 16
PAIRS = {"name": "trifeature", "image_size": SIZE, "texture_period": 35.0, "renders": 1}
CAPTIONED = {"name": "trifeature_captions", "image_size": SIZE, "texture_period": 35.0}
VIEWS = {"image": {"kind": "image", "blur": 0.0}, "text": {"kind": "words"}}
METRICS = {"redundancy": 96.37, "synergy": 46.06, "zero_shot_top1": 12.5, "seed": 42}


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


def finish(folder, recipe):
    if recipe:
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder
