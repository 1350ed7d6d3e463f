"""The view of sound: what it changes, and that rows, padding and parts of a batch do not matter."""

import pytest
import torch

from hf_latent.views import Views, build_view
from hf_latent.views.audio import white_noise


def waveforms(*lengths, pad=0):
    longest = max(lengths) + pad
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(len(lengths), longest, generator=draw)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    return {"input_values": values * mask, "attention_mask": mask}


def features(*lengths, pad=0, channels=()):
    longest = max(lengths) + pad
    draw = torch.Generator().manual_seed(0)
    values = torch.stack([torch.randn(longest, 12, generator=draw) for _ in lengths]) + 3
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    values = (values * mask[..., None]).view(len(lengths), *[1] * len(channels), longest, 12)
    return {"input_features": values.expand(len(lengths), *channels, longest, 12), "attention_mask": mask}


@pytest.mark.parametrize("make", [waveforms, features])
def test_a_row_depends_neither_on_the_others_nor_on_padding(make):
    views = Views({"sound": build_view("audio", noise_probability=1.0)}, seed=3)
    batch = make(40, 90, 61)
    whole = views.augmented({"sound": batch}, view=1)["sound"]
    key = next(iter(batch))
    for row, length in enumerate((40, 90, 61)):
        one = {name: value[row : row + 1, :length] for name, value in batch.items()}
        options = {"view": 1, "rows": slice(row, row + 1), "global_rows": 3}
        alone = views.augmented({"sound": one}, **options)["sound"]
        assert torch.equal(alone[key][0], whole[key][row, :length])
        assert whole[key][row, length:].eq(0).all()
    assert not torch.equal(whole[key], batch[key]) and torch.equal(whole["attention_mask"], batch["attention_mask"])


def test_noise_gain_and_shift():
    batch = waveforms(50, 80)
    real = batch["attention_mask"].bool()

    def changed(**options):
        quiet = {"noise": 0.0, "gain": 0.0, "shift": 0.0, **options}
        return Views({"s": build_view("audio", **quiet)}).augmented({"s": batch}, view=0)["s"]["input_values"]

    before = batch["input_values"]
    assert torch.equal(changed(), before)
    moved = changed(shift=0.5)
    assert torch.equal(moved[0, :50].sort().values, before[0, :50].sort().values) and not torch.equal(moved, before)
    factor = (changed(gain=6.0) / before)[real]
    assert factor.max() <= 10 ** (6 / 20) + 1e-5 and factor.min() >= 10 ** (-6 / 20) - 1e-5
    assert (factor[:50] - factor[0]).abs().max() < 1e-5 and (factor[0] - factor[-1]).abs() > 1e-3
    noisy = changed(noise=0.5, noise_probability=1.0) - before
    power = [noisy[row][real[row]].std() / before[row][real[row]].std() for row in range(2)]
    assert all(0 < share < 0.7 for share in power) and power[0] != power[1]


def test_silence_stays_finite():
    batch = {"input_values": torch.zeros(2, 30)}
    found = Views({"s": build_view("audio")}).augmented({"s": batch}, view=0)["s"]["input_values"]
    assert found.eq(0).all()


def test_masks_of_time_and_frequency_become_the_mean_of_the_row():
    batch = features(60, 40)
    options = {"time_masks": 1, "frequency_masks": 1, "time_mask": 0.5, "frequency_mask": 0.5}
    view = build_view("audio", **options)
    noise = {"time": torch.tensor([[[0.25, 0.999]], [[0.5, 0.0]]]), "frequency": torch.tensor([[[0.0, 0.5]]] * 2)}
    found = view.augment(batch, noise)["input_features"]
    hidden = found != batch["input_features"]
    assert hidden[0].all(1).nonzero().flatten().tolist() == list(range(45, 60))
    assert hidden[1].all(1).nonzero().flatten().tolist() == list(range(20))
    assert torch.allclose(found[1, 0], batch["input_features"][1, :40].mean(), atol=1e-6)
    noise = {"time": torch.zeros(2, 1, 2), "frequency": torch.tensor([[[0.25, 0.0]]] * 2)}
    hidden = view.augment(batch, noise)["input_features"] != batch["input_features"]
    assert hidden[0].all(0).tolist() == [True] * 3 + [False] * 9 and not hidden[1, 40:].any()


def test_channels_are_masked_alike():
    batch = features(30, 30, channels=(4,))
    found = Views({"s": build_view("audio")}).augmented({"s": batch}, view=0)["s"]["input_features"]
    assert found.shape == (2, 4, 30, 12) and torch.equal(found[:, 0], found[:, 3])


def test_white_noise_is_white():
    noise = white_noise(torch.arange(32) * 7919, 20000)
    assert torch.equal(noise[:, :100], white_noise(torch.arange(32) * 7919, 100))
    assert (
        noise.mean().abs() < 5e-3
        and (noise.std() - 1).abs() < 5e-3
        and (noise**4).mean() < 3.1
        and noise.isfinite().all()
    )
    assert (noise[:, 1:] * noise[:, :-1]).mean().abs() < 5e-3
    assert (torch.corrcoef(noise) - torch.eye(32)).abs().max() < 0.04


@pytest.mark.parametrize("option", [{"gain": -1.0}, {"time_masks": 1.5}, {"shift": 2.0}])
def test_wrong_options_are_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        build_view("audio", **option)


def test_a_view_needs_sound():
    with pytest.raises(ValueError, match="the audio view needs 'input_values'"):
        Views({"s": build_view("audio")}).augmented({"s": {"values": torch.ones(1, 3)}}, view=0)
