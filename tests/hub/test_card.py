"""The card: what was measured, how to load it, and nothing that should stay at home."""

import re

import yaml
from huggingface_hub import ModelCard

from hf_latent import CoMMConfig
from hf_latent.hub.card import render

CONFIG = CoMMConfig(modalities={name: {"encoder": "cnn"} for name in ("image1", "image2")}).to_dict()
RECIPE = {
    "model": {"type": "comm"},
    "data": {"name": "trifeature", "image_size": 64, "path": "/home/someone/secret"},
    "views": {"image1": {"kind": "image"}},
    "training": {"learning_rate": 1e-3, "output_dir": "/home/someone/runs", "hub_token": "hf_secret"},
}
METRICS = {
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


def card(name="run", metrics=METRICS, recipe=RECIPE, config=CONFIG, figures=("interactions.png", "losses.png")):
    return render(name, config, recipe, metrics, set(figures))


def test_results_stand_in_the_table_and_in_the_model_index():
    text = card()
    assert "**98.2 %**" in text and "**0.812**" in text
    (entry,) = ModelCard(text).data.to_dict()["model-index"]
    values = {m["name"]: m["value"] for result in entry["results"] for m in result["metrics"]}
    assert values == {"redundancy": 98.25, "synergy_auroc": 0.8125}
    assert "figures/interactions.png" in text and "latent_map" not in text
    assert "CoMM](https://arxiv.org/abs/2409.07402)" in text and "trust_remote_code=True" in text


def test_a_model_that_was_not_measured_says_so():
    text = card(metrics={})
    assert "This model was not evaluated." in text and "model-index" not in text


def test_paths_and_tokens_stay_at_home():
    text = card()
    for secret in ("/home/someone", "hf_secret", "output_dir", "hub_token"):
        assert secret not in text
    assert "learning_rate: 0.001" in text


def test_text_of_the_user_is_only_text():
    name = "x: [1]\n---\n<script>alert(1)</script> {{ 7 * 7 }} ```"
    recipe = {**RECIPE, "evaluation": {"protocol": "<b>```\nstandard"}}
    text = card(name=name, recipe=recipe)
    _, header, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    assert yaml.safe_load(header)["model-index"][0]["name"] == " ".join(name.split())
    assert "<script>" not in body and "<b>" not in body.split("```yaml")[0] and " 49 " not in body
    assert body.count("```") % 2 == 0


def test_every_objective_is_named():
    for objective, words in (("cross", '"Cross"'), ("cross_self", '"Cross+Self"')):
        config = CoMMConfig(modalities=CONFIG["modalities"], objective=objective).to_dict()
        assert words in card(config=config)
