"""Which views and masks a CoMM sees whose objective reads clean inputs, three views, or masked tokens."""

import pytest
import torch
from PIL import Image

from tests.training.runs import NAMES, RandomPairs, build_trainer, curve

CLEAN = {"objective_options": {"clean": True}}


class Photos(RandomPairs):
    """The same rows with decoded pictures of a size each, whose crops are cut as they are loaded."""

    def __getitem__(self, i):
        row = super().__getitem__(i)
        pictures = {name: Image.fromarray(row[name].permute(1, 2, 0).numpy()) for name in NAMES}
        return {**row, **{name: own.resize((20 + i % 7, 18 + i % 5)) for name, own in pictures.items()}}


def pixels(view):
    return torch.stack([view[name]["pixel_values"] for name in NAMES])


def prepared(folder, rows, objective, options):
    trainer = build_trainer(folder, dataset=rows, objective=objective, options=options)
    trainer.model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    return trainer, batch, trainer._prepare_inputs(batch)


@pytest.mark.parametrize("rows", [RandomPairs, Photos])
def test_the_paper_s_baselines_contrast_rows_as_they_are(tmp_path, rows):
    for objective, options in (("cross", CLEAN), ("cross_self", CLEAN), ("cross", None), ("cross_self", None)):
        trainer, batch, inputs = prepared(tmp_path, rows(), objective, options)
        plain, first = pixels(trainer.views.plain(batch["modalities"])), pixels(inputs["modalities"])
        if rows is RandomPairs or options:
            assert torch.equal(first, plain) == bool(options)
        second, third = (inputs.get(key) for key in ("augmented_modalities", "third_modalities"))
        assert (second is None) == (objective == "cross")
        assert (third is not None) == (objective == "cross_self" and bool(options))
        views = [first, *(pixels(view) for view in (second, third) if view is not None)]
        assert all(not torch.equal(a, b) for i, a in enumerate(views) for b in views[:i])
        found = trainer.model(**inputs)
        assert torch.isfinite(found.loss)
        if third is not None:
            alone = trainer.model({"image1": third["image1"]}, return_loss=False).embeds["image1"]
            torch.testing.assert_close(found.third_augmented["image1"], alone)


@pytest.mark.parametrize(
    ("objective", "options", "terms"),
    [
        ("cross_self", CLEAN, {"cross", "self"}),
        ("coral", None, {"joint", "orthogonality", *(f"unique_{name}" for name in NAMES)}),
    ],
)
def test_they_train_and_evaluate(tmp_path, objective, options, terms):
    trainer = build_trainer(tmp_path, objective=objective, options=options, max_steps=3)
    trainer.train()
    assert {f"loss_{name}" for name in terms} < set(curve(trainer)[-1])
    found = trainer.evaluate(RandomPairs(29))
    assert {f"eval_loss_{name}" for name in terms} < set(found)
    assert found["eval_loss"] == pytest.approx(trainer.evaluate(RandomPairs(29))["eval_loss"])
    assert trainer.features(RandomPairs(5)).shape == (5, 32)


def test_masks_are_drawn_for_training_alone(tmp_path, monkeypatch):
    trainer = build_trainer(tmp_path, objective="coral", max_steps=2)
    seen, real = [], trainer.model.forward

    def forward(**batch):
        seen.append((trainer.model.training, batch.get("mask_seeds")))
        return real(**batch)

    monkeypatch.setattr(trainer.model, "forward", forward)
    trainer.train()
    seeds = [own for training, own in seen if training]
    assert len(seeds) == 2 and len(torch.cat(seeds).unique()) == 24
    seen.clear()
    trainer.evaluate(RandomPairs(14))
    assert seen and all(not training and own is None for training, own in seen)
