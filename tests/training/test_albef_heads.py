"""The heads of LatentALBEF in training: one gradient however a batch is run, resume, predictions and answers."""

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset
from transformers import set_seed

from hf_latent import (
    LatentALBEFForImageTextClassification,
    LatentALBEFForQuestionAnswering,
    LatentALBEFProcessor,
    LatentTrainer,
    LatentTrainingArguments,
    Views,
    build_view,
)
from hf_latent.data.collator import LatentCollator
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.errors import UserError
from hf_latent.models.embeddings import Embeddings
from tests.models.small import small_albef
from tests.training.runs import RandomCaptions, curve

ANSWERS = ["red", "blue or green", "small red square"]


class Answered(Dataset):
    def __init__(self, rows=52, labelled=True):
        self.rows, self.labelled = RandomCaptions(rows), labelled

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {**self.rows[i], **({"labels": i % 3} if self.labelled else {})}


def build(folder, cls=LatentALBEFForQuestionAnswering, double=False, labelled=True, model=None, **arguments):
    set_seed(0)
    tokenizer = word_tokenizer(["a red square green blue small large or"])
    processor = LatentALBEFProcessor.for_size(16, tokenizer)
    tokens = tokenizer(ANSWERS, padding=True, return_tensors="pt")
    answers = tokens["input_ids"].masked_fill(tokens["attention_mask"] == 0, -100)
    collate = LatentCollator(processor)

    def with_labels(rows):
        batch = collate([{name: value for name, value in row.items() if name != "labels"} for row in rows])
        if labelled:
            labels = torch.tensor([row["labels"] for row in rows])
            batch["labels"] = answers[labels] if cls is LatentALBEFForQuestionAnswering else labels
        return batch

    options = {"alpha": 0.3, "alpha_ramp": 0.5, "momentum": 0.9, "num_labels": 3, **(model or {})}
    defaults = {"global_batch_size": 12, "max_steps": 2, "learning_rate": 1e-3, "logging_steps": 1, "seed": 0}
    defaults |= {"save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "max_grad_norm": 1e9}
    dtype = torch.float64 if double else torch.float32
    return LatentTrainer(
        model=small_albef(vocab_size=len(tokenizer), dtype=dtype, cls=cls, **options),
        args=LatentTrainingArguments(output_dir=str(folder), **{**defaults, **arguments}),
        views=Views({"image": build_view("image", size=16), "text": build_view("none")}, seed=0),
        train_dataset=Answered(labelled=labelled),
        data_collator=with_labels,
        processing_class=processor,
    )


@pytest.mark.parametrize(
    ("cls", "alpha"), [(LatentALBEFForQuestionAnswering, 0.3), (LatentALBEFForImageTextClassification, 0.0)]
)
def test_chunks_change_nothing(tmp_path, cls, alpha):
    """Answers are of two to four tokens: a mean of chunks would be another number."""
    whole, parts = (
        build(tmp_path, cls, double=True, model={"alpha": alpha}, gradient_cache_chunk_size=chunk)
        for chunk in (None, 5)
    )
    for trainer in (whole, parts):
        trainer.train()
    for one, other in zip(curve(whole), curve(parts), strict=True):
        assert other == pytest.approx(one, rel=1e-9)
    for (name, one), other in zip(whole.model.state_dict().items(), parts.model.state_dict().values(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9, msg=name)
    names = {name.split(".")[0] for name in whole.model.state_dict()}
    assert ("momentum" in names) == (alpha > 0)
    task = whole.model.task
    assert all(f"loss_{task}" in entry for entry in curve(whole))


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
    whole = build(tmp_path / "whole", save_strategy="steps", save_steps=1)
    whole.train()
    again = build(tmp_path / "again", save_strategy="steps", save_steps=1)
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
    trainer, rows = build(tmp_path, per_device_eval_batch_size=4), Answered(7)
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
        build(tmp_path, LatentALBEFForImageTextClassification).answer(rows, ANSWERS)


def test_classes_of_a_data_set(tmp_path):
    trainer, rows = build(tmp_path, LatentALBEFForImageTextClassification, per_device_eval_batch_size=4), Answered(7)
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
        build(tmp_path, labelled=False).try_batch()


def test_adapters_are_refused_beside_a_momentum_copy(tmp_path):
    from hf_latent.training.lora import Lora, add_lora

    with pytest.raises(UserError, match="momentum encoders of this model follow whole weights"):
        add_lora(build(tmp_path).model, Lora())
