"""The models in the Trainer of transformers: outputs begin with the loss, and predictions are of rows."""

import pytest
import torch
from transformers import Trainer, TrainingArguments

from hf_latent import (
    LatentALBEFForImageTextClassification,
    LatentALBEFForNaturalLanguageVisualReasoning,
    LatentALBEFForPreTraining,
    LatentALBEFForQuestionAnswering,
)
from tests.models.small import small_albef, small_batch, small_clip, small_masked_pairs, small_model, small_pairs

CLASSES = {"labels": torch.tensor([0, 1, 2, 1, 0, 1])}


def two_images():
    batch = {**small_pairs(), **CLASSES}
    return {**batch, "pixel_values": batch["pixel_values"].unsqueeze(1).repeat(1, 2, 1, 1, 1)}


def albef(cls, **options):
    return small_albef(cls=cls, num_labels=3, alpha=0.3, **options)


def clip_batch():
    second = {f"augmented_{name}": value for name, value in small_pairs(seed=1).items()}
    return {**small_pairs(), **second}


CASES = {
    "clip": lambda: (small_clip(), small_pairs()),
    "clip of two views": lambda: (small_clip(in_modal=True), clip_batch()),
    "comm": lambda: (small_model(), {"modalities": small_batch(), "augmented_modalities": small_batch(seed=1)}),
    "pre-training": lambda: (albef(LatentALBEFForPreTraining), small_masked_pairs()),
    "classes": lambda: (albef(LatentALBEFForImageTextClassification), {**small_pairs(), **CLASSES}),
    "statements": lambda: (
        albef(LatentALBEFForNaturalLanguageVisualReasoning),
        two_images(),
    ),
    "answers": lambda: (
        albef(LatentALBEFForQuestionAnswering),
        {**small_pairs(), "labels": small_pairs()["input_ids"][:, :3]},
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_the_loss_stands_first(name, training):
    model, batch = CASES[name]()
    model.train(training)
    outputs = model(**batch, return_loss=True)
    assert outputs[0] is outputs.loss and outputs.loss.ndim == 0
    assert next(iter(outputs)) == "loss" and model(**batch, return_loss=True, return_dict=False)[0].ndim == 0
    without = model(**batch, return_loss=False)
    assert "loss" not in without and list(without) == [key for key in outputs if key in without]


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_of_rows(tmp_path, name):
    model, batch = CASES[name]()
    rows = range(6)

    def collate(numbers):
        def pick(value):
            return value[numbers] if isinstance(value, torch.Tensor) else {key: pick(of) for key, of in value.items()}

        return {key: pick(value) for key, value in batch.items()}

    arguments = TrainingArguments(str(tmp_path), use_cpu=True, per_device_eval_batch_size=4, disable_tqdm=True)
    arguments.remove_unused_columns = False
    found = Trainer(model, arguments, data_collator=collate).predict(rows)
    if name in ("classes", "statements"):
        torch.testing.assert_close(torch.from_numpy(found.predictions), model(**batch).logits.detach())
        assert found.label_ids.tolist() == batch["labels"].tolist()
    elif name == "answers":
        assert found.predictions.shape == (6, 16)
    else:
        embeds = found.predictions[0] if isinstance(found.predictions, tuple) else found.predictions
        assert {len(vectors) for vectors in embeds.values()} == {6}
    assert ("test_loss" in found.metrics) == ("labels" in batch)
    assert "keys_to_ignore_at_inference" not in model.config.to_json_string()
