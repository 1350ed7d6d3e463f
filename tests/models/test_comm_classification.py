"""The head of CoMM: its losses against plain ones, what is trained of it, and rows that lack modalities."""

import math
import subprocess
import sys

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from hf_latent import CoMMConfig, CoMMForSequenceClassification, CoMMModel
from tests.models.small import ENCODERS, small_batch, small_model

NAMES = ("series", "table")
CLASSES = torch.tensor([0, 2, 1, -100, 2, 0])
TAGS = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, math.nan], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
NUMBERS = torch.tensor([[0.5, -1, 2], [1, 1, 1], [math.nan] * 3, [0, 0.1, 9], [3, 2, math.nan], [1, 2, 3]]).double()
PRESENT = {"series": torch.tensor([1, 1, 0, 1, 0, 0]).bool(), "table": torch.tensor([1, 0, 1, 1, 1, 0]).bool()}


def head(problem=None, **options):
    options = {"num_labels": 3, "problem_type": problem, **options}
    return small_model(NAMES, cls=CoMMForSequenceClassification, **options)


def plain(problem, logits, labels, rows):
    """The mean over all labels that are there, written out one by one."""
    total, count = 0.0, 0
    for i in rows:
        if problem == "single_label_classification":
            if labels[i] >= 0:
                total, count = total - logits[i][labels[i]] + logits[i].exp().sum().log(), count + 1
            continue
        for said, right in zip(logits[i], labels[i], strict=True):
            if right.isnan():
                continue
            share = 1 / (1 + (-said).exp())
            error = (said - right) ** 2 if problem == "regression" else -(share if right else 1 - share).log()
            total, count = total + error, count + 1
    return total / count


CASES = [
    ("single_label_classification", CLASSES),
    ("multi_label_classification", TAGS),
    ("regression", NUMBERS),
]


@pytest.mark.parametrize("present", [None, PRESENT], ids=["whole", "lacking"])
@pytest.mark.parametrize(("problem", "labels"), CASES)
def test_loss_and_gradient_are_those_of_the_plain_formula(problem, labels, present):
    model, batch = head(problem), small_batch(NAMES)
    found = model(batch, present=present, labels=labels)
    rows = range(6) if present is None else range(5)  # the last one lacks both modalities
    expected = plain(problem, model.classifier(model._fuse(batch, None, NAMES, [[0, 1]], present)[:, 0]), labels, rows)
    torch.testing.assert_close(found.loss, expected, rtol=1e-10, atol=1e-12)
    parameters = [p for p in model.parameters() if p.requires_grad]
    ours, theirs = (torch.autograd.grad(loss, parameters) for loss in (found.loss, expected))
    for own, plainly in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, plainly, rtol=1e-8, atol=1e-11)
    assert found.fused is None and model.eval()(batch, labels=labels).fused.shape == (6, 16)


def test_the_problem_is_found_as_in_transformers():
    batch, model = small_batch(NAMES), head()
    assert model(batch, labels=CLASSES).loss == head("single_label_classification")(batch, labels=CLASSES).loss
    assert model(batch, labels=TAGS).loss == head("multi_label_classification")(batch, labels=TAGS).loss
    one = head(num_labels=1)
    assert one(batch, labels=NUMBERS[:, 0]).loss == one(batch, labels=NUMBERS[:, :1]).loss
    assert "problem_type" not in one.config.to_diff_dict()  # forward writes nothing into the config


def test_a_row_is_told_from_what_it_has():
    model, batch = head().eval(), small_batch(NAMES)
    whole = model(batch, present=PRESENT).logits
    alone = model({"table": batch["table"]}).logits
    torch.testing.assert_close(whole[[2, 4]], alone[[2, 4]], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(model(batch).logits[[2, 4]], alone[[2, 4]])
    assert model(batch, labels=CLASSES).loss.isfinite()
    nothing = {name: torch.zeros(6, dtype=torch.bool) for name in NAMES}
    assert model(batch, present=nothing, labels=CLASSES).loss == 0


@pytest.mark.parametrize(
    ("problem", "labels", "sentence"),
    [
        ("single_label_classification", torch.full((6,), 3), "labels 3: this model has 3 classes, give 0 to 2"),
        ("single_label_classification", torch.full((6,), -1), "labels -1: this model has 3 classes"),
        ("single_label_classification", TAGS, "classes are whole numbers, one a row.*problem_type"),
        ("multi_label_classification", CLASSES, "problem_type multi_label_classification .* zeros and ones, .6, 3."),
        ("multi_label_classification", NUMBERS, "reads zeros and ones"),
        ("regression", CLASSES, "problem_type regression with num_labels 3 reads numbers, .6, 3."),
    ],
)
def test_labels_that_do_not_fit_are_named(problem, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        head(problem)(small_batch(NAMES), labels=labels)


def test_a_loss_needs_labels():
    with pytest.raises(ValueError, match="give each row one, in a column labels"):
        head()(small_batch(NAMES), return_loss=True)


def test_it_begins_as_a_pretrained_model(tmp_path):
    first = small_model(NAMES, dtype=torch.float32, regularizers={"alignment": {}, "feature_separation": {}})
    first.save_pretrained(tmp_path)
    model = CoMMForSequenceClassification.from_pretrained(tmp_path, num_labels=4, frozen=True, classifier_dropout=0.5)
    assert model.config.regularizers == {} and model.config.objective == "labels"
    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in first.state_dict().items() if name in own)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "classifier.weight",
        "classifier.bias",
    }
    model.train()
    assert not model.fusion.training and not model.encoders.training and model.classifier.training
    whole = CoMMForSequenceClassification.from_pretrained(tmp_path, num_labels=4)
    still = {name.split(".")[0] for name, p in whole.named_parameters() if not p.requires_grad}
    assert still == {"head"}
    with pytest.raises(ValueError, match="regularizers alignment: .* no space of contrast"):
        head(objective="labels", regularizers={"alignment": {}})


def test_auto_classes_load_it_with_and_without_its_head(tmp_path):
    model = head(num_labels=2, problem_type="regression").float().eval()
    model.save_pretrained(tmp_path)
    batch = small_batch(NAMES, dtype=torch.float32)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is CoMMForSequenceClassification and loaded.config.problem_type == "regression"
    assert torch.equal(loaded(batch).logits, model(batch).logits)
    plain_model = AutoModel.from_pretrained(tmp_path)
    assert type(plain_model) is CoMMModel
    assert torch.equal(plain_model.get_fused_features(batch), model(batch).fused)


@pytest.mark.slow
def test_it_loads_where_hf_latent_is_not_installed(tmp_path):
    head(num_labels=2).float().save_pretrained(tmp_path / "run")
    script = (
        "import sys, torch; sys.modules['hf_latent'] = None\n"
        "from transformers import AutoModelForSequenceClassification as A\n"
        "m = A.from_pretrained('run', trust_remote_code=True)\n"
        "row = {'table': {'values': torch.zeros(2, 4)}}\n"
        "assert m(row, labels=torch.tensor([0, 1]), return_loss=False).logits.shape == (2, 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"modality_dropout": 1.0}, "modality_dropout=1.0: write a number from 0 to below 1"),
        ({"modality_dropout": -0.1}, "modality_dropout=-0.1"),
        ({"classifier_dropout": True}, "classifier_dropout=True"),
        ({"problem_type": "classes"}, "problem_type='classes'"),
        ({"frozen": 1}, "frozen=1: write true or false"),
        ({"objective": "supcon", "regularizers": {"alignment": {}}}, "the objective supcon has no embeddings"),
    ],
)
def test_options_that_do_not_fit_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        CoMMConfig(modalities={"table": ENCODERS["table"]}, **options)


def test_features_that_nearly_coincide_are_told_apart_by_their_standardization():
    model = head("single_label_classification").eval()
    features = 10 + 0.01 * torch.randn(50, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features[:, 3] = 2.5  # never varies
    before = model.standardization(features)
    assert torch.equal(before, features)
    model.standardization.fit(features)
    found = model.standardization(features)
    wanted = (features - features.mean(0)) / features.std(0, correction=0)
    wanted[:, 3] = 0
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    assert {"standardization.mean", "standardization.std"} <= set(model.state_dict())
