"""Text towers of many families: from scratch with a tokenizer of words, and from checkpoints with their own."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

from hf_latent import CoMMConfig, CoMMModel, LatentCLIPConfig, LatentCLIPModel
from hf_latent.data.texts import count_texts
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.fit_to_data import build_processor, fit_vocabularies
from hf_latent.models.encoders import build_encoder
from hf_latent.models.text_towers import check_text_tower, fit_config, fit_length, fit_tokenizer
from hf_latent.views import ImageView, NoView

WORDS = ["a", "photo", "of", "red", "blue", "green", "star", "circle", "square"]
SHORT, OTHER, LONG = "a red star", "a photo of a blue circle", " ".join(WORDS * 5)
POSITIONS = 12
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TOWER = {**SIZES, "max_position_embeddings": POSITIONS}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": POSITIONS}
# The config of each family, and how many tokens it reads where POSITIONS is the size of its table.
FAMILIES = {
    "albert": ({**TOWER, "embedding_size": 8}, 12),
    "bert": (TOWER, 12),
    "bloom": ({"hidden_size": 16, "n_layer": 1, "n_head": 2}, 77),
    "camembert": (TOWER, 11),
    "clip_text_model": (TOWER, 12),
    "convbert": ({**TOWER, "embedding_size": 16}, 12),
    "data2vec-text": (TOWER, 11),
    "deberta-v2": (TOWER, 12),
    "distilbert": (
        {"dim": 16, "hidden_dim": 32, "n_layers": 1, "n_heads": 2, "max_position_embeddings": POSITIONS},
        12,
    ),
    "electra": ({**TOWER, "embedding_size": 8}, 12),
    "fnet": (TOWER, 12),
    "gpt2": (GPT2, 12),
    "gpt_neo": (
        {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "attention_types": [[["global"], 1]],
         "max_position_embeddings": POSITIONS},
        12,
    ),
    "ibert": (TOWER, 11),
    "llama": ({**TOWER, "num_key_value_heads": 2}, 12),
    "modernbert": (TOWER, 12),
    "mpnet": (TOWER, 10),
    "opt": (
        {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
         "word_embed_proj_dim": 16, "max_position_embeddings": POSITIONS},
        12,
    ),
    "qwen2": ({**TOWER, "num_key_value_heads": 2}, 12),
    "roberta": (TOWER, 11),
    "siglip_text_model": ({**TOWER, "projection_size": 16}, 12),
    "t5": ({"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}, 77),
    "xlm-roberta": (TOWER, 11),
    "yoso": (TOWER, 12),
    "xlnet": ({"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}, 77),
}  # fmt: skip
VIEWS = {"image": ImageView(size=16), "text": NoView()}


def tower(config, **spec):
    return {"image": {"encoder": "cnn", "channels": [8]}, "text": {"encoder": "auto", "config": config, **spec}}


def built(config, tokenizer):
    """The model of a recipe and its processor, as training makes them."""
    torch.manual_seed(0)
    fit_vocabularies(config, {"text": tokenizer})
    model = (LatentCLIPModel if isinstance(config, LatentCLIPConfig) else CoMMModel)(config)
    model.load_pretrained()
    return model.double().eval(), build_processor(model, VIEWS, {"text": tokenizer})


def embedded(model, processor, sentences):
    inputs = processor.stack("text", sentences)
    with torch.no_grad():
        return model.encoders["text"](**inputs).pool()


def check_captions(model, processor, limit):
    """Two captions differ, padding changes nothing, a long caption is cut and counted."""
    both = embedded(model, processor, [SHORT, OTHER])
    assert (both[0] - both[1]).abs().max() > 1e-6 * both.abs().max()
    alone, wide = (embedded(model, processor, rows)[0] for rows in ([SHORT], [SHORT, LONG]))
    for one in (alone, wide):
        torch.testing.assert_close(one, both[0], rtol=0, atol=1e-9)
    assert processor.stack("text", [LONG * 9])["input_ids"].shape == (1, limit)
    assert count_texts(processor.tokenizers["text"], [SHORT, LONG * 9, OTHER], limit).cut == 1
    assert torch.isfinite(embedded(model, processor, [LONG * 9])).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_from_scratch_with_a_tokenizer_of_words(family):
    options, limit = FAMILIES[family]
    config = LatentCLIPConfig(modalities=tower({"model_type": family, **options}), projection_dim=8)
    model, processor = built(config, word_tokenizer([SHORT, OTHER, LONG]))
    check_captions(model, processor, limit)


@pytest.mark.parametrize("family", ["bert", "camembert", "clip_text_model", "gpt2", "mpnet", "siglip_text_model"])
@pytest.mark.parametrize("positions", [POSITIONS, 100])
def test_comm_reads_as_many_tokens_as_its_encoder(family, positions):
    options, limit = FAMILIES[family]
    key = "n_positions" if family == "gpt2" else "max_position_embeddings"
    modalities = tower({"model_type": family, **options, key: positions})
    config = CoMMConfig(modalities=modalities, embed_dim=16, fusion_heads=4, projection_hidden_dim=12)
    model, processor = built(config, word_tokenizer([SHORT, OTHER, LONG]))
    assert processor.modalities["text"]["max_length"] == limit + positions - POSITIONS
    inputs = {name: processor.stack("text", [*rows]) for name, rows in (("one", [SHORT]), ("two", [SHORT, LONG * 9]))}
    with torch.no_grad():
        one, two = (model.get_fused_features({"text": tokens})[0] for tokens in inputs.values())
    torch.testing.assert_close(one, two, rtol=0, atol=1e-9)


def tokenizer_of(special, template, **tokens):
    """A tokenizer with the special tokens of a family, in the order of `special`, and WORDS behind them."""
    vocabulary = {token: number for number, token in enumerate([*special, *WORDS, *tokens.pop("last", [])])}
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token=tokens["unk_token"]))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    if template:
        ends = [(token, vocabulary[token]) for token in template.split() if token in vocabulary]
        fast.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=fast, **tokens)


def bert_tokenizer():
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer_of(special.values(), "[CLS] $A [SEP]", model_input_names=names, **special)


def roberta_tokenizer():
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return tokenizer_of(special.values(), "<s> $A </s>", cls_token="<s>", sep_token="</s>", **special)


def gpt2_tokenizer():
    return tokenizer_of([], None, last=["<|endoftext|>"], unk_token="<|endoftext|>", eos_token="<|endoftext|>",
                        bos_token="<|endoftext|>", padding_side="left")  # fmt: skip


def clip_tokenizer():
    start, end = "<|startoftext|>", "<|endoftext|>"
    return tokenizer_of([], f"{start} $A {end}", last=[start, end], unk_token=end, bos_token=start, eos_token=end,
                        pad_token=end)  # fmt: skip


def t5_tokenizer():
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return tokenizer_of(special.values(), "$A </s>", **special)


def siglip_tokenizer():
    special = {"unk_token": "<unk>", "eos_token": "</s>"}
    return tokenizer_of(special.values(), "$A </s>", pad_token="</s>", model_input_names=["input_ids"], **special)


TOKENIZERS = {
    "albert": bert_tokenizer,
    "bert": bert_tokenizer,
    "camembert": roberta_tokenizer,
    "deberta-v2": bert_tokenizer,
    "distilbert": bert_tokenizer,
    "electra": bert_tokenizer,
    "gpt2": gpt2_tokenizer,
    "modernbert": bert_tokenizer,
    "mpnet": roberta_tokenizer,
    "opt": roberta_tokenizer,
    "qwen2": gpt2_tokenizer,
    "roberta": roberta_tokenizer,
    "t5": t5_tokenizer,
    "xlm-roberta": roberta_tokenizer,
}


@pytest.mark.parametrize("family", TOKENIZERS)
def test_from_a_checkpoint_with_its_own_tokenizer(tmp_path, family):
    tokenizer, (options, limit) = TOKENIZERS[family](), FAMILIES[family]
    names = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "cls", "eos", "pad", "sep")}
    special = {f"{name}_token_id": value for name, value in names.items() if value is not None}
    if family in ("camembert", "mpnet", "roberta", "xlm-roberta"):
        limit = POSITIONS - 2  # positions count from behind padding token 1
    config = AutoConfig.for_model(family, **options, **special, vocab_size=len(tokenizer))
    torch.manual_seed(1)
    source = (AutoModelForTextEncoding if family == "t5" else AutoModel).from_config(config)
    source.save_pretrained(tmp_path)
    modalities = {"image": tower({})["image"], "text": {"encoder": "auto", "pretrained": str(tmp_path)}}
    model, processor = built(LatentCLIPConfig.from_checkpoints(modalities=modalities, projection_dim=8), tokenizer)
    check_captions(model, processor, limit)
    # A caption alone gets the states that the model of transformers gives it.
    inputs = tokenizer([SHORT], return_tensors="pt")
    with torch.no_grad():
        expected = source.double().eval()(inputs["input_ids"]).last_hidden_state
        tokens = model.encoders["text"](**processor.stack("text", [SHORT, OTHER])).tokens
    torch.testing.assert_close(tokens[:1, : expected.shape[1]], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("config_class", "model_class", "tokenizer"),
    [(CLIPConfig, CLIPModel, clip_tokenizer()), (SiglipConfig, SiglipModel, siglip_tokenizer()),
     (SiglipConfig, SiglipModel, t5_tokenizer())],
    ids=["clip", "siglip", "siglip with a mask"],
)  # fmt: skip
@pytest.mark.parametrize("legacy", [False, True])
def test_a_clip_checkpoint_gives_the_features_of_its_model(tmp_path, config_class, model_class, tokenizer, legacy):
    ids = {"bos_token_id": 0, "eos_token_id": 2 if legacy else tokenizer.eos_token_id, "pad_token_id": 0}
    text = {**TOWER, **ids, "vocab_size": len(tokenizer), "projection_size": 16}
    source = model_class(config_class(text_config=text, vision_config={**SIZES, "image_size": 16, "patch_size": 8}))
    source.save_pretrained(tmp_path)
    model, processor = built(LatentCLIPConfig.from_checkpoints(clip=str(tmp_path)), tokenizer)
    check_captions(model, processor, POSITIONS)
    tokens = processor(text=[SHORT, OTHER, LONG])
    padded = tokenizer([SHORT, OTHER, LONG], padding="max_length", max_length=POSITIONS, truncation=True,
                       return_tensors="pt")  # fmt: skip
    with torch.no_grad():
        expected = source.double().eval().get_text_features(padded["input_ids"]).pooler_output
        torch.testing.assert_close(model.get_text_features(**tokens), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_last_real_token_is_pooled(side):
    torch.manual_seed(0)
    config = {"model_type": "qwen2", **FAMILIES["qwen2"][0], "vocab_size": 20}
    encoder = build_encoder({"encoder": "auto", "config": config, "pooling": "last"}).double().eval()
    ids = torch.tensor([[4, 5, 6]])
    pad, ones = torch.zeros(1, 2, dtype=torch.long), torch.ones_like(ids)
    order = (lambda *parts: torch.cat(parts, 1)) if side == "right" else (lambda *parts: torch.cat(parts[::-1], 1))
    alone = encoder(input_ids=ids).pool()
    padded = encoder(input_ids=order(ids, pad), attention_mask=order(ones, pad)).pool()
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-9)
    torch.testing.assert_close(alone, encoder(input_ids=ids).tokens[:, -1])
    with pytest.raises(ValueError, match="pooling='last' is of text"):
        vit = {"model_type": "vit", **SIZES, "image_size": 16}
        build_encoder({"encoder": "auto", "config": vit, "pooling": "last"})


def checked(tokenizer, config, length=None, pooled=True, **spec):
    """Check an encoder from scratch as training does."""
    torch.manual_seed(0)
    fit_tokenizer(tokenizer, config["model_type"])
    fit_config(config, tokenizer)
    encoder = build_encoder({"encoder": "auto", "config": config, **spec})
    check_text_tower(encoder, tokenizer, length or fit_length(tokenizer, encoder.max_length), pooled)


@pytest.mark.parametrize(
    ("family", "tokenizer", "options", "told"),
    [
        ("bert", bert_tokenizer, {"length": 13}, "a 'bert' model does not read captions of 13 tokens"),
        ("gpt2", bert_tokenizer, {"pooling": "cls"}, "different captions get the same embedding.*pooling: cls"),
        ("clip_text_model", gpt2_tokenizer, {}, "the tokenizer puts no end-of-text token behind a caption"),
        ("clip_text_model", roberta_tokenizer, {}, "eos_token_id=2 it takes the largest token id.*end in token 2"),
        ("clip_text_model", clip_tokenizer, {"eos_token_id": 3}, "that is token 3, and captions end in token 10"),
        (
            "bert",
            bert_tokenizer,
            {"max_position_embeddings": 2},
            "reads 2 tokens, and each caption has 2 special ones",
        ),
    ],
)
def test_a_tower_that_does_not_fit_its_tokenizer_is_refused(family, tokenizer, options, told):
    own = {key: options.pop(key) for key in ("eos_token_id", "max_position_embeddings") if key in options}
    with pytest.raises(ValueError, match=told):
        checked(tokenizer(), {"model_type": family, **FAMILIES[family][0], **own}, **options)


def test_what_does_not_pool_at_the_end_of_text_needs_none():
    config = {"model_type": "clip_text_model", **TOWER}
    checked(roberta_tokenizer(), dict(config), pooling="last")
    checked(roberta_tokenizer(), dict(config), pooled=False)  # only its tokens are read


def test_a_check_leaves_the_encoder_as_it_was():
    encoder = build_encoder({"encoder": "auto", "config": {"model_type": "bert", **TOWER, "vocab_size": 20}})
    state = torch.get_rng_state()
    check_text_tower(encoder.train(), bert_tokenizer(), POSITIONS)
    assert encoder.training and encoder.model.training and torch.equal(torch.get_rng_state(), state)


def test_what_a_recipe_writes_stays():
    tokenizer, written = bert_tokenizer(), {"model_type": "clip_text_model", "vocab_size": 50, "eos_token_id": 7}
    config = dict(written)
    fit_config(config, tokenizer)
    assert config == {**written, "bos_token_id": 2, "pad_token_id": 0}
    fit_config(unknown := {"model_type": "bertt"}, tokenizer)
    assert unknown == {"model_type": "bertt", "vocab_size": len(tokenizer), "pad_token_id": 0}
