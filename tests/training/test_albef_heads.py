"""The heads of LatentALBEF in training: one gradient however a batch is run, resume, predictions and answers."""

import pytest
import torch
from safetensors.torch import load_file

from hf_latent import LatentALBEFForQuestionAnswering
from hf_latent.errors import UserError
from hf_latent.models.embeddings import Embeddings
from hf_latent.training.lora import Lora, add_lora
from tests.models.small import small_albef
from tests.training.runs import ANSWERS, LabelledCaptions, build_head_trainer, curve


def test_the_loss_is_a_mean_over_all_labels():
    model = small_albef(cls=LatentALBEFForQuestionAnswering, alpha=0.5, alpha_ramp=0.5)
    rows = torch.tensor([[4.0, 2.0, 2.0], [9.0, 3.0, 1.0], [0.0, 0.0, 0.0], [1.0, 4.0, 5.0]])
    for progress, expected in ((0.0, 14 / 8), (0.25, (0.75 * 14 + 0.25 * 9) / 8), (1.0, (0.5 * 14 + 0.5 * 9) / 8)):
        loss, terms = model.objective(Embeddings(row_losses={"answer": rows}), 1.0, progress=progress)
        assert loss.item() == pytest.approx(expected) == terms["answer"].item()
    assert "alpha" in model.objective.formula and "Align before Fuse" in model.objective.citations[0]
    plain = small_albef(cls=LatentALBEFForQuestionAnswering, alpha=0.0)
    assert "alpha" not in plain.objective.formula


def test_a_resume_is_bit_exact_and_the_published_model_is_light(tmp_path):
    whole = build_head_trainer(tmp_path / "whole", max_steps=2, save_strategy="steps", save_steps=1)
    whole.train()
    again = build_head_trainer(tmp_path / "again", max_steps=2, save_strategy="steps", save_steps=1)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    assert curve(again)[-1:] == curve(whole)[-1:]
    for (name, ours), theirs in zip(again.model.state_dict().items(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    moved = whole.model.momentum.mlm_head.dense.weight
    assert not torch.equal(moved, whole.model.mlm_head.dense.weight)
    whole.save_model(str(tmp_path / "published"))
    names = load_file(tmp_path / "published" / "model.safetensors")
    assert not any(name.startswith("momentum") for name in names)


def test_answers_of_a_data_set(tmp_path):
    trainer, rows = build_head_trainer(tmp_path, per_device_eval_batch_size=4), LabelledCaptions(7)
    scores = trainer.answer(rows, ANSWERS)
    assert scores.shape == (7, 3) and scores.isfinite().all()
    processor = trainer.processing_class
    tokens = processor.tokenizer(ANSWERS, padding=True, return_tensors="pt")
    for i in range(7):
        row = processor.batch({"image": [rows[i]["image"]], "text": [rows[i]["text"]]})
        asked = {name: row[name] for name in ("pixel_values", "input_ids", "attention_mask")}
        one = trainer.model.rank_answers(**asked, answer_ids=tokens["input_ids"], answer_mask=tokens["attention_mask"])
        torch.testing.assert_close(one[0], scores[i], rtol=1e-4, atol=1e-5)
    assert trainer.answer(rows, ANSWERS, k=1).isfinite().sum() == 7
    assert trainer.features(rows).shape == (7, 16)
    with pytest.raises(UserError, match="the list of answers is empty"):
        trainer.answer(rows, [])
    with pytest.raises(UserError, match="answers no questions"):
        build_head_trainer(tmp_path, "classes").answer(rows, ANSWERS)


def test_classes_of_a_data_set(tmp_path):
    trainer, rows = (
        build_head_trainer(tmp_path, "classes", per_device_eval_batch_size=4),
        LabelledCaptions(7, "classes"),
    )
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    found = trainer.predict(rows)
    assert found.predictions["logits"].shape == (7, 3) and found.label_ids.tolist() == [0, 1, 2, 0, 1, 2, 0]
    row = trainer.processing_class.batch({"image": [rows[5]["image"]], "text": [rows[5]["text"]]})
    expected = trainer.model(**row).logits[0].detach()
    torch.testing.assert_close(torch.from_numpy(found.predictions["logits"])[5], expected, rtol=1e-4, atol=1e-5)
    assert trainer.embed(rows).fused.shape == (7, 16)
    trainer.try_batch()
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())


def test_rows_without_labels_are_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="the loss needs labels: give each row one"):
        build_head_trainer(tmp_path, labelled=False).try_batch()


def test_adapters_are_refused_beside_a_momentum_copy(tmp_path):
    with pytest.raises(UserError, match="momentum encoders of this model follow whole weights"):
        add_lora(build_head_trainer(tmp_path).model, Lora())
