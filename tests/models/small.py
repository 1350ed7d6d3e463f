"""Small models and batches of every kind of modality."""

import torch

from hf_latent import (
    CoMMConfig,
    CoMMModel,
    LatentALBEFConfig,
    LatentALBEFForPreTraining,
    LatentCLIPConfig,
    LatentCLIPModel,
    LatentCLIPProcessor,
)
from hf_latent.data.tokenizers import word_tokenizer

ENCODERS = {
    "image": {"encoder": "cnn", "channels": [8, 16]},
    "series": {
        "encoder": "sequence",
        "input_dim": 3,
        "hidden_size": 10,
        "num_layers": 1,
        "num_heads": 2,
        "feedforward_dim": 16,
        "dropout": 0.0,
    },
    "table": {"encoder": "table", "input_dim": 4, "hidden_dims": [6], "token_dim": 8},
    "features": {"encoder": "features", "input_dim": 5},
}


def small_model(names=("image", "series"), seed=0, dtype=torch.float64, cls=CoMMModel, **options):
    torch.manual_seed(seed)
    defaults = {"embed_dim": 16, "projection_hidden_dim": 12, "projection_dim": 8}
    if "fusion" not in options:
        defaults["fusion_heads"] = 4
    modalities = {name: ENCODERS[name] for name in names}
    config = CoMMConfig(**{"modalities": modalities, **defaults, **options})
    return cls(config).to(dtype)


def small_batch(names=("image", "series"), rows=6, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=dtype)  # noqa: E731
    lengths = torch.randint(2, 6, (rows, 1), generator=draw)
    mask = (torch.arange(5) < lengths).long()
    batch = {
        "image": {"pixel_values": normal(rows, 3, 16, 16)},
        "series": {"values": normal(rows, 5, 3), "attention_mask": mask},
        "table": {"values": normal(rows, 4)},
        "features": {"values": normal(rows, 2, 5)},
    }
    return {name: batch[name] for name in names}


def small_clip(
    seed=0, dtype=torch.float64, norm="group", frozen=False, vocab_size=40, modalities=None, more=(), **options
):
    """A LatentCLIP of images and texts, and of `more` modalities by their kinds."""
    torch.manual_seed(seed)
    text = {
        **{"model_type": "bert", "vocab_size": vocab_size, "hidden_size": 16, "intermediate_size": 32},
        **{"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 80},
        **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    }
    towers = {
        "image": {"encoder": "cnn", "channels": [8, 16], "norm": norm, "frozen": frozen},
        "text": {"encoder": "auto", "pooling": "mean", "config": text},
    }
    towers |= {name: ENCODERS[name] for name in more}
    options = {"projection_dim": 8, **options}
    return LatentCLIPModel(LatentCLIPConfig(modalities=modalities or towers, **options)).to(dtype)


def small_pairs(rows=6, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 6, (rows, 1), generator=draw)
    return {
        "pixel_values": torch.randn(rows, 3, 16, 16, generator=draw, dtype=dtype),
        "input_ids": torch.randint(4, 11, (rows, 5), generator=draw),
        "attention_mask": (torch.arange(5) < lengths).long(),
    }


def small_triples(rows=6, seed=0, dtype=torch.float64, more=("series",)):
    """`small_pairs` with more modalities, each by its name."""
    pairs = small_pairs(rows, seed, dtype)
    return {
        "image": {"pixel_values": pairs.pop("pixel_values")},
        "text": pairs,
        **small_batch(more, rows, seed, dtype),
    }


def small_bert(vocab_size=40, layers=3, **options):
    return {
        **{"model_type": "bert", "vocab_size": vocab_size, "hidden_size": 16, "intermediate_size": 32},
        **{"num_hidden_layers": layers, "num_attention_heads": 2, "max_position_embeddings": 80},
        **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **options},
    }


def small_albef(seed=0, dtype=torch.float64, image=None, vocab_size=40, cls=LatentALBEFForPreTraining, **options):
    """Two layers of text, one of fusion. Wide initial weights, so that every part matters."""
    torch.manual_seed(seed)
    bert = small_bert(vocab_size, initializer_range=0.3)
    modalities = {
        "image": image or {"encoder": "cnn", "channels": [8, 16]},
        "text": {"encoder": "auto", "config": bert},
    }
    defaults = {"fusion_layers": 1, "projection_dim": 8, "queue_size": 16, "alpha_ramp": 0.0}
    return cls(LatentALBEFConfig(modalities=modalities, **{**defaults, **options})).to(dtype)


def small_masked_pairs(rows=6, seed=0, dtype=torch.float64, ids=None):
    """`small_pairs` with masked words; the last row has none."""
    batch = small_pairs(rows, seed, dtype)
    chosen = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    chosen[:-1, 1] = True
    chosen[0, 0] = True
    batch["masked_input_ids"] = batch["input_ids"].masked_fill(chosen, 3)
    batch["labels"] = batch["input_ids"].masked_fill(~chosen, -100)
    return batch if ids is None else {**batch, "ids": torch.tensor(ids)}


def save_small_clip(folder, words=("red green blue square",), **options):
    """A folder with an image and a text tower in float32 and their processor, which knows these words."""
    tokenizer = word_tokenizer(list(words))
    small_clip(vocab_size=len(tokenizer), dtype=torch.float32, **options).save_pretrained(folder)
    LatentCLIPProcessor.for_size(16, tokenizer).save_pretrained(folder)
    return folder
