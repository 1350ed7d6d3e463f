"""LatentALBEF with a head of classes: an image with a sentence, and two images with one."""

import copy
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForSequenceClassification

from hf_latent import (
    LatentALBEF,
    LatentALBEFForImageTextClassification,
    LatentALBEFForNaturalLanguageVisualReasoning,
    LatentALBEFForPreTraining,
    LatentALBEFForQuestionAnswering,
)
from tests.models.reference_heads import classified, moved, plain_layer, questions
from tests.models.small import small_albef

ONE, TWO = LatentALBEFForImageTextClassification, LatentALBEFForNaturalLanguageVisualReasoning
HEADS = [(ONE, 1), (TWO, 2)]
EACH = pytest.mark.parametrize(("cls", "images"), HEADS, ids=["one image", "two images"])


def plain_logits(model, batch):
    """From the tokens of the encoders on: every layer of the fusion, then the perceptron."""
    mask = batch["attention_mask"].bool()
    hidden = model.encoders["text"](input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).tokens
    pictures = batch["pixel_values"]
    pictures = [pictures] if pictures.ndim == 4 else list(pictures.unbind(1))
    seconds = getattr(model, "second_layer", [None] * len(model.fusion.layer))
    for first, second in zip(model.fusion.layer, seconds, strict=True):
        for block, picture in zip((first, second), pictures, strict=False):
            tokens = model.fusion.image_tokens(model.encoders["image"](pixel_values=picture))
            seen = mask[:, None].expand(-1, mask.shape[1], -1)
            everything = torch.ones(len(mask), mask.shape[1], tokens.shape[1], dtype=torch.bool)
            hidden = plain_layer(block, hidden, tokens, seen, everything, first.crossattention)
    inner, _, outer = model.classifier
    return outer(F.relu(inner(hidden[:, 0])))


@EACH
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_loss_is_that_of_a_plain_reference(cls, images, alpha):
    model = moved(cls, alpha=alpha, num_labels=3, fusion_layers=2).train()
    assert (model.momentum is None) == (alpha == 0)
    batch = classified(images=images)
    logits = plain_logits(model, batch)
    hard = F.cross_entropy(logits, batch["labels"], reduction="none")
    soft = hard
    if alpha:
        with torch.no_grad():
            taught = plain_logits(model.momentum, batch).softmax(-1)
        soft = -(taught * logits.log_softmax(-1)).sum(1)
    loss = ((1 - alpha) * hard + alpha * soft).mean()
    output = model(**batch)
    torch.testing.assert_close(output.logits, logits, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(output.row_losses["class"], torch.stack([hard, soft, torch.ones_like(hard)], 1))
    torch.testing.assert_close(output.loss, loss, rtol=1e-12, atol=0)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    ours, theirs = (torch.autograd.grad(value, list(trained.values())) for value in (output.loss, loss))
    for name, one, other in zip(trained, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11, msg=name)
    model.train()(**batch).loss.backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_the_keys_and_values_of_two_images_are_shared():
    for model in (moved(TWO, alpha=0.3, num_labels=2), copy.deepcopy(moved(TWO, num_labels=2))):
        first, second = model.fusion.layer[0].crossattention.self, model.second_layer[0].crossattention.self
        assert second.tied_to is first and second.query is not first.query
        held = [name for name in model.state_dict() if name.startswith("second_layer.0.crossattention.self")]
        assert held == [f"second_layer.0.crossattention.self.query.{part}" for part in ("weight", "bias")]
        batch = classified(images=2, classes=2)
        before = model.eval()(**batch, return_loss=False).logits
        with torch.no_grad():
            first.key.weight.mul_(-2)
        assert not torch.allclose(model(**batch, return_loss=False).logits, before)


def test_both_images_are_read_in_their_order_in_one_call(monkeypatch):
    model, batch = moved(TWO, num_labels=2).eval(), classified(images=2, classes=2)
    calls = []
    encode = model.encoders["image"].forward
    monkeypatch.setattr(model.encoders["image"], "forward", lambda **kw: calls.append(1) or encode(**kw))
    logits = model(**batch, return_loss=False).logits
    assert len(calls) == 1
    swapped = {**batch, "pixel_values": batch["pixel_values"].flip(1)}
    assert not torch.allclose(model(**swapped, return_loss=False).logits, logits)
    for image in (0, 1):
        changed = batch["pixel_values"].clone()
        changed[:, image] += 1
        assert not torch.allclose(model(**{**batch, "pixel_values": changed}, return_loss=False).logits, logits)


@EACH
def test_padding_changes_nothing(cls, images):
    model, batch = moved(cls, num_labels=3).eval(), classified(images=images)
    pad = F.pad
    longer = {
        "input_ids": pad(batch["input_ids"], (0, 3), value=7),
        "attention_mask": pad(batch["attention_mask"], (0, 3)),
    }
    torch.testing.assert_close(model(**{**batch, **longer}).logits, model(**batch).logits)


def test_it_begins_as_a_pre_trained_model_and_each_layer_is_doubled(tmp_path):
    source = small_albef(dtype=torch.float32, fusion_layers=2)
    source.save_pretrained(tmp_path / "pre")
    model, report = TWO.from_pretrained(tmp_path / "pre", num_labels=3, output_loading_info=True)
    assert {key.split(".")[0] for key in report["missing_keys"]} == {"classifier", "second_layer"}
    assert model.config.objective == "class" and model.classifier[2].out_features == 3
    for first, second, own in zip(model.fusion.layer, model.second_layer, source.fusion.layer, strict=True):
        for name, value in own.state_dict().items():
            assert torch.equal(first.state_dict()[name], value)
            assert name not in second.state_dict() or torch.equal(second.state_dict()[name], value), name
    assert all(torch.equal(own, copied) for own, copied in model._followed())
    # Text assignment has three labels, statements have two.
    with torch.no_grad():
        model.second_layer[0].output.dense.weight += 1
        model.classifier[0].weight += 1
    model.save_pretrained(tmp_path / "assigned")
    found, report = TWO.from_pretrained(
        tmp_path / "assigned", num_labels=2, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert {key[0] for key in report["mismatched_keys"]} == {"classifier.2.weight", "classifier.2.bias"}
    assert torch.equal(found.classifier[0].weight, model.classifier[0].weight)
    assert torch.equal(found.second_layer[0].output.dense.weight, model.second_layer[0].output.dense.weight)
    assert all(torch.equal(own, copied) for own, copied in found._followed())


@EACH
def test_it_is_saved_and_found_again(tmp_path, cls, images):
    model = moved(cls, id2label={0: "yes", 1: "no", 2: "open"}).float().eval()
    model.save_pretrained(tmp_path)
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(found) is cls and found.config.id2label[2] == "open"
    batch = classified(images=images)
    batch["pixel_values"] = batch["pixel_values"].float()
    assert torch.equal(found(**batch).logits, model(**batch).logits)
    plain, report = LatentALBEF.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert type(AutoModel.from_pretrained(tmp_path)) is LatentALBEF


@pytest.mark.slow
def test_all_heads_load_where_hf_latent_is_not_installed(tmp_path):
    expected = {}
    for (cls, images), auto in zip(
        [*HEADS, (LatentALBEFForQuestionAnswering, 1)],
        ["SequenceClassification"] * 2 + ["VisualQuestionAnswering"],
        strict=True,
    ):
        model = moved(cls, num_labels=3).float().eval()
        model.save_pretrained(tmp_path / cls.__name__)
        batch = classified(images=images)
        batch.pop("labels")
        batch["pixel_values"] = batch["pixel_values"].float()
        with torch.no_grad():
            output = model(**batch)
        words = model.generate(**batch, max_new_tokens=3) if images == 1 and cls is not ONE else None
        expected[cls.__name__] = f"AutoModelFor{auto}", batch, output.logits, output.last_hidden_state, words
    torch.save(expected, tmp_path / "expected.pt")
    script = f"""
import sys
sys.modules["hf_latent"] = None
import torch, transformers
for name, (auto, batch, logits, hidden, words) in torch.load({str(tmp_path / "expected.pt")!r}).items():
    model = getattr(transformers, auto).from_pretrained({str(tmp_path)!r} + "/" + name, trust_remote_code=True).eval()
    assert type(model).__name__ == name
    with torch.no_grad():
        output = model(**batch)
    assert torch.equal(output.last_hidden_state, hidden)
    assert logits is None or torch.equal(output.logits, logits)
    assert words is None or torch.equal(model.generate(**batch, max_new_tokens=3), words)
    plain = transformers.AutoModel.from_pretrained({str(tmp_path)!r} + "/" + name, trust_remote_code=True)
    assert type(plain).__name__ == "LatentALBEFModel"
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr


@EACH
def test_attention_and_checkpointing_and_half_precision(tmp_path, cls, images):
    small_albef(cls=cls, dtype=torch.float32, num_labels=3).save_pretrained(tmp_path)
    batch = classified(images=images)
    batch["pixel_values"] = batch["pixel_values"].float()
    found = {}
    for kind in ("eager", "sdpa", "checkpointed"):
        attention = "eager" if kind == "eager" else "sdpa"
        model = cls.from_pretrained(tmp_path, attn_implementation=attention).train()
        if kind == "checkpointed":
            model.activation_checkpointing_enable()
        trained = [p for p in model.parameters() if p.requires_grad]
        found[kind] = torch.cat([g.flatten() for g in torch.autograd.grad(model(**batch).loss, trained)])
    torch.testing.assert_close(found["eager"], found["sdpa"], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found["checkpointed"], found["sdpa"], rtol=1e-4, atol=1e-6)
    half = cls.from_pretrained(tmp_path, dtype=torch.bfloat16).train()
    output = half(**{**batch, "pixel_values": batch["pixel_values"].bfloat16()})
    output.loss.backward()
    assert output.logits.dtype == output.loss.dtype == torch.float32 and torch.isfinite(output.loss)
    assert all(torch.isfinite(p.grad).all() for p in half.parameters() if p.grad is not None)


def test_the_momentum_copy_follows():
    model = moved(ONE, alpha=0.3, momentum=0.9)
    start = {name: p.clone() for name, p in model.momentum.named_parameters()}
    own = {name: p.clone() for name, p in model.named_parameters()}
    for _ in range(4):
        model.on_optimizer_step()
    for name, p in model.momentum.named_parameters():
        if name != "logit_scale.weight":
            torch.testing.assert_close(p, 0.9**4 * start[name] + (1 - 0.9**4) * own[name], msg=name)
    moved(ONE, alpha=0.0).on_optimizer_step()


def test_what_does_not_fit_is_said():
    one, two = (small_albef(cls=cls, num_labels=3) for cls, _ in HEADS)
    single, double = classified(), classified(images=2)
    with pytest.raises(ValueError, match="reads one image a text"):
        one(**double)
    with pytest.raises(ValueError, match=r"reads 2 images a text, \(6, 2, 3, height, width\)"):
        two(**single)
    with pytest.raises(ValueError, match=r"pixel_values \(6, 3, 3, 16, 16\) with 6 texts: this model reads 2 images"):
        two(**classified(images=3))
    with pytest.raises(ValueError, match="reads 2 images"):
        two(**{**double, "pixel_values": double["pixel_values"][:4]})
    with pytest.raises(ValueError, match="classes are whole numbers, one a row"):
        one(**{**single, "labels": single["labels"][:, None]})
    with pytest.raises(ValueError, match="the loss needs labels"):
        one(**questions(), return_loss=True)


@EACH
@pytest.mark.parametrize("label", [3, -1, -100])
def test_a_label_that_is_no_class_is_said(cls, images, label):
    model, batch = moved(cls, num_labels=3).eval(), classified(images=images)
    batch["labels"][2] = label
    with pytest.raises(ValueError, match=f"labels {label}: this model has 3 classes, give 0 to 2"):
        model(**batch)
    with pytest.raises(ValueError, match="classes are whole numbers"):
        model(**{**batch, "labels": batch["labels"] > 0})


def test_adapters_of_the_first_blocks_reach_the_keys_of_both_images():
    model, batch = moved(TWO, num_labels=2, alpha=0.0).eval(), classified(images=2, classes=2)
    targets = r"fusion.*crossattention\.self\.(key|value)"
    adapted = get_peft_model(model, LoraConfig(target_modules=targets, r=2, init_lora_weights=False)).eval()
    logits = adapted(**batch, return_loss=False).logits
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(merged(**batch, return_loss=False).logits, logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", [ONE, LatentALBEFForQuestionAnswering])
def test_a_head_made_of_the_config_of_another_model_leaves_that_as_it_was(cls):
    source = small_albef(regularizers={"feature_separation": {}})
    before = source.config.to_dict()
    head = cls(source.config)
    assert source.config.to_dict() == before and not head.config.regularizers
    LatentALBEFForPreTraining(head.config)
    assert head.config.objective == cls.task
