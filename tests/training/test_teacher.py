"""The frozen copy of a model that training begins with, which regularizers may read."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from hf_latent import LatentCLIPModel
from hf_latent.errors import UserError
from tests.models.small import small_batch, small_clip, small_model, small_pairs
from tests.training.runs import OF_CLIP, build_clip_trainer

OPTIONS = {"in_modal": False, "regularizers": OF_CLIP, "save_strategy": "steps", "save_steps": 2, "max_steps": 4}


def test_the_teacher_is_the_model_that_training_began_with_and_a_resume_keeps_it(tmp_path):
    trainer = build_clip_trainer(tmp_path / "whole", **OPTIONS)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()
    model = trainer.model
    kept = {name.removeprefix("teacher."): t for name, t in model.state_dict().items() if name.startswith("teacher.")}
    assert {name.split(".")[0] for name in kept} == {"encoders", "projections"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in kept.items())
    assert any(not torch.equal(tensor, model.state_dict()[name]) for name, tensor in kept.items())
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    checkpoint = load_file(tmp_path / "whole" / "checkpoint-2" / "model.safetensors")
    assert all(torch.equal(checkpoint[f"teacher.{name}"], tensor) for name, tensor in kept.items())

    trainer.save_model(str(tmp_path / "saved"))
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert saved.keys() == before.keys()
    assert LatentCLIPModel.from_pretrained(tmp_path / "saved").teacher is None
    assert LatentCLIPModel.from_pretrained(tmp_path / "whole" / "checkpoint-2").teacher is None

    again = build_clip_trainer(tmp_path / "again", **OPTIONS)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_what_is_read_is_filled_in_and_nothing_else_changes():
    plain, batch = small_clip(), small_pairs()
    assert plain.score(plain(**batch)).raw is None
    model = small_clip(regularizers=OF_CLIP)
    output = model(**batch)
    assert output.loss is None and output.teacher is None  # no teacher yet, and so no objective
    with pytest.raises(ValueError, match=r"call prepare_training\(\)"):
        model(**batch, return_loss=True)
    model.prepare_training()
    assert not model.train().teacher.training
    with torch.no_grad():
        model.projections["image"].weight += 0.1
    output = model(**batch)
    scored = model.score(output)
    for name, rows in plain(**batch).embeds.items():  # the weights of the same seed
        torch.testing.assert_close(scored.teacher[name], F.normalize(rows, dim=1))
    assert torch.equal(scored.raw["image"], output.embeds["image"])
    assert not torch.allclose(scored.embeds["image"], scored.teacher["image"])
    assert not output.teacher["image"].requires_grad and output.loss is not None


def test_a_model_whose_regularizer_is_not_installed_is_scored():
    model, batch = small_clip(), small_pairs()
    model.config.regularizers = {"of_a_plug_in": {}}
    scored = model.score(model.eval()(**batch))
    assert scored.raw is None and scored.embeds["image"].shape == (6, 8)


def test_what_cannot_have_one_refuses():
    with pytest.raises(ValueError, match="a regularizer reads teacher, which a CoMMModel does not give: leave it out"):
        small_model(regularizers={"distillation": {}})({**small_batch()}, return_loss=True)
    with pytest.raises(ValueError, match="reads raw, which a CoMMModel does not give"):
        _ = small_model(regularizers={"random_references": {}}).objective


def test_low_rank_adapters_refuse_it(tmp_path):
    trainer = build_clip_trainer(tmp_path, regularizers={"distillation": {}}, lora={}, max_steps=1)
    with pytest.raises(UserError, match="low-rank adapters are not trained with a teacher"):
        trainer.train()
