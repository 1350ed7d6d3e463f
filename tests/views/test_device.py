"""Views on an accelerator: what is drawn goes there, nothing waits, and the result is that of a CPU."""

import pytest
import torch

from hf_latent.views import ImageView, MaskedView, TextView, Views, WordsView
from hf_latent.views.audio import AudioView
from hf_latent.views.base import send
from hf_latent.views.cells import CellsView
from hf_latent.views.video import VideoView
from tests.fake_device import FakeDevice, put
from tests.views.small import SIZE, batch, pixels, views


def words():
    ids = {name: batch(6)["text"][name] for name in ("input_ids", "attention_mask")}
    return {**ids, "word_ids": torch.arange(9).expand(6, 9) * ids["attention_mask"] - 1}


CROPPED = {"pixel_values": pixels(6), "crops_0": pixels(6, SIZE, SIZE), "crops_1": pixels(6, SIZE, SIZE, seed=1)}
CELLS = [
    {"name": "size", "missing": 0.2, "mean": 0.0, "std": 1.0, "quantiles": [-1.0, 0.0, 2.0]},
    {"name": "shop", "missing": 0.1, "values": ["a", "b"], "shares": [0.7, 0.3]},
]
TABLE = {
    "values": torch.zeros(6, 1),
    "missing": torch.zeros(6, 1, dtype=torch.bool),
    "categories": torch.full((6, 1), 2),
}
WAVES = {"input_values": batch(6)["series"]["values"][..., 0], "attention_mask": batch(6)["series"]["attention_mask"]}
BANDS = {"input_features": batch(6)["series"]["values"], "attention_mask": batch(6)["series"]["attention_mask"]}
CASES = {
    "all": (views().modalities, batch(6)),
    "randaugment": ({"image": ImageView(size=SIZE, randaugment=(2, 7))}, {"image": {"pixel_values": pixels(40)}}),
    "crops": ({"image": ImageView(size=SIZE)}, {"image": CROPPED}),
    "several": ({"image": ImageView(size=SIZE)}, {"image": {"pixel_values": pixels(6).unflatten(0, (3, 2))}}),
    "text": ({"text": TextView(mask_token_id=3, special_token_ids=(5, 6))}, {"text": batch(6)["text"]}),
    "words": ({"text": WordsView(pad_token_id=0, special_token_ids=(5,), padding_side="right")}, {"text": words()}),
    "ids": ({"text": WordsView(pad_token_id=0, special_token_ids=(5,))}, {"text": batch(6)["text"]}),
    "waveforms": ({"audio": AudioView(noise_probability=1.0)}, {"audio": WAVES}),
    "spectrograms": ({"audio": AudioView()}, {"audio": BANDS}),
    "cells": ({"table": CellsView().for_modality({"cells": CELLS})}, {"table": TABLE}),
    "clips": ({"video": VideoView(size=SIZE)}, {"video": {"pixel_values": pixels(6).unflatten(0, (3, 2))}}),
    "masked": (
        {"text": MaskedView(mask_token_id=3, vocab_size=90, special_token_ids=(5,))},
        {"text": batch(6)["text"]},
    ),
}


@pytest.mark.parametrize("of, rows", CASES.values(), ids=CASES)
def test_views_stay_on_the_device(of, rows, monkeypatch):
    monkeypatch.setattr("hf_latent.views.image.CPU_BLOCK", 64)  # as many at once as on an accelerator
    made = Views(of, seed=0)
    with FakeDevice() as found:
        there = [made.augmented(put(rows), view=1, position=3), made.plain(put(rows))]
    assert not found.mixed and not found.waits and not found.wide
    for view, here in zip(there, [made.augmented(rows, view=1, position=3), made.plain(rows)], strict=True):
        assert view.keys() == here.keys()
        for name, inputs in here.items():
            assert view[name].keys() == inputs.keys()
            assert all(torch.equal(view[name][key].data_on_cpu, value) for key, value in inputs.items()), name


def test_a_gpu_copies_from_pinned_memory():
    """From other memory, a copy of more than a few kilobytes waits for what the GPU has still to do."""
    done = []

    class Numbers(torch.Tensor):
        def pin_memory(self):
            done.append("pinned")
            return self

        def to(self, device, non_blocking=False):
            done.append((device.type, non_blocking))
            return self

    class There:
        device = torch.device("cuda", 0)

    send(torch.ones(2).as_subclass(Numbers), There())
    send(torch.ones(2).as_subclass(Numbers), torch.ones(2))
    assert done == ["pinned", ("cuda", True), ("cpu", True)]
