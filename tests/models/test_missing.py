"""Rows that lack a modality, in the models: what they embed, and what their heads make of it."""

import pytest
import torch
import torch.nn.functional as F

from tests.models.small import small_batch, small_clip, small_model, small_pairs

NAMES = ("image", "series", "table")
PRESENT = {
    "image": torch.tensor([1, 1, 0, 1, 0, 1], dtype=torch.bool),
    "series": torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.bool),
    "table": torch.tensor([0, 1, 1, 1, 1, 1], dtype=torch.bool),
}


def rows_of(batch, rows):
    return {name: {key: value[rows] for key, value in inputs.items()} for name, inputs in batch.items()}


FUSIONS = [{"fusion_pooling": "cls"}, {"fusion_pooling": "mean"}, {"fusion": "linear"}, {"fusion": "mlp"}]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_row_is_fused_of_what_it_has(fusion):
    model, batch = small_model(NAMES, **fusion).eval(), small_batch(NAMES)
    found = model(batch, present=PRESENT)
    torch.testing.assert_close(model.get_fused_features(batch, PRESENT), found.fused)
    for row in range(6):
        own = [name for name in NAMES if PRESENT[name][row]]
        alone = model(rows_of({name: batch[name] for name in own}, slice(row, row + 1)))
        torch.testing.assert_close(found.fused[row : row + 1], alone.fused, rtol=1e-9, atol=1e-12)
        for name in own:
            torch.testing.assert_close(found.embeds[name][row : row + 1], alone.embeds[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_stands_in_place_of_a_missing_value_changes_nothing(fusion):
    model, batch = (
        small_model(NAMES, **fusion, regularizers={"alignment": {"weight": 1.0}}),
        small_batch(NAMES),
    )
    second, losses = small_batch(NAMES, seed=1), []
    for scale in (1.0, 50.0):
        for view in (batch, second):
            for name, there in PRESENT.items():
                key = "pixel_values" if name == "image" else "values"
                view[name][key] = torch.where(
                    there.view(-1, *[1] * (view[name][key].ndim - 1)), view[name][key], scale
                )
        model.zero_grad()
        losses.append(model(batch, second, present=PRESENT).loss)
        losses[-1].backward()
        losses.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.equal(losses[0], losses[2]) and torch.equal(losses[1], losses[3])
    assert losses[1].isfinite().all()


def test_the_head_takes_its_statistics_of_the_rows_that_are_there():
    model = small_model(NAMES)
    raw = model(small_batch(NAMES), present=PRESENT)
    scored = model.score(raw)
    for name, there in PRESENT.items():
        expected = F.normalize(model.head(raw.embeds[name][there]), dim=-1)
        torch.testing.assert_close(scored.embeds[name][there], expected)
        assert not scored.embeds[name][~there].any()


@pytest.mark.parametrize("count", [0, 1])
def test_a_modality_of_one_row_or_none_has_no_contrast(count):
    """A BatchNorm of one row would have no variance."""
    model, first, second = small_model(NAMES), small_batch(NAMES), small_batch(NAMES, seed=1)
    present = {**PRESENT, "image": torch.arange(6) < count}
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    loss = model(first, second, present=present).loss
    loss.backward()
    assert loss.isfinite() and all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    _, terms = model.objective(model.score(model(first, second, present=present)), model.scale)
    assert abs(terms["image"]) < 1e-12 < terms["series"]
    assert any(not torch.equal(before[name], buffer) for name, buffer in model.named_buffers())


def test_clip_contrasts_the_rows_that_have_both():
    model, pairs = small_clip(), small_pairs(6)
    present = {"image": PRESENT["image"], "text": PRESENT["series"]}
    both = present["image"] & present["text"]
    found = model(**pairs, present=present, return_loss=True).loss
    expected = model(**{key: value[both] for key, value in pairs.items()}, return_loss=True).loss
    torch.testing.assert_close(found, expected)


def test_all_there_is_as_if_nothing_were_said():
    model, first, second = small_model(NAMES), small_batch(NAMES), small_batch(NAMES, seed=1)
    everything = {name: torch.ones(6, dtype=torch.bool) for name in NAMES}
    torch.testing.assert_close(model(first, second, present=everything).loss, model(first, second).loss)


@pytest.mark.parametrize(
    "present, message",
    [
        ({"image": PRESENT["image"]}, "present says nothing of the modality 'series': give a bool a row"),
        ({"image": PRESENT["image"], "series": PRESENT["series"][:3]}, r"present\['series'\] is \(3,\): .* \(6,\)"),
    ],
)
def test_what_does_not_fit_is_said(present, message):
    with pytest.raises(ValueError, match=message):
        small_model()(small_batch(), present=present)
