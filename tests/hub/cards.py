"""A config, a recipe and measurements, and the cards that are made of them."""

import re

import yaml

from hf_latent import CoMMConfig, LatentALBEFConfig, LatentCLIPConfig
from hf_latent.hub.card import render
from tests.measured import measured

CONFIG = CoMMConfig(modalities={name: {"encoder": "cnn"} for name in ("image1", "image2")}).to_dict()
TEXT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 31}
TOWERS = {"image": {"encoder": "cnn"}, "text": {"encoder": "auto", "config": TEXT}}
THREE = {**TOWERS, "force": {"encoder": "sequence", "input_dim": 3}}
RESNET = {"encoder": "auto", "config": {"model_type": "resnet"}}
RECIPE = {
    "model": {"type": "comm", "modalities": {name: {"encoder": "cnn"} for name in ("image1", "image2")}},
    "data": {"name": "trifeature", "image_size": 64},
    "views": {name: {"kind": "image"} for name in ("image1", "image2")},
    "training": {"learning_rate": 1e-3, "global_batch_size": 32, "num_train_epochs": 2},
}
ALBEF_RECIPE = {"model": {"type": "latent_albef"}, "data": {"name": "trifeature_captions", "image_size": 32}}
CLIP_RECIPE = {"model": {"type": "latent_clip"}, "data": {"name": "trifeature_captions", "image_size": 32}}
METRICS = measured(
    {
        "redundancy": 98.25,
        "synergy_auroc": 0.8125,
        "train_loss": 2.5,
        "train_runtime": 140.0,
        "train_samples_per_second": 500.0,
        "seed": 42,
        "hf_latent_version": "0.1.0",
        "torch_version": "2.13.0",
        "transformers_version": "5.23.0",
    }
)
ALL_REGULARIZERS = {
    "feature_separation": {"weight": 0.5, "ramp": 0.25, "start": 0.1},
    "brownian_bridge": {"weight": 0.3},
    "geometric_consistency": {"weight": 0.125},
    "information_bottleneck": {"weight": 0.2, "mode": "kl"},
    "alignment": {"weight": 0.01},
}


def card(
    name="run", metrics=METRICS, recipe=RECIPE, config=CONFIG, figures=("interactions.png", "losses.png"), **more
):
    return render(name, config, recipe, metrics, set(figures), **more)


def clip_card(recipe=CLIP_RECIPE, metrics=METRICS, modalities=TOWERS, **options):
    return card(config=LatentCLIPConfig(modalities=modalities, **options).to_dict(), recipe=recipe, metrics=metrics)


def albef_card(recipe=ALBEF_RECIPE, metrics=METRICS, **options):
    modalities = {**TOWERS, "text": {**TOWERS["text"], "config": {**TEXT, "num_hidden_layers": 2}}}
    config = LatentALBEFConfig(modalities=modalities, fusion_layers=1, **options)
    return card(config=config.to_dict(), recipe=recipe, metrics=metrics)


def header(text):
    return yaml.safe_load(text.split("---\n")[1])


def cited(text):
    return re.findall(r"^@\w+\{(\w+),", text, flags=re.MULTILINE)
