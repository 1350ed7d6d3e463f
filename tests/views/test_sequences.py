"""Noise and dropped steps of series and tables."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_latent.views import SeriesView, TableView
from tests.views.small import batch, draw, few


@few
@given(seed=st.integers(0, 2**31), drop=st.floats(0, 1), length=st.integers(1, 40), features=st.integers(1, 5))
def test_series_drops_real_steps_and_leaves_padding(seed: int, drop: float, length: int, features: int) -> None:
    make = torch.Generator().manual_seed(seed)
    values = torch.randn(80, length, features, generator=make) + 100  # never zero, noisy or not
    mask = (torch.arange(length) < torch.randint(1, length + 1, (80, 1), generator=make)).long()
    inputs = {"values": values, "attention_mask": mask}
    view = SeriesView(drop=drop)
    noise = draw(view, 80, inputs, seed)
    out = view.augment(inputs, noise)["values"]
    assert torch.equal(out[mask == 0], values[mask == 0])
    lost = (out == 0).all(-1)
    assert torch.equal(lost, (out == 0).any(-1))
    assert torch.equal(lost.sum(1), (noise["drop"] * mask.sum(1)).floor().long())
    assert noise["drop"].max() <= drop
    kept = ~lost & (mask == 1)
    change = (out - values)[kept].abs()
    noisy = (noise["noise"] != 0).any((1, 2))
    assert torch.equal((out - values)[~noisy][kept[~noisy]].abs(), torch.zeros(int(kept[~noisy].sum()), features))
    assert change.max() < 0.7 if len(change) else True


def test_series_and_table_noise_has_its_spread_and_probability() -> None:
    inputs = {"values": torch.zeros(4000, 10, 3)}
    view = SeriesView(noise=0.3, noise_probability=0.25, drop=0.8, drop_probability=0.75)
    noise = draw(view, 4000, inputs)
    noisy = (noise["noise"] != 0).any((1, 2))
    assert abs(noisy.float().mean() - 0.25) < 0.035
    assert abs(noise["noise"][noisy].std() - 0.3) < 0.005
    assert abs((noise["drop"] > 0).float().mean() - 0.75) < 0.035
    assert abs(noise["drop"][noise["drop"] > 0].mean() - 0.4) < 0.03
    # which step is lost is uniform, and has nothing to do with the noise
    lost = view.augment({"values": torch.full((4000, 10, 3), 9.0)}, noise)["values"][..., 0] == 0
    assert (lost.float().mean(0) - lost.float().mean()).abs().max() < 0.04
    assert noise["noise"][noisy][lost[noisy]].mean(0).abs().max() < 0.03

    table = TableView(noise=0.2, noise_probability=0.5)
    rows = {"values": torch.ones(4000, 8, dtype=torch.float64)}
    change = table.augment(rows, draw(table, 4000, rows))["values"] - 1
    assert change.dtype == torch.float64
    noisy = (change != 0).any(1)
    assert abs(noisy.double().mean() - 0.5) < 0.04
    assert abs(change[noisy].std() - 0.2) < 0.005
    tokens = {"values": torch.ones(400, 2, 8)}  # features of several tokens
    noisy = (table.augment(tokens, draw(table, 400, tokens))["values"] != 1).flatten(1)
    assert torch.equal(noisy.any(1), noisy.all(1)) and 0.4 < noisy.float().mean() < 0.6


def test_series_and_table_of_probability_zero_are_plain() -> None:
    whole = batch()
    for view, name in (
        (SeriesView(noise_probability=0, drop_probability=0), "series"),
        (TableView(noise_probability=0), "table"),
    ):
        inputs = whole[name]
        assert torch.equal(view.augment(inputs, draw(view, 40, inputs))["values"], inputs["values"])
        assert torch.equal(view.plain(inputs)["values"], inputs["values"])
