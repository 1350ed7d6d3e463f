"""LatentCLIP: towers of every kind, the two views, frozen parts, saving, loading and the zero-shot pipeline."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import (
    AutoModel,
    AutoProcessor,
    BertConfig,
    BertForMaskedLM,
    CLIPConfig,
    CLIPModel,
    DistilBertConfig,
    ResNetConfig,
    SiglipConfig,
    SiglipModel,
    Trainer,
    TrainingArguments,
    ViTConfig,
    pipeline,
)

from hf_latent import LatentCLIP, LatentCLIPConfig, LatentCLIPModel, LatentCLIPProcessor
from hf_latent.data.tokenizers import word_tokenizer
from tests.models.small import small_clip, small_pairs

SENTENCES = ["a photo of a red star", "a photo of a blue circle", "two green squares"]
ENCODER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def clip_loss(model, batch):
    """The symmetric InfoNCE, written out."""
    image, text = (F.normalize(rows, dim=-1) for rows in model(**batch, return_loss=False).embeds.values())
    logits = model.scale * image @ text.T
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def test_the_loss_and_the_logits_are_those_of_clip():
    model, batch = small_clip(), small_pairs()
    torch.testing.assert_close(model(**batch).loss, clip_loss(model, batch))
    assert model(**batch).logits_per_image is None  # in training they are made on request
    assert model(**batch, return_logits=True).logits_per_image.shape == (6, 6)
    output = model.eval()(**batch)
    image, text = (F.normalize(output.embeds[name], dim=-1) for name in ("image", "text"))
    torch.testing.assert_close(output.logits_per_image, model.scale * image @ text.T)
    torch.testing.assert_close(model.get_image_features(batch["pixel_values"]), output.embeds["image"])
    words = {name: batch[name] for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(model.get_text_features(**words), output.embeds["text"])


def test_one_modality_alone_has_no_loss():
    model, batch = small_clip().eval(), small_pairs()
    output = model(pixel_values=batch["pixel_values"])
    assert output.loss is None and output.logits_per_image is None and list(output.embeds) == ["image"]
    with pytest.raises(ValueError, match="give pixel_values, input_ids or both"):
        model()
    with pytest.raises(ValueError, match="second view of the image"):
        model(input_ids=batch["input_ids"], augmented_pixel_values=batch["pixel_values"])


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_two_views_in_one_call_are_those_of_two_calls(norm):
    model, first, second = small_clip(norm=norm, in_modal=True), small_pairs(seed=1), small_pairs(seed=2)
    both = model(**first, **{f"augmented_{key}": value for key, value in second.items()})
    alone = [model(**batch, return_loss=False).embeds for batch in (first, second)]
    for name in ("image", "text"):
        torch.testing.assert_close(both.embeds[name], alone[0][name])
        torch.testing.assert_close(both.augmented[name], alone[1][name])
    assert both.loss is not None


def test_padding_changes_nothing():
    model, batch = small_clip().eval(), small_pairs()
    other = batch["input_ids"] + (1 - batch["attention_mask"]) * 3
    words = {"attention_mask": batch["attention_mask"]}
    torch.testing.assert_close(
        model.get_text_features(other, **words), model.get_text_features(batch["input_ids"], **words)
    )


def test_frozen_towers_stay_frozen_and_in_evaluation_mode(tmp_path):
    model = small_clip(frozen=True, learn_temperature=False)
    model.save_pretrained(tmp_path)
    for one in (model, LatentCLIPModel.from_pretrained(tmp_path)):
        one.train()
        assert not any(p.requires_grad for p in one.encoders["image"].parameters())
        assert not one.encoders["image"].training and one.encoders["text"].training
        assert not one.logit_scale.weight.requires_grad
        assert all(p.requires_grad for p in one.projections.parameters())


def test_the_temperature_stays_in_its_range():
    model = small_clip(min_temperature=0.05)
    with torch.no_grad():
        model.logit_scale.weight.fill_(9.0)
    model.on_optimizer_step()
    assert model.scale.item() == pytest.approx(20)
    with torch.no_grad():
        model.logit_scale.weight.fill_(-1.0)
    model.on_optimizer_step()
    assert model.scale.item() == pytest.approx(1)


@pytest.mark.parametrize("heads", [[], ["independent"], ["log_variance"], ["independent", "log_variance"]])
def test_extra_heads_give_their_fields_and_no_others(heads):
    model, batch = small_clip(extra_heads=heads), small_pairs()
    second = {f"augmented_{key}": value for key, value in batch.items()}
    output = model(**batch, **second, return_loss=False)
    assert (output.independent is not None) == (output.independent_augmented is not None) == ("independent" in heads)
    assert (output.log_variance is not None) == ("log_variance" in heads)
    scored = model.score(output)
    if "independent" in heads:
        torch.testing.assert_close(scored.independent["text"].norm(dim=-1), torch.ones(6, dtype=torch.float64))
    if "log_variance" in heads:
        assert torch.equal(scored.log_variance["image"], output.log_variance["image"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modalities": {"image": {"encoder": "cnn"}}}, "LatentCLIP compares two or more"),
        ({"projection": "liner"}, "did you mean 'linear'"),
        ({"projection_dim": 0}, "whole number"),
        ({"temperature": 0}, "above 0"),
        ({"temperatur": 0.1}, "did you mean 'temperature'"),
        ({"regularizers": {"brownian_brige": {}}}, "did you mean 'brownian_bridge'"),
        ({"regularizers": {"brownian_bridge": {"wieght": 2}}}, "wieght"),
        ({"regularizers": {"brownian_bridge": {"weight": -1}}}, "weight=-1: write a number 0 or more"),
        (
            {"modalities": {"image": {"encoder": "table", "input_dim": 3}, "text": {"encoder": "cnn"}}},
            "modality 'text': this encoder reads image",
        ),
    ],
)
def test_mistakes_say_what_to_write(options, words):
    with pytest.raises(ValueError, match=words):
        small_clip(**options)


def save(model, folder):
    model.save_pretrained(folder)
    return str(folder)


VISION = {
    "resnet": ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
    "vit": ViTConfig(**ENCODER, image_size=16, patch_size=8),
}
TEXT = {
    "bert": BertConfig(**ENCODER, vocab_size=40),
    "distilbert": DistilBertConfig(dim=16, hidden_dim=32, n_layers=1, n_heads=2, vocab_size=40),
}


@pytest.mark.parametrize(("vision", "text"), [("resnet", "bert"), ("vit", "distilbert")])
def test_any_pair_of_pretrained_towers(tmp_path, vision, text):
    towers = {"image": AutoModel.from_config(VISION[vision]).eval(), "text": AutoModel.from_config(TEXT[text]).eval()}
    paths = [save(tower, tmp_path / name) for name, tower in towers.items()]
    model = LatentCLIP.from_vision_text_pretrained(*paths, projection_dim=8).eval()
    batch = small_pairs(dtype=torch.float32)
    tokens = model.encoders["image"](pixel_values=batch["pixel_values"]).tokens
    expected = towers["image"](pixel_values=batch["pixel_values"]).last_hidden_state
    torch.testing.assert_close(tokens, expected.flatten(2).transpose(1, 2) if expected.ndim == 4 else expected)
    words = {name: batch[name] for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(model.encoders["text"](**words).tokens, towers["text"](**words).last_hidden_state)
    model.save_pretrained(tmp_path / "both")
    again = AutoModel.from_pretrained(tmp_path / "both").eval()  # needs the towers' own folders no more
    assert torch.equal(again(**batch).logits_per_image, model(**batch).logits_per_image)


@pytest.mark.parametrize(("config_class", "model_class"), [(CLIPConfig, CLIPModel), (SiglipConfig, SiglipModel)])
def test_a_clip_checkpoint_keeps_its_exact_embeddings(tmp_path, config_class, model_class):
    special = {"bos_token_id": 38, "eos_token_id": 39, "pad_token_id": 0}
    text = {**ENCODER, **special, "vocab_size": 40, "max_position_embeddings": 8}
    config = config_class(text_config=text, vision_config={**ENCODER, "image_size": 16, "patch_size": 8})
    source = model_class(config).eval()
    model = LatentCLIP.from_clip_pretrained(save(source, tmp_path / "clip"), in_modal=True).eval()
    ids = torch.randint(1, 38, (4, 8))
    ids[:, -1] = 39
    batch = {"pixel_values": torch.randn(4, 3, 16, 16), "input_ids": ids}
    theirs, ours = source(**batch), model(**batch)
    pooled = {
        "image": source.vision_model(pixel_values=batch["pixel_values"]).pooler_output,
        "text": source.text_model(input_ids=ids).pooler_output,
    }
    if model_class is CLIPModel:
        pooled = {"image": source.visual_projection(pooled["image"]), "text": source.text_projection(pooled["text"])}
    for name, features in (("image", theirs.image_embeds), ("text", theirs.text_embeds)):
        assert torch.equal(ours.embeds[name], pooled[name])
        torch.testing.assert_close(F.normalize(ours.embeds[name], dim=-1), features)  # theirs divides another way
    torch.testing.assert_close(model.scale, source.logit_scale.exp().squeeze())
    assert model.config.in_modal
    with pytest.raises(ValueError, match="give a CLIP or SigLIP checkpoint"):
        LatentCLIP.from_clip_pretrained(save(AutoModel.from_config(TEXT["bert"]), tmp_path / "bert"))


def test_attention_and_checkpointing_are_those_of_transformers(tmp_path):
    small_clip(dtype=torch.float32).save_pretrained(tmp_path)
    eager = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    sdpa = AutoModel.from_pretrained(tmp_path).eval()
    attention = [model.encoders["text"].model.config._attn_implementation for model in (eager, sdpa)]
    assert attention == ["eager", "sdpa"]
    batch = small_pairs(dtype=torch.float32)
    torch.testing.assert_close(eager(**batch).logits_per_image, sdpa(**batch).logits_per_image)
    sdpa.train()
    plain = torch.autograd.grad(sdpa(**batch).loss, list(sdpa.parameters()))
    sdpa.gradient_checkpointing_enable()
    assert any(getattr(module, "gradient_checkpointing", False) for module in sdpa.modules())
    for one, other in zip(plain, torch.autograd.grad(sdpa(**batch).loss, list(sdpa.parameters())), strict=True):
        torch.testing.assert_close(one, other)
    half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    batch["pixel_values"] = batch["pixel_values"].bfloat16()
    assert half(**batch).loss.dtype == torch.float32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model with its processor."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = word_tokenizer(SENTENCES)
    small_clip(dtype=torch.float32, vocab_size=len(tokenizer)).save_pretrained(folder)
    LatentCLIPProcessor.for_size(16, tokenizer).save_pretrained(folder)
    return folder


def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))


def test_the_zero_shot_pipeline_runs(folder):
    classify = pipeline("zero-shot-image-classification", model=str(folder))
    found = classify(picture(), candidate_labels=["red star", "blue circle"], hypothesis_template="a photo of a {}")
    assert {entry["label"] for entry in found} == {"red star", "blue circle"}
    processor, model = AutoProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = processor(images=[picture()], text=SENTENCES[:2])
    with torch.no_grad():
        expected = model(**batch).logits_per_image.softmax(-1)[0]
    scores = {entry["label"]: entry["score"] for entry in found}
    assert scores["red star"] == pytest.approx(expected[0].item(), abs=1e-6)


@pytest.mark.slow
def test_it_loads_where_hf_latent_is_not_installed(folder, tmp_path):
    batch = AutoProcessor.from_pretrained(folder)(images=[picture()], text=SENTENCES)
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**batch).logits_per_image
    picture().save(tmp_path / "picture.png")
    torch.save(expected, tmp_path / "expected.pt")
    scores = pipeline("zero-shot-image-classification", model=str(folder))(picture(), candidate_labels=SENTENCES)
    script = f"""
import sys
sys.modules["hf_latent"] = None
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, pipeline
model = AutoModel.from_pretrained({str(folder)!r}, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained({str(folder)!r}, trust_remote_code=True)
batch = processor(images=[Image.open({str(tmp_path / "picture.png")!r})], text={SENTENCES!r})
with torch.no_grad():
    logits = model(**batch).logits_per_image
assert torch.equal(logits, torch.load({str(tmp_path / "expected.pt")!r})), logits
classify = pipeline("zero-shot-image-classification", model={str(folder)!r}, trust_remote_code=True)
for found, other in zip(classify("picture.png", candidate_labels={SENTENCES!r}), {scores!r}, strict=True):
    assert found["label"] == other["label"] and abs(found["score"] - other["score"]) < 1e-6, found
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_stock_trainer_trains_it(tmp_path):
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 16

        def __getitem__(self, i):
            rows = small_pairs(rows=16, dtype=torch.float32)
            return {key: value[i] for key, value in rows.items()}

    arguments = TrainingArguments(
        tmp_path, per_device_train_batch_size=8, max_steps=4, learning_rate=1e-2, use_cpu=True
    )
    trainer = Trainer(model=small_clip(dtype=torch.float32), args=arguments, train_dataset=Rows())
    trainer.train()
    assert trainer.state.log_history[-1]["train_loss"] > 0


def test_the_processor_keeps_captions_within_the_context(folder):
    processor = AutoProcessor.from_pretrained(folder)
    assert processor.tokenizer.model_max_length == 77
    assert processor(text=["red " * 200])["input_ids"].shape == (1, 77)
    with pytest.raises(ValueError, match="row 1 of modality 'text': expected a sentence"):
        processor.stack("text", ["a red star", " "])


def test_the_processor_makes_batches_of_one_modality_or_both(folder):
    processor = AutoProcessor.from_pretrained(folder)
    both = processor.batch({"image": [picture()], "text": SENTENCES[:1]})
    assert set(processor.batch({"image": [picture()]})) == {"pixel_values"}
    assert torch.equal(processor.batch({"image": [picture()]})["pixel_values"], both["pixel_values"])
    assert torch.equal(processor.batch({"text": SENTENCES[:1]})["input_ids"], both["input_ids"])
    image, own = processor.modalities["image"], processor.image_processor
    assert (image["size"], image["mean"], image["std"]) == (16, list(own.image_mean), list(own.image_std))


def test_config_keeps_what_a_regularizer_needs():
    config = LatentCLIPConfig(regularizers={"feature_separation": {"weight": 0.5}, "geometric_consistency": {}})
    assert config.extra_heads == ["independent"]
    assert LatentCLIPConfig(regularizers={"feature_separation": {"weight": 0}}).extra_heads == []


def test_regularizers_can_be_chosen_for_a_model_that_is_loaded(tmp_path):
    small_clip(dtype=torch.float32).save_pretrained(tmp_path)
    regularizers = {"feature_separation": {"weight": 1.0}}
    model = LatentCLIP.from_pretrained(tmp_path, regularizers=regularizers, in_modal=True)
    batch = small_pairs(dtype=torch.float32)
    loss = model(**batch, **{f"augmented_{key}": value for key, value in batch.items()}).loss
    assert model.config.extra_heads == ["independent"] and torch.isfinite(loss)
    with pytest.raises(ValueError, match="did you mean 'feature_separation'"):
        LatentCLIP.from_pretrained(tmp_path, regularizers={"feature_seperation": {}})


def test_a_fixed_temperature_is_left_alone_and_a_learned_one_must_fit():
    model = small_clip(temperature=0.005, learn_temperature=False)
    model.on_optimizer_step()
    assert model.scale.item() == pytest.approx(200)
    with pytest.raises(ValueError, match="write a lower min_temperature"):
        small_clip(temperature=0.005)


def test_second_views_of_another_length_are_embedded_apart():
    model, first, second = small_clip(in_modal=True).eval(), small_pairs(seed=1), small_pairs(seed=2)
    pad = {"input_ids": 0, "attention_mask": 0}
    longer = {key: F.pad(second[key], (0, 3), value=value) for key, value in pad.items()}
    both = model(**first, augmented_pixel_values=second["pixel_values"], augmented_input_ids=longer["input_ids"],
                 augmented_attention_mask=longer["attention_mask"])  # fmt: skip
    torch.testing.assert_close(both.augmented["text"], model(**second).embeds["text"])
    with pytest.raises(ValueError, match="second view of the image modality has 4 rows, not 6"):
        model(**first, augmented_pixel_values=second["pixel_values"][:4])
    with pytest.raises(ValueError, match="as many rows of each of image, text"):
        model(pixel_values=first["pixel_values"][:4], input_ids=first["input_ids"], return_loss=True)


def test_a_schedule_is_at_its_end_where_nobody_knows_the_progress():
    batch = small_pairs()
    plain, late = (small_clip(regularizers={"alignment": {"ramp": ramp}}) for ramp in (0.0, 0.5))
    assert torch.equal(plain(**batch).loss, late(**batch).loss)


def test_towers_of_half_precision_and_without_a_trained_pooler(tmp_path):
    bert = AutoModel.from_config(TEXT["bert"]).half()
    bert.save_pretrained(tmp_path / "half")
    BertForMaskedLM(TEXT["bert"]).save_pretrained(tmp_path / "headless")
    vision = save(AutoModel.from_config(VISION["resnet"]), tmp_path / "resnet")
    batch = small_pairs(dtype=torch.float32)
    for text in ("half", "headless"):
        model = LatentCLIP.from_vision_text_pretrained(vision, str(tmp_path / text), projection_dim=8).eval()
        assert model.dtype == torch.float32
        model.save_pretrained(tmp_path / f"both_{text}")
        again = AutoModel.from_pretrained(tmp_path / f"both_{text}", attn_implementation="sdpa").eval()
        assert torch.equal(again(**batch).logits_per_image, model(**batch).logits_per_image)
    assert model.config.modalities["text"]["pooling"] == "mean"  # a pooler that nobody trained is left out


def test_a_whole_clip_is_no_tower():
    spec = {"encoder": "auto", "config": CLIPConfig(vision_config=ENCODER, text_config=ENCODER).to_dict()}
    with pytest.raises(ValueError, match="modality 'image': .* start with clip: CHECKPOINT"):
        small_clip(modalities={"image": spec, "text": {"encoder": "auto", "config": TEXT["bert"].to_dict()}})


def test_padding_to_the_full_length_where_a_tower_wants_it(tmp_path):
    tokenizer = word_tokenizer(SENTENCES, max_length=12)
    LatentCLIPProcessor.for_size(16, tokenizer, padding="max_length").save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert (
        processor(text=SENTENCES)["input_ids"].shape
        == processor.stack("text", SENTENCES)["input_ids"].shape
        == (3, 12)
    )
