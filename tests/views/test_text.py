"""TextView masks real tokens, and as many as it says."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_latent.views import TextView
from tests.views.small import draw, few


@few
@given(seed=st.integers(0, 2**31), probability=st.floats(0.05, 0.95), length=st.integers(20, 60))
def test_text_masks_real_tokens_only(seed: int, probability: float, length: int) -> None:
    make = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 50, (100, length), generator=make)
    mask = (torch.arange(length) < torch.randint(5, length + 1, (100, 1), generator=make)).long()
    inputs = {"input_ids": ids, "attention_mask": mask}
    view = TextView(mask_token_id=77, mask_probability=probability, special_token_ids=(0, 1, 2))
    out = view.augment(inputs, draw(view, 100, inputs, seed))
    masked = out["input_ids"] == 77
    open_ = (mask == 1) & (ids > 2)
    assert not masked[~open_].any()
    assert torch.equal(out["input_ids"][~masked], ids[~masked])
    deviation = math.sqrt(probability * (1 - probability) / int(open_.sum()))
    assert abs(masked[open_].float().mean() - probability) < 5 * deviation
    assert torch.equal(view.plain(inputs)["input_ids"], ids)


def test_text_without_a_mask_has_no_padding() -> None:
    view, inputs = TextView(mask_token_id=1, mask_probability=1.0), {"input_ids": torch.full((2, 3), 9)}
    assert (view.augment(inputs, draw(view, 2, inputs))["input_ids"] == 1).all()
