"""What stays at home, and what is only text, in a card."""

import json
import re
from functools import cache

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hf_latent import LatentCLIPConfig
from hf_latent.hub.card import write_card
from hf_latent.hub.card_fields import tellable
from tests.hub.cards import METRICS, RECIPE, RESNET, TEXT, TOWERS, card, clip_card, header

SECRETS = {
    "token": "hf_" + "aB3" * 11,
    "path": "/home/someone/secret",
    "windows": "C:\\Users\\someone\\secret",
    "host": "someone-laptop.example.org:8080",
    "user": "someone@example.org",
    "url": "https://someone:secret@example.org/x",
    "key": "AKIA" + "Q7" * 10,
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_secret_gets_into_a_card(secret, tmp_path):
    config = LatentCLIPConfig(modalities={**TOWERS, "image": RESNET}).to_dict()
    config |= {"clip": secret, "_name_or_path": secret, "hub_token": secret}
    for tower in config["modalities"].values():
        tower |= {"pretrained": secret, "comment": secret}
    config["modalities"]["text"]["config"] = {
        **TEXT,
        "_name_or_path": secret,
        "hub_token": secret,
        "hidden_act": secret,
    }
    recipe = {
        "model": {"type": "latent_clip", "clip": secret, "projection": secret, "token": secret, secret: 1},
        "lora": {"rank": 4, "targets": [secret], "where": secret},
        "data": {"name": "dataset", "path": secret, "columns": {"image": secret, secret: "x"}, "ids": secret},
        "views": {"image": {"kind": "image", "size": secret, "folder": secret}, secret: {"kind": "none"}},
        "training": dict.fromkeys(("output_dir", "hub_token", "run_name", "hub_model_id", "optim", "seed"), secret),
        "evaluation": {"protocol": secret, "by": secret},
        "people": {"name": secret},
    }
    recipe["model"]["modalities"] = config["modalities"]
    recipe["training"]["learning_rates"] = {secret: 1.0, "encoders": secret}
    recipe["data"] |= {
        "tokenizers": {"text": secret},
        "options": {"data_dir": secret, "token": secret},
        "split": secret,
    }
    metrics = {**METRICS, "torch_version": secret, "machine": secret, secret: 1.0}
    state = {"best_model_checkpoint": secret, "trial_name": secret, "log_history": [{"loss": 1.0, "host": secret}]}
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    (run / "figures" / "other.png").write_bytes(b"")
    for name, content in (("config", config), ("metrics", metrics), ("trainer_state", state), ("recipe", recipe)):
        suffix = "yaml" if name == "recipe" else "json"  # JSON is YAML
        (run / f"{name}.{suffix}").write_text(json.dumps(content))
    (run / "README.md").write_text(f"---\nlicense: {yaml.safe_dump(secret).split()[0]}\n---\n")
    text = write_card(run).read_text()
    for piece in (secret, "someone", "secret", "laptop", "aB3aB3", "Q7Q7", str(tmp_path)):
        assert piece not in text
    for key in ("output_dir", "hub_token", "run_name", "data_dir", "people", "other.png"):
        assert key not in text
    assert "`data.path`" in text and "`model.clip`" in text  # named as what is to be filled in


def test_only_fields_that_are_known_are_told():
    """A single word may be a name, so words are told in known fields alone."""
    towers = {"image": {**RESNET, "nickname": "someone"}, "text": {"encoder": "auto", "config": dict(TEXT)}}
    towers["text"]["config"] |= {"_name_or_path": "someone", "owner": "someone"}
    recipe = {
        "model": {"type": "latent_clip", "modalities": towers, "owner": "someone"},
        "data": {"name": "trifeature_captions", "image_size": 32, "owner": "someone"},
        "views": {"image": {"kind": "image", "owner": "someone"}},
        "training": {"seed": 3, "run_name": "someone", "output_dir": "someone", "hub_token": "someone"},
        "someone": {"seed": 1},
    }
    text = clip_card(recipe=recipe, metrics={**METRICS, "machine": "someone"})
    assert "someone" not in text and "owner" not in text
    shown = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert shown["training"] == {"seed": 3} and shown["views"] == {"image": {"kind": "image"}}
    assert shown["model"]["modalities"] == {"image": RESNET, "text": {"encoder": "auto", "config": TEXT}}


HOSTILE = [
    "x: [1]\n---\n<script>alert(1)</script> {{ 7 * 7 }} ``` {% raw %} {# #}",
    "[a](javascript:alert(1)) ![b](http://x.example/y.png) <img src=x onerror=alert(1)>",
    "# heading | cell | **bold** _em_ ~~s~~ `code` \\( x \\) \\\\( y \\\\) $$ z $$ &lt; &#60;",
    "www.example.org https://example.org <https://example.org> me@example.org @you #1",
    "'\"\u202e\u2028\x00\x1b[31m: - ? ! | > % @ `",
]


def skeleton(text):
    """The structure of a card: which blocks, links and pictures it has, without its words."""
    body = text.split("---\n", 2)[2]
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(body)
    inline = [child for token in tokens for child in token.children or []]
    return [
        (t.type, t.tag, t.attrs if t.type in ("link_open", "image") else None)
        for t in [*tokens, *inline]
        if t.type != "text"
    ]


def with_text(words):
    recipe = {**RECIPE, "evaluation": {"protocol": words}, "lora": {"targets": [words]}}
    recipe["training"] = {**RECIPE["training"], "optim": words}
    return card(name=words, recipe=recipe, metrics={**METRICS, "torch_version": words})


plain_card = cache(card)
plain_skeleton = cache(lambda words: skeleton(with_text(words)))


def check_text(words):
    text = with_text(words)
    body = text.split("---\n", 2)[2]
    found = header(text)["model-index"][0]["name"]
    assert "\n" not in found and found == "".join(c for c in " ".join(words.split()) if c.isprintable())
    ModelCard(text)
    assert skeleton(text) == plain_skeleton("word" if tellable(words) else "/")
    title = body.splitlines()[1]
    assert "$" not in title and "\\\\(" not in title and not re.search(r"www\.|://|<|\{", title)
    assert body.count("$$") == plain_card().count("$$") and body.count("```") % 2 == 0


@pytest.mark.parametrize("words", HOSTILE)
def test_text_of_the_user_is_only_text(words):
    check_text(words)
    assert " 49 " not in with_text(words)


@given(st.text(min_size=1).filter(lambda words: any(c.isprintable() and not c.isspace() for c in words)))
@settings(max_examples=30, deadline=None)
def test_any_text_is_only_text(words):
    check_text(words)
