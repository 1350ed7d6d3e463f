"""Predictions: what a head of CoMM says of a row, from all modalities and from each alone."""

import pytest
import torch

from hf_latent import CoMMConfig, CoMMForSequenceClassification, CoMMProcessor
from hf_latent.data.trifeature import SHAPES
from tests.space.runs import PAIRS, SIZE, finish

from explorer import Explorer  # isort: skip
from tabs import latent_map, predictions, questions  # isort: skip


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    folder, names = tmp_path_factory.mktemp("head"), ("image1", "image2")
    torch.manual_seed(0)
    config = CoMMConfig(
        modalities={name: {"encoder": "cnn", "channels": [8, 16]} for name in names},
        embed_dim=16,
        problem_type="single_label_classification",
        id2label=dict(enumerate(SHAPES)),
    )
    CoMMForSequenceClassification(config).save_pretrained(folder)
    CoMMProcessor({name: {"kind": "image", "size": SIZE} for name in names}).save_pretrained(folder)
    return Explorer(str(finish(folder, {"data": {**PAIRS, "target": "redundancy"}}) or folder))


def test_shares_are_those_of_the_model(explorer):
    head, row = explorer.head, 3
    values = {name: [column[row]] for name, column in explorer.sample.values.items()}
    with torch.no_grad():
        whole = explorer.model(**explorer.processor.batch(values)).logits[0].softmax(0)
        first = explorer.model(**explorer.processor.batch({"image1": values["image1"]})).logits[0].softmax(0)
    assert head.says(row) == pytest.approx(whole.tolist()) and head.says(row, "image1") == pytest.approx(
        first.tolist()
    )
    assert head.right(row).index(True) == explorer.sample.known["shape"][row] and sum(head.right(row)) == 1
    page = predictions.said_html(explorer, row)
    assert "image1 alone" in page and f"{SHAPES[head.right(row).index(True)]} ✓" in page
    assert f"{100 * max(whole.tolist()):.1f} %" in page


def test_other_tabs_leave_it_alone(explorer):
    assert predictions.refusal(explorer) is None
    assert "was not trained to answer" in questions.refusal(explorer)
    assert "see the tab Predictions" in latent_map.refusal(explorer)
