"""LatentALBEF: its parts, its fusion, re-ranking, saving and loading."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    ViTConfig,
)

from hf_latent import (
    LatentALBEF,
    LatentALBEFConfig,
    LatentALBEFForImageTextRetrieval,
    LatentALBEFForPreTraining,
    LatentALBEFProcessor,
)
from hf_latent.data.tokenizers import word_tokenizer
from tests.models.small import small_albef, small_bert, small_masked_pairs, small_pairs

SENTENCES = ["a photo of a red star", "a photo of a blue circle", "two green squares"]
VIT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VIT |= {"model_type": "vit", "image_size": 16, "patch_size": 8}


def pairs_only(**options):
    return small_albef(cls=LatentALBEF, **options).eval()


def test_pairs_are_fused_and_parts_embedded_alone():
    model, batch = pairs_only(), small_pairs()
    output = model(**batch)
    assert output.last_hidden_state.shape == (6, 5, 16) and torch.equal(output.fused, output.last_hidden_state[:, 0])
    image, text = (model.score(output).embeds[name] for name in ("image", "text"))
    torch.testing.assert_close(output.logits_per_image, model.scale * image @ text.T)
    torch.testing.assert_close(model.get_image_features(batch["pixel_values"]), output.embeds["image"])
    words = {name: batch[name] for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(model.get_text_features(**words), output.embeds["text"])
    assert model.second_views(["image", "text"]) == set()
    alone = model(pixel_values=batch["pixel_values"])
    assert alone.fused is None and alone.logits_per_image is None and list(alone.embeds) == ["image"]


def test_what_does_not_fit_is_said():
    model, batch = pairs_only(), small_pairs()
    with pytest.raises(ValueError, match="give pixel_values, input_ids or both"):
        model()
    with pytest.raises(ValueError, match="text i describing image i; here are 4 of image, 6 of text"):
        model(pixel_values=batch["pixel_values"][:4], input_ids=batch["input_ids"], return_fused=True)
    with pytest.raises(ValueError, match="train LatentALBEFForPreTraining"):
        model(**batch, return_loss=True)


def test_fusion_looks_both_ways_at_both_modalities():
    """Every word of the sentence and every part of the picture reach the first token, and the last one."""
    model, batch = pairs_only(), small_pairs()
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    whole = model(**batch).last_hidden_state
    for place in (0, 4):
        words = batch["input_ids"].clone()
        words[:, place] = 12
        assert ((model(**{**batch, "input_ids": words}).last_hidden_state - whole).abs().amax(-1) > 1e-6).all()
    pixels = batch["pixel_values"].clone()
    pixels[:, :, -4:, -4:] += 3
    assert ((model(**{**batch, "pixel_values": pixels}).last_hidden_state - whole).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_padding_changes_nothing(tmp_path, attention):
    pairs_only().save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, attn_implementation=attention).eval().double()
    assert model.fusion.config._attn_implementation == model.bert.config._attn_implementation == attention
    batch = small_pairs()
    longer = torch.nn.functional.pad(batch["input_ids"], (0, 3), value=7)
    mask = torch.nn.functional.pad(batch["attention_mask"], (0, 3))
    padded = model(pixel_values=batch["pixel_values"], input_ids=longer, attention_mask=mask)
    expected = model(**batch)
    torch.testing.assert_close(padded.fused, expected.fused)
    for i, length in enumerate(batch["attention_mask"].sum(1)):
        row = model(batch["pixel_values"][i : i + 1], batch["input_ids"][i : i + 1, :length])
        torch.testing.assert_close(row.last_hidden_state[0], expected.last_hidden_state[i, :length])


def test_eager_and_sdpa_agree_and_checkpointing_keeps_the_gradient(tmp_path):
    small_albef(dtype=torch.float32).save_pretrained(tmp_path)
    batch = small_masked_pairs(dtype=torch.float32)
    found = {}
    for attention in ("eager", "sdpa", "checkpointed"):
        kind = "eager" if attention == "eager" else "sdpa"
        model = LatentALBEFForPreTraining.from_pretrained(tmp_path, attn_implementation=kind).train()
        if attention == "checkpointed":
            model.activation_checkpointing_enable()
            assert model.fusion.layer[0].gradient_checkpointing
        trained = [p for p in model.parameters() if p.requires_grad]
        torch.manual_seed(0)
        found[attention] = torch.cat([g.flatten() for g in torch.autograd.grad(model(**batch).loss, trained)])
    torch.testing.assert_close(found["eager"], found["sdpa"], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found["checkpointed"], found["sdpa"], rtol=1e-4, atol=1e-6)


def test_bf16_is_finite(tmp_path):
    small_albef(dtype=torch.float32).save_pretrained(tmp_path)
    batch = small_masked_pairs(dtype=torch.bfloat16)
    half = LatentALBEFForPreTraining.from_pretrained(tmp_path, dtype=torch.bfloat16).train()
    loss = half(**batch).loss
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in half.parameters() if p.grad is not None)
    exact = LatentALBEFForPreTraining.from_pretrained(tmp_path).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(exact(**small_masked_pairs(dtype=torch.float32)).loss)


@pytest.mark.parametrize("width", [16, 24])
def test_a_vit_and_a_bert_are_split_as_the_paper_does(tmp_path, width):
    torch.manual_seed(0)
    vit = AutoModel.from_config(ViTConfig(**{**VIT, "hidden_size": width})).eval()
    bert = BertForMaskedLM(BertConfig(**small_bert(layers=4))).eval()
    vit.save_pretrained(tmp_path / "vit")
    bert.save_pretrained(tmp_path / "bert")
    paths = str(tmp_path / "vit"), str(tmp_path / "bert")
    options = {"fusion_layers": 2, "projection_dim": 8, "queue_size": 0}
    model = LatentALBEFForPreTraining.from_vision_text_pretrained(*paths, **options).eval()
    batch = small_pairs(dtype=torch.float32)
    words = {name: batch[name] for name in ("input_ids", "attention_mask")}
    tokens = model.encoders["image"](pixel_values=batch["pixel_values"])
    torch.testing.assert_close(tokens.tokens, vit(batch["pixel_values"]).last_hidden_state)
    assert torch.equal(tokens.pool(), tokens.tokens[:, 0])
    assert (model.fusion.converter is None) == (width == 16)
    # Text through the first half is text through BERT, stopped there.
    states = bert.bert(**words, output_hidden_states=True).hidden_states
    torch.testing.assert_close(model.encoders["text"](**words).tokens, states[2])
    for own, theirs in zip(model.fusion.layer, bert.bert.encoder.layer[2:], strict=True):
        assert torch.equal(own.attention.self.query.weight, theirs.attention.self.query.weight)
        assert torch.equal(own.output.dense.weight, theirs.output.dense.weight)
    decoded = model.mlm_head(states[4], model.bert.get_input_embeddings().weight)
    torch.testing.assert_close(decoded, bert(**words).logits)
    assert all(torch.equal(own, copy) for own, copy in model._followed())
    model.save_pretrained(tmp_path / "both")
    again = LatentALBEFForPreTraining.from_pretrained(tmp_path / "both").eval()
    for (name, one), other in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    # A BERT without a head for masked words is as good.
    BertModel(BertConfig(**small_bert(layers=4))).save_pretrained(tmp_path / "plain")
    LatentALBEF.from_vision_text_pretrained(paths[0], str(tmp_path / "plain"), **options)


def test_a_vit_sees_pictures_of_another_size_as_transformers_does(tmp_path):
    """Pre-trained at 16 px, used and trained at 24: the positions are interpolated, and learn."""
    small_albef(image={"encoder": "auto", "config": VIT}).float().save_pretrained(tmp_path)
    model = LatentALBEFForPreTraining.from_pretrained(tmp_path)
    batch = small_masked_pairs(dtype=torch.float32)
    pixels = torch.randn(6, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    encoder = model.encoders["image"].eval()
    expected = encoder.model(pixels, interpolate_pos_encoding=True).last_hidden_state
    assert expected.shape == (6, 1 + 9, 16) and torch.equal(encoder(pixel_values=pixels).tokens, expected)
    own = encoder(pixel_values=batch["pixel_values"]).tokens
    assert torch.equal(own, encoder.model(batch["pixel_values"]).last_hidden_state)
    model.train()(**{**batch, "pixel_values": pixels}).loss.backward()
    assert encoder.model.embeddings.position_embeddings.grad[:, 1:].abs().amin(-1).gt(0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fusion_layers": 3}, "of the 3 layers of this BERT at least one must read text alone; write 2 or less"),
        ({"fusion_layers": 0}, "fusion_layers=0: give a whole number"),
        ({"momentum": 1.5}, "momentum=1.5: write a number from 0 to 1"),
        ({"alpha": True}, "alpha=True: write a number from 0 to 1"),
        ({"itm_weight": -1}, "itm_weight=-1: write a number 0 or more"),
        ({"queue_size": -4}, "queue_size=-4: give a whole number, 0 for no queue"),
        ({"temperature": 0.7}, "write a temperature between them"),
        ({"momentm": 0.9}, "did you mean 'momentum'"),
        ({"image": {"encoder": "table", "input_dim": 3}}, "modality 'image': this encoder reads table"),
    ],
)
def test_mistakes_say_what_to_write(options, words):
    with pytest.raises(ValueError, match=words):
        small_albef(**options)


def test_only_a_bert_is_split():
    text = {"encoder": "auto", "config": {"model_type": "distilbert"}}
    with pytest.raises(ValueError, match="splits the layers of a BERT"):
        LatentALBEFConfig(modalities={"image": {"encoder": "cnn"}, "text": text})


def test_reranking_orders_the_nearest_by_matching_and_the_others_by_contrast():
    model = small_albef(cls=LatentALBEFForImageTextRetrieval).eval()
    batch = small_pairs()
    output, encoded = model.embed(
        {"pixel_values": batch["pixel_values"]}, {k: batch[k] for k in ("input_ids", "attention_mask")}
    )
    z = model.score(output).embeds
    similarity = (z["image"] @ z["text"].T).detach()
    tokens = model.fusion.image_tokens(encoded["image"]), encoded["text"].tokens, batch["attention_mask"]
    odds = torch.empty(6, 6, dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            logits = model(
                batch["pixel_values"][[i]], batch["input_ids"][[j]], batch["attention_mask"][[j]]
            ).itm_logits
            odds[i, j] = logits[0, 1] - logits[0, 0]
    for by_text in (False, True):
        own, expected = (similarity.T, odds.T) if by_text else (similarity, odds)
        scores = model.rerank(similarity, *tokens, k=3, by_text=by_text, batch_size=4)
        for row in range(6):
            nearest = own[row].topk(3).indices.tolist()
            rest = [j for j in own[row].argsort(descending=True).tolist() if j not in nearest]
            order = sorted(nearest, key=lambda j: -expected[row, j].item()) + rest
            assert scores[row].argsort(descending=True).tolist() == order
    assert model.rerank(similarity, *tokens, k=100).shape == (6, 6)
    with pytest.raises(ValueError, match="k=0: give 1 or more"):
        model.rerank(similarity, *tokens, k=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pre-trained model as it is published, with its processor."""
    folder = tmp_path_factory.mktemp("albef")
    tokenizer = word_tokenizer(SENTENCES)
    small_albef(dtype=torch.float32, vocab_size=len(tokenizer)).save_pretrained(folder)
    LatentALBEFProcessor.for_size(16, tokenizer).save_pretrained(folder)
    return folder


def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))


def test_each_auto_class_gives_its_model(folder):
    kinds = (AutoModel, AutoModelForZeroShotImageClassification, AutoModelForPreTraining)
    models = [kind.from_pretrained(folder).eval() for kind in kinds]
    expected = [LatentALBEF, LatentALBEFForImageTextRetrieval, LatentALBEFForPreTraining]
    assert [type(model) for model in models] == expected
    assert type(AutoProcessor.from_pretrained(folder)) is LatentALBEFProcessor
    batch = AutoProcessor.from_pretrained(folder)(images=[picture()] * 3, text=SENTENCES)
    plain, retrieval, pretraining = (model(**batch) for model in models)
    assert torch.equal(plain.fused, retrieval.fused) and torch.equal(
        plain.embeds["image"], pretraining.embeds["image"]
    )
    assert retrieval.itm_logits.shape == (3, 2) and plain.itm_logits is None


@pytest.mark.slow
def test_it_loads_where_hf_latent_is_not_installed(folder, tmp_path):
    batch = AutoProcessor.from_pretrained(folder)(images=[picture()] * 3, text=SENTENCES)
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**batch)
        judged = AutoModelForZeroShotImageClassification.from_pretrained(folder).eval()(**batch).itm_logits
    picture().save(tmp_path / "picture.png")
    torch.save((expected.logits_per_image, expected.last_hidden_state, judged), tmp_path / "expected.pt")
    script = f"""
import sys
sys.modules["hf_latent"] = None
import torch
from PIL import Image
from transformers import AutoModel, AutoModelForPreTraining, AutoModelForZeroShotImageClassification, AutoProcessor
def load(kind):
    return kind.from_pretrained({str(folder)!r}, trust_remote_code=True).eval()
model, retrieval = load(AutoModel), load(AutoModelForZeroShotImageClassification)
assert type(load(AutoModelForPreTraining)).__name__ == "LatentALBEFForPreTraining"
processor = AutoProcessor.from_pretrained({str(folder)!r}, trust_remote_code=True)
batch = processor(images=[Image.open({str(tmp_path / "picture.png")!r})] * 3, text={SENTENCES!r})
logits, hidden, judged = torch.load({str(tmp_path / "expected.pt")!r})
with torch.no_grad():
    output = model(**batch)
    assert torch.equal(output.logits_per_image, logits) and torch.equal(output.last_hidden_state, hidden)
    assert torch.equal(retrieval(**batch).itm_logits, judged)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
