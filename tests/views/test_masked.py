"""Masked words: how many, which, what becomes of them, and that processes and padding change nothing."""

import pytest
import torch

from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.views import Views, build_view

VIEW = build_view("masked", mask_token_id=3, vocab_size=50, special_token_ids=[0, 1, 2, 3])


def batch(rows=400, length=12, seed=0):
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 50, (rows, length), generator=draw)
    ids[:, 0] = 2
    mask = (torch.arange(length) < torch.randint(3, length + 1, (rows, 1), generator=draw)).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def masked(inputs, **key):
    return Views({"text": VIEW}, seed=1).augmented({"text": inputs}, view=1, **key)["text"]


def test_shares_are_those_of_bert():
    inputs = batch(4000)
    found = masked(inputs)
    chosen = found["labels"] != -100
    ordinary = (inputs["input_ids"] > 3) & inputs["attention_mask"].bool()
    assert not chosen[~ordinary].any()
    assert chosen[ordinary].float().mean() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(found["labels"][chosen], inputs["input_ids"][chosen])
    assert torch.equal(found["input_ids"][~chosen], inputs["input_ids"][~chosen])
    words = found["input_ids"][chosen]
    kept = words == inputs["input_ids"][chosen]
    assert (words == 3).float().mean() == pytest.approx(0.8 + 0.1 / 50, abs=0.02)
    assert kept.float().mean() == pytest.approx(0.1 + 0.1 / 50, abs=0.02)
    assert words.min() >= 0 and words.max() < 50
    assert torch.equal(found["attention_mask"], inputs["attention_mask"])


def test_a_slice_with_other_padding_has_the_same_masks():
    inputs = batch(6)
    whole = masked(inputs)
    part = masked({name: rows[2:5, :9] for name, rows in inputs.items()}, rows=slice(2, 5), global_rows=6)
    for name in ("input_ids", "labels"):
        assert torch.equal(part[name], whole[name][2:5, :9])
    assert not torch.equal(masked(inputs, position=6)["labels"], whole["labels"])


def test_the_tokenizer_fills_in_the_ids():
    tokenizer = word_tokenizer(["a red star", "a blue circle"])
    with pytest.raises(ValueError, match="the tokenizer has no mask token"):
        build_view("masked").for_tokenizer(tokenizer)
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    view = build_view("masked").for_tokenizer(tokenizer)
    assert (view.mask_token_id, view.vocab_size) == (tokenizer.mask_token_id, len(tokenizer))
    assert view.special_token_ids == tuple(sorted(tokenizer.all_special_ids))
    with pytest.raises(ValueError, match="vocab_size=0: write a whole number above 0"):
        build_view("masked", vocab_size=0)
    with pytest.raises(ValueError, match="needs mask_token_id: write it, or call for_tokenizer"):
        build_view("masked").augment(batch(2), build_view("masked").draw(2, batch(2), torch.Generator()))
