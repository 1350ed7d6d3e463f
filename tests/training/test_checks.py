"""What a Trainer is given and cannot work with: a sentence that says what to give instead."""

import pytest
import torch
from transformers import BertConfig, BertModel, TrainingArguments

from hf_latent import LatentTrainer, LatentTrainingArguments
from hf_latent.data.collator import LatentCollator
from hf_latent.errors import UserError
from tests.models.small import small_clip
from tests.training.runs import NAMES, LabelledCaptions, RandomPairs, build_head_trainer, build_trainer


def trainer(folder, **given):
    args = {"model": small_clip(), "args": LatentTrainingArguments(str(folder), use_cpu=True)}
    return LatentTrainer(**{**args, **given})


def bert():
    return BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def scheduler(model):
    return torch.optim.lr_scheduler.ConstantLR(sgd(model))


class LatentPreTrainedModel(torch.nn.Module):
    """As of code that was loaded from the Hub."""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"args": TrainingArguments("x", use_cpu=True)}, "args is a TrainingArguments.*write LatentTrainingArguments"),
        ({"args": {"output_dir": "x"}}, "args is a dict.*write LatentTrainingArguments"),
        ({"model": None}, "model is None, which has no objective; give LatentCLIPModel"),
        ({"model": "openai/clip"}, "model='openai/clip': give the model itself, as AutoModel.from_pretrained"),
        ({"model": bert()}, "model is a BertModel, which has no objective.*from_vision_text_pretrained"),
        ({"model": LatentPreTrainedModel()}, "loaded as code of its folder: import hf_latent before"),
        ({"compute_loss_func": lambda *given: 0}, "compute_loss_func: the loss is the objective"),
        ({"optimizers": sgd(small_clip())}, r"optimizers is a SGD: give two, \(optimizer, scheduler\)"),
        ({"optimizers": (scheduler(small_clip()), None)}, r"begins with a ConstantLR: give \(optimizer, scheduler\)"),
        ({"optimizers": (None, scheduler(small_clip()))}, "a scheduler without its optimizer"),
        ({"optimizers": (sgd(small_clip()), None)}, "parameters that are not of this model"),
        (
            {"train_dataset": {"train": [1], "test": [1]}},
            r"a dict of the splits 'train', 'test': choose one.*\['train'",
        ),
        ({"train_dataset": "imagefolder"}, "train_dataset='imagefolder': give the rows themselves"),
        ({"train_dataset": []}, "train_dataset has no rows"),
        ({"eval_dataset": []}, "eval_dataset has no rows"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_is_given_wrongly_is_said(tmp_path, given, said):
    with pytest.raises(UserError, match=said):
        trainer(tmp_path, **given)


def test_a_scheduler_of_another_optimizer_is_refused(tmp_path):
    model = small_clip()
    with pytest.raises(UserError, match="the scheduler is of another optimizer"):
        trainer(tmp_path, model=model, optimizers=(sgd(model), scheduler(model)))


def test_an_optimizer_of_the_model_trains_it(tmp_path):
    built = build_trainer(tmp_path, max_steps=1)
    optimizer = sgd(built.model)
    own = LatentTrainer(
        model=built.model,
        args=built.args,
        views=built.views,
        train_dataset=built.train_dataset,
        processing_class=built.processing_class,
        optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer)),
    )
    before = [parameter.clone() for parameter in built.model.parameters()]
    own.train()
    assert any(not torch.equal(*pair) for pair in zip(before, built.model.parameters(), strict=True))


def test_no_arguments_are_the_usual_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert LatentTrainer(model=small_clip()).args.output_dir == "outputs/trainer"


def test_label_smoothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="label_smoothing_factor=0.1: no objective reads it"):
        LatentTrainingArguments(str(tmp_path), label_smoothing_factor=0.1)


def test_training_needs_rows(tmp_path):
    built = build_trainer(tmp_path)
    built.train_dataset = None
    for begin in (built.train, built.try_batch):
        with pytest.raises(UserError, match="training needs rows: give the Trainer a train_dataset"):
            begin()
    with pytest.raises(UserError, match="the data set has no rows"):
        built.embed([])


class Named(RandomPairs):
    def __getitem__(self, i):
        return {**super().__getitem__(i), "ids": f"picture {i}"}


def test_ids_in_words_are_refused(tmp_path):
    built = build_trainer(tmp_path, dataset=Named())
    with pytest.raises(UserError, match="row 0, column 'ids': expected a whole number.*class_encode_column"):
        built.try_batch()
    own, rows = built.data_collator, RandomPairs(12)
    for ids, found in (
        (["a"] * 12, r"\['a', "),
        (torch.rand(12), "torch.float32"),
        (torch.ones(12, 1).long(), "12, 1"),
    ):
        built.data_collator = lambda batch, ids=ids: {**own([rows[i] for i in range(12)]), "ids": ids}
        for chunk in (None, 5):
            built.args.gradient_cache_chunk_size = chunk
            with pytest.raises(UserError, match=f"the data_collator gives ids that are .*{found}"):
                built.train()
        with pytest.raises(UserError, match=f"the data_collator gives ids that are .*{found}"):
            built.evaluate(rows)


def test_a_column_that_names_no_modality(tmp_path):
    rows = [{"photo": torch.zeros(3, 16, 16, dtype=torch.uint8), "image2": 0}] * 12
    with pytest.raises(UserError, match="modality 'image1': the rows have no column 'image1'.*known: image2, photo"):
        build_trainer(tmp_path, dataset=rows).train()


class WithLabel(LabelledCaptions):
    """`label`, as a folder of images and many data sets of the Hub call it."""

    def __getitem__(self, i):
        row = super().__getitem__(i)
        return {**{name: value for name, value in row.items() if name != "labels"}, "label": row["labels"]}


def test_a_column_label_holds_labels(tmp_path):
    built = build_head_trainer(tmp_path, "classes", max_steps=1)
    built.train_dataset = WithLabel(head="classes")
    built.train()
    assert (
        built.evaluate(WithLabel(7, "classes"))["eval_loss"]
        == built.evaluate(LabelledCaptions(7, "classes"))["eval_loss"]
    )


@pytest.mark.parametrize(("values", "there"), [([1, 0], True), (["cat", "dog"], False), ([1, None], False)])
def test_a_column_label_without_numbers_is_left(tmp_path, values, there):
    built = build_trainer(tmp_path)
    rows = [{**RandomPairs(2)[i], "label": value} for i, value in enumerate(values)]
    batch = LatentCollator(built.processing_class)(rows)
    assert ("labels" in batch) == there and set(batch["modalities"]) == set(NAMES)
