"""The quick recipes reach what the README says that they reach, with room for another machine's rounding."""

import json

import pytest

from hf_latent.cli import main


def train(name, folder, *overrides):
    run = folder / name
    assert main(["train", name, f"training.output_dir={run}", "training.disable_tqdm=true", *overrides]) == 0
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_comm_keeps_redundant_and_unique_information(tmp_path):
    metrics = train("comm_trifeature_quick", tmp_path)
    assert metrics["redundancy"] >= 90
    assert metrics["uniqueness1"] >= 55 and metrics["uniqueness2"] >= 55


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_comm_learns_synergy_from_biased_pairs(tmp_path):
    metrics = train("comm_trifeature_synergy_quick", tmp_path)
    assert metrics["synergy"] >= 66 and metrics["synergy_auroc"] >= 0.74


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_cross_loses_unique_information(tmp_path):
    metrics = train("cross_trifeature_quick", tmp_path)
    assert metrics["redundancy"] >= 90
    assert metrics["uniqueness1"] <= 45 and metrics["uniqueness2"] <= 45


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_albef_retrieves_and_its_matching_has_learned(tmp_path):
    metrics = train("latent_albef_quick", tmp_path)
    assert metrics["zero_shot_top1"] >= 70 and metrics["text_to_image_r1"] >= 75
    assert metrics["reranked_text_to_image_r1"] >= 80 and metrics["reranked_image_to_text_r1"] >= 65


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_albef_learns_its_downstream_tasks(tmp_path):
    def tuned(name, start):
        return train(f"{name}_quick", tmp_path, f"model.pretrained={tmp_path / start}_quick")

    train("latent_albef_quick", tmp_path)
    answers = tuned("latent_albef_questions", "latent_albef")
    assert answers["answer_accuracy"] >= 68 and answers["answer_accuracy_color"] >= 95
    assert answers["answer_accuracy_shape"] >= 80 and answers["answer_accuracy_texture"] >= 25
    assert answers["answer_accuracy_yes_no"] >= 58
    assert tuned("latent_albef_entailment", "latent_albef")["class_accuracy"] >= 68
    assert tuned("latent_albef_text_assignment", "latent_albef")["class_accuracy"] >= 85
    assert tuned("latent_albef_statements", "latent_albef_text_assignment")["class_accuracy"] >= 57


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_albef_points_at_what_a_phrase_names_without_having_seen_a_box(tmp_path):
    metrics = train("latent_albef_grounding_quick", tmp_path)
    assert metrics["grounding_pointing"] >= 35 and metrics["grounding_chance"] <= 15
    assert metrics["grounding_box"] >= 40 and metrics["grounding_box_chance"] <= 34
