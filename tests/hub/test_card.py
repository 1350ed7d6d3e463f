"""The card: what was measured, how the space was shaped, how to load it, and nothing that should stay at home."""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from matplotlib.mathtext import math_to_image

from hf_latent import CoMMConfig, LatentALBEFConfig, LatentCLIPConfig, build_objective, citations
from hf_latent.errors import UserError
from hf_latent.evaluation import Measurement, groups
from hf_latent.hub.card import render_card, write_card
from hf_latent.recipe import parse_recipe
from hf_latent.regularizers import Regularizer, register_regularizer
from hf_latent.regularizers import base as registry
from hf_latent.resources import available_resources, resource_path
from hf_latent.results import written
from hf_latent.training import LatentTrainingArguments
from tests.hub.cards import (
    ALL_REGULARIZERS,
    CLIP_RECIPE,
    CONFIG,
    RECIPE,
    RESNET,
    TEXT,
    THREE,
    TOWERS,
    albef_card,
    card,
    cited,
    clip_card,
    header,
)
from tests.measured import measured

# What was measured


def test_results_stand_in_the_table_and_in_the_model_index():
    text = card()
    assert "**98.2 %**" in text and "**0.812**" in text
    (entry,) = ModelCard(text).data.to_dict()["model-index"]
    values = {m["name"]: m["value"] for result in entry["results"] for m in result["metrics"]}
    assert values == {"redundancy": 98.25, "synergy_auroc": 0.8125}
    assert "`hf-latent evaluate`" in text and "64 px" in text and "seed 42" in text
    assert "CoMM](https://arxiv.org/abs/2409.07402)" in text and "trust_remote_code=True" in text


def test_every_measurement_is_shown_in_its_group_and_explained():
    found = [Measurement(f"of_{name}", 0.25, f"What {name} is", name, reading="how it reads") for name in groups()]
    found.append(Measurement("of_a_plug_in", 0.25, "What a plug-in measures", "somebody_s", "%", chance=0.125))
    text = clip_card(metrics=written(found[::-1]), recipe={**CLIP_RECIPE, "evaluation": {"protocol": "cyclip"}})
    for measurement in found[:-1]:
        assert f"| {measurement.title} | **0.250** | how it reads |" in text
    assert "### Somebody s\n" in text and "| What a plug-in measures | **0.2 %** | 0.1 % |" in text
    positions = [text.index(f"### {group.title}\n") for group in groups().values()]
    assert positions == sorted(positions)
    structure = next(at for at, group in zip(positions, groups().values(), strict=True) if group.structure)
    assert text.index("## Results") < text.index("### Retrieval") < text.index("## Latent structure") < structure
    assert "CyCLIP" in text
    assert all(line.count("|") == 4 for line in text.splitlines() if line.startswith("|"))


def test_a_model_that_was_not_measured_says_so():
    text = card(metrics={})
    assert "This model was not evaluated." in text and "model-index" not in text
    text = card(metrics={"redundancy": float("nan"), "synergy": None})
    assert "This model was not evaluated." in text and "model-index" not in text


def test_what_is_not_recorded_is_not_made_up():
    text = card(recipe={}, metrics={}, figures=())
    assert "What it was trained on is not recorded." in text and "Its recipe is not recorded." in text
    assert "![" not in text and "datasets" not in header(text)


def test_a_figure_is_shown_only_where_there_is_one():
    assert "figures/interactions.png" in card() and "latent_map" not in card()
    text = card(figures=("latent_map.png",))
    assert text.index("figures/latent_map.png") < text.index("## Use") and "losses.png" not in text


def test_synergy_is_read_with_what_was_there_to_learn():
    biased = card(recipe={**RECIPE, "data": {"name": "trifeature", "biased": True}})
    assert "there was no synergy to learn" in card() and "there was no synergy to learn" not in biased
    assert "trained on pairs that obey the rule" in biased


# How the space was shaped


@pytest.mark.parametrize("config", ["comm", "clip"])
def test_each_regularizer_brings_its_formula_weight_and_papers(config):
    if config == "comm":
        options = {**ALL_REGULARIZERS, "brownian_bridge": {"weight": 0.3, "bridged": ["image1"]}}
        text = card(config=CoMMConfig(modalities=CONFIG["modalities"], regularizers=options).to_dict())
    else:
        text = clip_card(regularizers=ALL_REGULARIZERS, learn_temperature=False)
    summary, rest = text.split("## Use")
    for name, options in ALL_REGULARIZERS.items():
        assert f"`{name}` (weight {options['weight']:g})" in summary
        section = rest.split(f"### Regularizer: `{name}`\n")[1].split("\n#")[0]
        assert "$$\nR = " in section and f"Weight {options['weight']:g}" in section
    assert "rising from 0 over 25 % of the training, after the first 10 %" in text
    assert "`mode` = kl" in text and "`t` = 0.25" in text
    assert set(header(text)["tags"]) >= set(ALL_REGULARIZERS)


def test_an_albef_says_what_it_was_trained_on():
    text = albef_card()
    assert "a BERT whose last layer looks at the image" in text
    assert "image-text matching, masked language modelling, momentum distillation" in text
    assert cited(text) == ["li2021align", "hermann2020what"] and "itm_logits" in text
    plain = albef_card(itm_weight=0, mlm_weight=0, alpha=0)
    assert "matching" not in plain.split("## Results")[0] and "momentum copy takes" not in plain


def test_a_card_names_the_objective_where_it_is_not_that_of_clip():
    text = clip_card(recipe={}, modalities=THREE, objective="gram", objective_options={"cosine_weight": 0.5})
    assert "trained with the objective `gram`" in text and "objective of CLIP" not in text
    assert "Numbers at *z* are modalities, in the order above." in text
    assert cited(text) == ["cicchetti2025gramian", "radford2021learning"]
    assert "objective of CLIP" in clip_card() and "Numbers at" not in clip_card()


def test_exactly_the_methods_used_are_cited():
    assert cited(card()) == ["dufumier2025align", "hermann2020what"]
    assert cited(clip_card(recipe={})) == ["radford2021learning"]
    assert cited(clip_card(in_modal=True)) == ["radford2021learning", "jiang2023understanding", "hermann2020what"]
    bottleneck = {"information_bottleneck": {"pairs": "one_vs_all"}, "alignment": {"weight": 0}}
    text = clip_card(recipe={}, regularizers=bottleneck, learn_temperature=False)
    assert cited(text) == ["radford2021learning", "almudevar2025aligning", "li2026ovaib"]
    assert "alignment" not in text.split("## Results")[0]
    both = {"geometric_consistency": {}, "brownian_bridge": {}}
    papers = ["radford2021learning", "jiang2023understanding", "goel2022cyclip"]
    assert cited(clip_card(recipe={}, regularizers=both)) == papers
    cross = CoMMConfig(modalities=CONFIG["modalities"], objective="cross").to_dict()
    assert cited(card(config=cross, recipe={})) == ["dufumier2025align", "radford2021learning"]
    assert "hu2022lora" in cited(card(recipe={**RECIPE, "lora": {"rank": 4}}))


def test_bibtex_is_whole():
    entries = [value for name, value in vars(citations).items() if name.isupper()]
    keys = [re.match(r"@\w+\{(\w+),\n", entry)[1] for entry in entries]
    assert len(set(keys)) == len(keys) >= 8
    for entry in entries:
        assert entry.count("{") == entry.count("}") and entry.endswith("\n}")
        assert all(f"  {field}" in entry for field in ("title", "author", "year"))


def test_a_new_regularizer_needs_no_change_of_a_template():
    @register_regularizer("test_halo")
    @dataclass(frozen=True)
    class Halo(Regularizer):
        """Lay a halo around the embeddings.

        Not for the card.
        """

        radius: float = 2.0
        note: str = "/home/someone"
        formula = r"\sum_j \Vert z_j \Vert^2"
        citations = ("@misc{halo2030,\n  title = {Halos}\n}",)

        def value(self, z, scale):
            raise NotImplementedError

    @register_regularizer("test_bare")
    @dataclass(frozen=True)
    class Bare(Regularizer):
        def value(self, z, scale):
            raise NotImplementedError

    try:
        text = clip_card(regularizers={"test_halo": {"weight": 0.75, "radius": 3}, "test_bare": {}})
        with pytest.raises(UserError, match="no regularizer 'test_hallo'.*test_halo"):
            card(config={**CONFIG, "regularizers": {"test_hallo": {}}})
    finally:
        for name in ("test_halo", "test_bare"):
            registry.REGULARIZERS._found.pop(name)
    assert "`test_halo` (weight 0.75)" in text and "Lay a halo around the embeddings.\n" in text
    assert "$$\nR = \\sum_j \\Vert z_j \\Vert^2\n$$" in text and "`radius` = 3" in text and "halo2030" in cited(text)
    assert "Not for the card" not in text and "/home" not in text and "Bare(" not in text
    assert not any(
        "test_halo" in resource_path("model_cards", n).read_text() for n in available_resources("model_cards")
    )


def test_a_fusion_without_attention_is_told():
    for fusion, word in (("linear", "a linear layer"), ("mlp", "a perceptron")):
        config = CoMMConfig(modalities=CONFIG["modalities"], fusion=fusion).to_dict()
        assert f"information; in place of attention, {word} fuses the means of the tokens." in card(config=config)
    assert "attention" not in card()


def all_formulas():
    others = ("cmc", "simclr", "slip", "factorcl_linear", "infmasking", "coral")
    for objective in ("comm", "cross", "cross_self", *others):
        for terms in ("both", "joint", "single"):
            config = CoMMConfig(modalities=CONFIG["modalities"], objective=objective, loss_terms=terms)
            yield build_objective(config).formula
    for objective, each in (("coral", {"weight": 0.5}), ("coral", {"weight": 0}), ("cross_self", {"clean": True})):
        config = CoMMConfig(modalities=CONFIG["modalities"], objective=objective, objective_options=each)
        yield build_objective(config).formula
    yield build_objective(CoMMConfig(modalities=CONFIG["modalities"], loss_weights=[0.5, 1, 2])).formula
    for in_modal in (False, True):
        yield build_objective(LatentCLIPConfig(modalities=TOWERS, in_modal=in_modal)).formula
        for anchor in (None, "text"):
            options = {"in_modal": in_modal, "anchor": anchor}
            yield build_objective(LatentCLIPConfig(modalities=THREE, **options)).formula
    options = {"gram": [{}, {"label_smoothing": 0.0, "cosine_weight": 0.5}], "symile": [{}, {"negatives": "all"}]}
    options |= {"triangle": [{}, {"root": True}], "pmrl": [{}, {"cosine_weight": 0.5}], "sigmoid": [{}]}
    for objective in options:
        for each in options[objective]:
            for towers in (TOWERS, THREE) if objective != "triangle" else (THREE,):
                config = LatentCLIPConfig(modalities=towers, objective=objective, objective_options=each)
                yield build_objective(config).formula
    anchored = {"modalities": THREE, "objective": "symile", "anchor": "text"}
    yield build_objective(LatentCLIPConfig(**anchored)).formula
    for weights in ({}, {"itm_weight": 0.5, "mlm_weight": 0}):
        text = {**TOWERS["text"], "config": {**TEXT, "num_hidden_layers": 2}}
        yield build_objective(
            LatentALBEFConfig(modalities={**TOWERS, "text": text}, fusion_layers=1, **weights)
        ).formula
    bottlenecks = [{"mode": m, "relative": r} for m in ("squared", "cosine", "kl") for r in (False, True)]
    bottlenecks += [{"mode": m, "pairs": "one_vs_all"} for m in ("squared", "cosine")]
    options = {"feature_separation": [{}, {"contrast": 0, "uniformity": 0.5}], "information_bottleneck": bottlenecks}
    options["geometric_consistency"] = [{}, {"augmented": False}]
    for name in registry.REGULARIZERS:
        yield from (registry.build_regularizer(name, **each).formula for each in options.get(name, [{}]))


def test_formulas_are_what_markdown_leaves_alone_and_latex_reads():
    found = list(all_formulas())
    assert len(set(found)) >= 20 and all(found)
    for line in dict.fromkeys("\n".join(found).splitlines()):
        assert not re.search(r"\\[^A-Za-z]|[<>&$*`]", line), line
        math_to_image(f"${line}$", io.BytesIO(), format="svg")
    assert "0.5 L_1 + L_2 + 2 L_" in "".join(found)


@pytest.mark.parametrize(
    ("objective", "words"),
    [("cross", '"Cross"'), ("cross_self", '"Cross+Self"'), ("cmc", "(CMC)"), ("simclr", "SimCLR"), ("slip", "SLIP")],
)
def test_the_baselines_are_named_and_their_untrained_fusion_is_not_offered(objective, words):
    text = card(config=CoMMConfig(modalities=CONFIG["modalities"], objective=objective).to_dict())
    assert words in text and "fusion of several modalities was never trained" in text
    assert "get_fused_features(**processor(row))" not in text


# The header


def test_the_header_is_valid_and_names_the_base():
    config = LatentCLIPConfig(modalities=TOWERS).to_dict()
    config["modalities"]["image"] = {**RESNET, "pretrained": "microsoft/resnet-50"}
    config["modalities"]["text"]["pretrained"] = "bert-base-uncased"
    recipe = {
        "data": {"name": "dataset", "path": "jxie/flickr8k", "columns": {"image": "image"}, "test_split": "test"}
    }
    text = card(
        config=config, recipe=recipe, metrics=measured({"image_to_text_r1": 50.0, "cka": 0.5}), license="apache-2.0"
    )
    data = ModelCard(text).data
    assert data.base_model == ["microsoft/resnet-50", "bert-base-uncased"] and data.license == "apache-2.0"
    assert (
        data.datasets == ["jxie/flickr8k"] and data.metrics == ["recall_at_1"] and data.library_name == "transformers"
    )
    assert data.pipeline_tag == "zero-shot-image-classification" and "latent_clip" in data.tags
    result, geometry = data.eval_results
    assert geometry.metric_type == "cka"
    assert (result.dataset_type, result.dataset_split, result.metric_value) == ("jxie/flickr8k", "test", 50.0)
    assert "[`bert-base-uncased`](https://huggingface.co/bert-base-uncased)" in text
    assert "huggingface.co/datasets/jxie/flickr8k" in text and "the split `test` of `jxie/flickr8k`" in text

    data = ModelCard(clip_card()).data
    assert data.base_model is None and data.datasets is None and data.license is None
    assert ModelCard(card()).data.pipeline_tag is None


def test_a_clip_checkpoint_is_a_base_that_was_finetuned(tmp_path, monkeypatch):
    config = LatentCLIPConfig(modalities={**TOWERS, "image": RESNET}, clip="openai/clip-vit-base-patch32").to_dict()
    data = ModelCard(card(config=config)).data
    assert (data.base_model, data.base_model_relation) == ("openai/clip-vit-base-patch32", "finetune")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai" / "clip-vit-base-patch32").mkdir(parents=True)  # the same words, and a folder of the author
    text = card(config=config)
    assert ModelCard(text).data.base_model is None and "clip-vit" not in text
    assert "from a checkpoint that is not on the Hub" in text


# Files


def test_the_recipe_of_a_card_is_the_recipe():
    text = card()
    written = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert written == RECIPE and parse_recipe(written, "again").config.to_dict() == CONFIG


def test_the_arguments_of_a_trainer_without_a_recipe(tmp_path):
    arguments = LatentTrainingArguments(
        str(tmp_path / "someone"), global_batch_size=8, learning_rate=2e-4, use_cpu=True
    )
    text = card(recipe={"data": {"name": "MyRows"}, "training": arguments.to_dict()}, metrics={})
    assert "3 epochs; 8 rows in a batch; learning rate 0.0002" in text and "someone" not in text
    assert "What it was trained on is not recorded." in text and "hf-latent train" not in text
    assert yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["training"]["optim"].startswith("adamw")


def test_a_card_is_written_whole_and_keeps_its_license(tmp_path):
    (tmp_path / "config.json").write_text(LatentCLIPConfig(modalities=TOWERS).to_json_string(use_diff=False))
    assert write_card(tmp_path) == tmp_path / "README.md"
    assert ModelCard.load(tmp_path / "README.md").data.license is None
    write_card(tmp_path, license="mit")
    assert ModelCard.load(write_card(tmp_path)).data.license == "mit" and "are under `mit`" in render_card(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".json"] == ["README.md"]
    with pytest.raises(UserError, match="write it as the Hub does"):
        write_card(tmp_path, license="my own\nlicense")
    assert 'model_id = "me/it"' in render_card(tmp_path, repository="me/it")


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no config.json"):
        render_card(tmp_path)
    with pytest.raises(UserError, match="'bert' model: .*known: comm, latent_albef, latent_clip"):
        card(config={"model_type": "bert"})
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("- a list")
    with pytest.raises(UserError, match="holds no recipe"):
        render_card(Path(tmp_path))
