"""Modality dropout: which modalities a row keeps, and that evaluation keeps all."""

import pytest
import torch

from hf_latent.errors import UserError
from hf_latent.training.modality_dropout import kept_modalities
from tests.training.runs import LabelledPairs, build_trainer

NAMES = ("a", "b", "c")


def stacked(found):
    return torch.stack([found[name] for name in NAMES], dim=1)


def test_shares_and_that_one_is_always_kept():
    kept = stacked(kept_modalities(NAMES, 0.4, seed=0, global_rows=60_000))
    assert kept.any(dim=1).all()
    # Of 0.6 each, and in the 0.4 ** 3 of the rows that would have none one of the three.
    assert kept.double().mean(0).tolist() == pytest.approx([0.6 + 0.4**3 / 3] * 3, abs=0.01)
    both = (kept[:, 0] & kept[:, 1]).double().mean().item()
    assert both == pytest.approx(0.36, abs=0.01)
    assert stacked(kept_modalities(NAMES, 0.0, seed=0, global_rows=5)).all()


def test_a_row_depends_on_seed_and_place_alone():
    options = {"seed": 3, "position": 24, "global_rows": 12}
    whole = stacked(kept_modalities(NAMES, 0.5, **options))
    for rows in (slice(4, 8), torch.tensor([11, 0, 5])):
        assert torch.equal(stacked(kept_modalities(NAMES, 0.5, rows=rows, **options)), whole[rows])
    for other in ({"seed": 4}, {"position": 36}):
        assert not torch.equal(stacked(kept_modalities(NAMES, 0.5, **{**options, **other})), whole)


def test_what_a_row_lacks_stays_away():
    draw = torch.Generator().manual_seed(0)
    there = torch.rand(5000, 3, generator=draw) < 0.5
    present = dict(zip(NAMES, there.unbind(1), strict=True))
    kept = stacked(kept_modalities(NAMES, 0.7, seed=0, global_rows=5000, present=present))
    assert not (kept & ~there).any() and torch.equal(kept.any(1), there.any(1))
    assert (kept.sum(1) < there.sum(1)).any()


@pytest.mark.parametrize("views", [True, False])
def test_training_drops_and_evaluation_keeps(tmp_path, monkeypatch, views):
    seen = []
    trainer = build_trainer(tmp_path, problem="classes", options={"modality_dropout": 0.5}, max_steps=2, views=views)
    real = trainer.model.forward

    def forward(**batch):
        seen.append((trainer.model.training, batch.get("present")))
        return real(**batch)

    monkeypatch.setattr(trainer.model, "forward", forward)
    trainer.train()
    first = [present for training, present in seen if training]
    assert len(first) == 2 and not torch.equal(first[0]["image1"], first[1]["image1"])
    seen.clear()
    rows = LabelledPairs(7)
    logits = trainer.logits(rows)
    trainer.evaluate(rows)
    assert seen and all(present is None for _, present in seen)
    monkeypatch.undo()
    alone = trainer.logits(rows, "image2")
    assert logits.shape == alone.shape == (7, 3) and not torch.allclose(logits, alone)
    batch = trainer._prepare_inputs(trainer.data_collator([rows[i] for i in range(7)]))
    with torch.no_grad():
        expected = trainer.model.eval()(modalities={"image2": batch["modalities"]["image2"]}).logits
    torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)


def test_regularizers_that_need_every_modality_are_named(tmp_path, monkeypatch):
    from hf_latent.regularizers.alignment import Alignment

    monkeypatch.setattr(Alignment, "supports_missing", False)
    options = {"regularizers": {"alignment": {}}, "options": {"modality_dropout": 0.2}}
    with pytest.raises(UserError, match="model.modality_dropout: the regularizer alignment needs every modality"):
        build_trainer(tmp_path, **options)
