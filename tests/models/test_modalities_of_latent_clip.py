"""LatentCLIP of any modalities: as many as there are, of any kinds and names, by their names or by flat keys."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoModelForZeroShotImageClassification, AutoProcessor, CLIPConfig, CLIPModel

from hf_latent import CoMMConfig, CoMMProcessor, LatentCLIP, LatentCLIPConfig, LatentCLIPModel
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.models.encoders import build_encoder, kind_of_spec
from hf_latent.training.lora import Lora, add_lora
from tests.models.small import ENCODERS, small_batch, small_bert, small_clip, small_pairs, small_triples

REGULARIZERS = {
    "feature_separation": {"weight": 0.5},
    "brownian_bridge": {"weight": 0.3, "bridged": ["series"]},
    "geometric_consistency": {"weight": 0.1},
    "alignment": {"weight": 0.01},
}


def towers(**encoders):
    """A small model of any encoders."""
    torch.manual_seed(0)
    return LatentCLIPModel(LatentCLIPConfig(modalities=encoders, projection_dim=8)).double()


def renamed(**names):
    """An image tower and a text tower by other names, with the weights of `small_clip`."""
    source = small_clip()
    found = towers(**{names[name]: spec for name, spec in source.config.modalities.items()})
    weights = source.state_dict()
    for old, new in names.items():
        weights = {key.replace(f".{old}.", f".{new}."): value for key, value in weights.items()}
    found.load_state_dict(weights)
    return source, found


def info_nce(model, embeds, a, b):
    """Both directions, written out."""
    logits = model.scale * F.normalize(embeds[a], dim=-1) @ F.normalize(embeds[b], dim=-1).T
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@pytest.mark.parametrize("anchor", [None, "text"])
def test_the_loss_is_the_mean_over_the_pairs_of_modalities(anchor):
    model, batch = small_clip(more=("series",), anchor=anchor), small_triples()
    output = model(modalities=batch)
    pairs = [("image", "text"), ("image", "series"), ("text", "series")]
    losses = {f"contrastive_{a}_{b}": info_nce(model, output.embeds, a, b) for a, b in pairs if anchor in (None, a, b)}
    assert len(losses) == (3 if anchor is None else 2)
    loss, terms = model.objective(model.score(output), model.scale)
    mean = torch.stack(list(losses.values())).mean()
    assert terms.keys() == {"contrastive", *losses}
    for name, value in {"contrastive": mean, **losses}.items():
        torch.testing.assert_close(terms[name], value.detach())
    torch.testing.assert_close(loss, mean)
    torch.testing.assert_close(output.loss, mean)


def test_two_modalities_have_the_terms_of_clip_and_an_anchor_changes_nothing():
    batch = small_pairs()
    model, anchored = small_clip(), small_clip(anchor="text")
    assert torch.equal(model(**batch).loss, anchored(**batch).loss)
    scored = model.score(model(**batch, return_loss=False))
    assert model.objective(scored, model.scale)[1].keys() == {"contrastive"}


def test_in_modal_terms_are_averaged_over_the_modalities():
    model, first, second = small_clip(more=("series",), in_modal=True), small_triples(seed=1), small_triples(seed=2)
    output = model(modalities=first, augmented_modalities=second)
    one_way = [
        F.cross_entropy(
            model.scale * F.normalize(output.embeds[name], dim=-1) @ F.normalize(output.augmented[name], dim=-1).T,
            torch.arange(6),
        )
        for name in first
    ]
    pairs = [info_nce(model, output.embeds, *pair) for pair in (("image", "text"), ("image", "series"))]
    pairs.append(info_nce(model, output.embeds, "text", "series"))
    torch.testing.assert_close(output.loss, (sum(pairs) / 3 + sum(one_way) / 3) / 2)


def test_names_and_flat_keys_say_the_same():
    model, batch = small_clip(in_modal=True), small_pairs()
    named = {"image": {"pixel_values": batch["pixel_values"]}}
    named["text"] = {key: batch[key] for key in ("input_ids", "attention_mask")}
    flat = model(**batch, **{f"augmented_{key}": value for key, value in batch.items()}, return_logits=True)
    by_name = model(modalities=named, augmented_modalities=named, return_logits=True)
    assert torch.equal(flat.loss, by_name.loss) and torch.equal(flat.logits_per_image, by_name.logits_per_image)
    assert model.pack(named, named, batch["input_ids"]).keys() == {
        *batch,
        *(f"augmented_{key}" for key in batch),
        "ids",
    }


def test_one_image_tower_and_one_text_tower_have_the_shorthands_whatever_they_are_called():
    source, model = renamed(image="photo", text="caption")
    batch = small_pairs()
    output, expected = model.eval()(**batch), source.eval()(**batch)
    assert list(output.embeds) == ["photo", "caption"]
    assert torch.equal(output.logits_per_image, expected.logits_per_image) and torch.equal(output.loss, expected.loss)
    assert torch.equal(model.get_image_features(batch["pixel_values"]), output.embeds["photo"])
    words = {key: batch[key] for key in ("input_ids", "attention_mask")}
    assert torch.equal(model.get_text_features(**words), output.embeds["caption"])
    assert torch.equal(model.get_features("caption", **words), output.embeds["caption"])
    assert torch.equal(model.objective.features(output), output.embeds["photo"])
    more = model(**{**batch, "modalities": {"caption": words}, "input_ids": None, "attention_mask": None})
    assert torch.equal(more.logits_per_image, expected.logits_per_image)


def test_logits_are_there_only_where_one_modality_of_images_and_one_of_texts_are():
    triples = small_clip(more=("series",)).eval()
    batch = small_triples()
    assert triples(modalities=batch).logits_per_image.shape == (6, 6)
    assert triples(modalities={name: batch[name] for name in ("image", "series")}).logits_per_image is None
    pictures = towers(left=ENCODERS["image"], right=ENCODERS["image"]).eval()
    views = {"left": batch["image"], "right": small_triples(seed=1)["image"]}
    output = pictures(modalities=views)
    assert output.logits_per_image is None and output.loss is not None
    torch.testing.assert_close(output.loss, info_nce(pictures, output.embeds, "left", "right"))
    side_by_side = torch.cat([output.embeds["left"], output.embeds["right"]], dim=1)
    assert torch.equal(pictures.objective.features(output), side_by_side)


def test_any_modality_alone_and_rows_that_do_not_depend_on_each_other():
    model, batch = (
        small_clip(more=("series", "features", "table")).eval(),
        small_triples(more=("series", "features", "table")),
    )
    whole = model(modalities=batch)
    for name, inputs in batch.items():
        alone = model(modalities={name: {key: value[2:4] for key, value in inputs.items()}})
        assert list(alone.embeds) == [name] and alone.loss is None
        torch.testing.assert_close(alone.embeds[name], whole.embeds[name][2:4])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, b: m(), r"give modalities=\{name: inputs\}, of any of left, right, series"),
        (lambda m, b: m(pixel_values=b["image"]["pixel_values"]), "2 are image: say which is meant, by modalities="),
        (lambda m, b: m(input_ids=b["text"]["input_ids"]), "0 are text: say which is meant"),
        (lambda m, b: m.get_image_features(b["image"]["pixel_values"]), r"get_features\(name, \*\*inputs\)"),
        (lambda m, b: m(modalities={"left": b["image"]["pixel_values"]}), r"modalities\['left'\] is a Tensor: give"),
        (lambda m, b: m(modalities=[b["image"]]), "modalities is a list: give"),
        (lambda m, b: m(modalities={"lft": b["image"]}), "unknown modality 'lft': did you mean 'left'"),
        (lambda m, b: m.get_features("righ", **b["image"]), "did you mean 'right'"),
        (
            lambda m, b: m(modalities={"left": b["image"]}, augmented_modalities={"series": b["series"]}),
            "second view of the series",
        ),
        (
            lambda m, b: m(modalities={"left": b["image"]}, return_loss=True),
            "as many rows of each of left, right, ser",
        ),
    ],
)
def test_mistakes_say_what_to_write(call, words):
    model = towers(left=ENCODERS["image"], right=ENCODERS["image"], series=ENCODERS["series"])
    with pytest.raises(ValueError, match=words):
        call(model, small_triples())


def test_one_modality_is_not_given_twice():
    batch = small_triples()
    with pytest.raises(ValueError, match=r"pixel_values and modalities\['image'\] are of one modality"):
        small_clip()(pixel_values=batch["image"]["pixel_values"], modalities={"image": batch["image"]})


def test_mistakes_of_a_config_say_what_to_write():
    with pytest.raises(ValueError, match="anchor='txt': did you mean 'text'"):
        small_clip(anchor="txt")
    with pytest.raises(ValueError, match="modality 'text': this encoder reads image"):
        towers(image=ENCODERS["image"], text=ENCODERS["image"])
    with pytest.raises(ValueError, match=r"modalities=\[\{.*write \{name: \{'encoder': ...\}\}"):
        LatentCLIPConfig(modalities=[ENCODERS["image"]])
    with pytest.raises(ValueError, match="modalities.image=None: write the encoder"):
        LatentCLIPConfig(modalities={"image": None, "text": ENCODERS["series"]})
    bridge = {"brownian_bridge": {}}
    options = {"modalities": {name: ENCODERS[name] for name in ("series", "table")}, "regularizers": bridge}
    with pytest.raises(
        ValueError, match=r"brownian_bridge.bridged=\['image'\]: no modality 'image'; .* bridged: \[series\]"
    ):
        _ = LatentCLIPModel(LatentCLIPConfig(**options)).objective


def test_it_is_saved_and_loaded_with_its_processor_regularizers_and_order(tmp_path):
    tokenizer = word_tokenizer(["a red star", "two green squares"])
    encoders = {**ENCODERS, "text": {"encoder": "auto", "pooling": "mean", "config": small_bert(len(tokenizer), 1)}}
    names = ("series", "text", "features")
    model = towers(**{name: encoders[name] for name in names}).float()
    model.save_pretrained(tmp_path)
    CoMMProcessor({name: {"kind": name} for name in names}, {"text": tokenizer}).save_pretrained(tmp_path)
    assert (
        "AutoModelForZeroShotImageClassification" not in json.loads((tmp_path / "config.json").read_text())["auto_map"]
    )
    loaded, processor = AutoModel.from_pretrained(tmp_path).eval(), AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(processor, CoMMProcessor) and list(loaded.config.modalities) == list(names)
    draw = np.random.default_rng(0)
    rows = {"series": [draw.normal(size=(n, 3)) for n in (4, 2)], "text": ["a red star", "two green squares"]}
    batch = processor({**rows, "features": list(draw.normal(size=(2, 5)))})
    output, expected = loaded(**batch), model.eval()(**batch)
    for name in names:
        assert torch.equal(output.embeds[name], expected.embeds[name])
    assert torch.equal(output.loss, expected.loss)
    shaped = LatentCLIP.from_pretrained(tmp_path, regularizers=REGULARIZERS)
    found = shaped(**batch, augmented_modalities=batch["modalities"])
    assert list(found.independent) == list(names) and torch.isfinite(found.loss)
    remote = AutoModel.from_pretrained(tmp_path, trust_remote_code=True, force_download=True).eval()
    assert torch.equal(remote(**batch).embeds["series"], expected.embeds["series"])


def test_the_order_of_modalities_survives_saving(tmp_path):
    modalities = {"view": {"encoder": "cnn"}, "body": {"encoder": "table", "input_dim": 4}}
    config = CoMMConfig(modalities=modalities, loss_weights=[1, 2, 3])
    config.save_pretrained(tmp_path)
    assert list(CoMMConfig.from_pretrained(tmp_path).modalities) == ["view", "body"]


def test_a_clip_checkpoint_with_one_tower_more(tmp_path):
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**tower, "bos_token_id": 38, "eos_token_id": 39, "pad_token_id": 0, "vocab_size": 40}
    source = CLIPModel(CLIPConfig(text_config=text, vision_config={**tower, "image_size": 16, "patch_size": 8}))
    source.eval().save_pretrained(tmp_path)
    options = {"modalities": {"series": ENCODERS["series"]}, "anchor": "image"}
    model = LatentCLIP.from_clip_pretrained(str(tmp_path), **options).eval()
    assert list(model.config.modalities) == ["image", "text", "series"]
    batch = small_triples(dtype=torch.float32)
    features = source.visual_projection(source.vision_model(**batch["image"]).pooler_output)
    output = model(modalities=batch)
    assert torch.equal(output.embeds["image"], features)
    assert output.embeds["series"].shape == features.shape


def test_adapters_and_checkpointing_of_three_towers():
    batch = small_triples(dtype=torch.float32)
    model = small_clip(more=("series",), dtype=torch.float32)
    plain = torch.autograd.grad(model(modalities=batch).loss, list(model.parameters()))
    model.gradient_checkpointing_enable()
    for one, other in zip(
        plain, torch.autograd.grad(model(modalities=batch).loss, list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(one, other)
    frozen = small_clip(more=("series",), dtype=torch.float32, frozen=True)
    adapted = add_lora(frozen, Lora(rank=2, targets=["query", "value", "linear1"]))
    adapted(modalities=batch).loss.backward()
    trained = [name for name, part in adapted.named_parameters() if part.grad is not None]
    for part in ("encoders.text.", "encoders.series.", "projections.series", "projections.image", "logit_scale"):
        assert any(part in name for name in trained), part
    assert not any("encoders.image" in name for name in trained)


def test_what_an_encoder_reads_is_known_without_building_it():
    configs = {
        "bert": {},
        "distilbert": {},
        "gpt2": {},
        "vit": {},
        "resnet": {},
        "convnext": {},
        "siglip_text_model": {},
    }
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    specs = [*ENCODERS.values(), *({"encoder": "auto", "config": {"model_type": name, **tiny}} for name in configs)]
    assert [kind_of_spec(spec) for spec in specs[:4]] == list(ENCODERS)
    assert [kind_of_spec(spec) for spec in specs[4:]] == ["text"] * 3 + ["image"] * 3 + ["text"]
    for name in ("bert", "vit"):
        spec = {"encoder": "auto", "config": {"model_type": name, **tiny}}
        assert build_encoder(spec).kind == kind_of_spec(spec)
    assert (
        kind_of_spec({"encoder": "of_a_plug_in"})
        == kind_of_spec({"encoder": "auto", "config": {"model_type": "?"}})
        == ""
    )
    with pytest.raises(ValueError, match="LatentCLIPConfig"):
        AutoModelForZeroShotImageClassification.from_config(CoMMConfig())


def test_batches_of_two_modalities_that_are_neither(tmp_path):
    model = towers(table=ENCODERS["table"], features=ENCODERS["features"])
    output = model(modalities=small_batch(("table", "features")))
    assert model.main_input_name == "modalities" and model.pack({"table": {}}).keys() == {
        "modalities",
        "augmented_modalities",
        "ids",
    }
    torch.testing.assert_close(output.loss, info_nce(model, output.embeds, "table", "features"))
