"""Evaluation: one number however it is run, metrics of all rows, and nothing that it changes."""

import math
import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback

from hf_latent.errors import UserError
from hf_latent.experiment import train
from hf_latent.models.embeddings import Embeddings
from hf_latent.recipe import load_recipe
from tests.training.runs import (
    HEADS,
    AsAStream,
    LabelledCaptions,
    RandomCaptions,
    RandomPairs,
    build,
    build_albef_trainer,
    build_clip_trainer,
    build_head_trainer,
    build_trainer,
    checksum,
    curve,
    run_all,
)
from tests.training.torchrun import torchrun

pytestmark = pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")
B = 12
ROWS = {"incomplete": 29, "whole": 24, "small": 7, "stream": 29}
MODELS = {
    "clip": {"clip": True},
    "comm": {"objective": "comm"},
    # The rate is 0, since training finds its negatives for matching among the rows of a process.
    "albef": {"albef": True, "model": {"itm_weight": 0.8}, "learning_rate": 0.0},
    **{head: {"head": head} for head in HEADS},
}
BEST = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1}


def cases(**more):
    shared = {"double": True, "max_steps": 2, "evaluate": ROWS, **more}
    return {name: {**options, **shared} for name, options in MODELS.items()}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("one"), cases(per_device_eval_batch_size=5))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    chunks = {"gradient_cache_chunk_size": 5, "per_device_eval_batch_size": 4}
    return torchrun(tmp_path_factory.mktemp("two"), 2, cases(**chunks))


def rows_for(name, count):
    if name in HEADS:
        return LabelledCaptions(count, name)
    return RandomPairs(count) if name == "comm" else RandomCaptions(count)


@torch.no_grad()
def expected(trainer, rows):
    """Whole batches, and the rows before those that are left over."""
    model, seen, sums = trainer.model.eval(), None, {}
    for start in range(0, len(rows), B):
        new = range(start, min(start + B, len(rows)))
        batch = trainer.data_collator([rows[i] for i in new])
        views, given = trainer.views, batch["modalities"]
        second = model.second_views(given)
        where = {"position": start, "rows": slice(0, len(new)), "global_rows": B}
        augmented = views.augmented(given, view=1, only=second, **where) if second else None
        inputs = model.pack(views.plain(given), augmented, batch["ids"], batch.get("labels"))
        output = model(**inputs, return_loss=True)
        output.loss = None
        if seen is not None and len(new) < B:
            output = Embeddings.join([seen, output])
            output = output.map(lambda tensor: tensor[-B:])
            output.ids = torch.cat([seen.ids, batch["ids"]])[-B:]
        seen = output
        loss, terms = model.objective(model.score(output), model.scale, progress=1.0, queue=model.queue)
        for term, value in {"loss": loss, **{f"loss_{name}": value for name, value in terms.items()}}.items():
            sums[f"eval_{term}"] = sums.get(f"eval_{term}", 0) + len(new) / len(rows) * value.item()
    return sums


def losses(metrics):
    return {name: value for name, value in metrics.items() if "loss" in name}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_that_of_whole_batches(one, tmp_path, name, rows):
    trainer = build(tmp_path, double=True, **MODELS[name])
    trainer.model.load_state_dict(one[name]["state"])
    wanted = expected(trainer, rows_for(name, ROWS[rows]))
    assert len(wanted) > 1 and losses(one[name]["evaluated"][rows]) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_processes_and_chunks_change_nothing(one, two, name):
    for rows in ROWS:
        found, wanted = losses(two[name]["evaluated"][rows]), losses(one[name]["evaluated"][rows])
        assert found == pytest.approx(wanted, rel=1e-6), rows
    for part in ("predictions", "label_ids"):
        torch.testing.assert_close(two[name]["found"][part], one[name]["found"][part], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_metrics_see_every_row_once(one, name):
    found, rows = one[name]["found"], rows_for(name, 29)
    first = found["predictions"].get("embeds") or {"fused": found["predictions"]["fused"]}
    assert all(len(vectors) == 29 for vectors in first.values())
    if name not in ("answers", "annotated"):  # whose labels are tokens
        key = "labels" if name in HEADS else "ids"
        assert found["label_ids"].tolist() == [rows[i][key] for i in range(29)]


class Unnamed(RandomPairs):
    """Rows that have neither ids nor labels."""

    def __getitem__(self, i):
        return {name: value for name, value in super().__getitem__(i).items() if name != "ids"}


def test_metrics_are_called_without_labels(tmp_path):
    trainer = build_trainer(tmp_path, eval_dataset=Unnamed(29), include_for_metrics=["loss"])
    seen = []
    trainer.compute_metrics = lambda found: seen.append(found) or {"norm": np.float32(2), "loss_of_mine": 3.0}
    metrics = trainer.evaluate()
    assert metrics["eval_norm"] == 2 and metrics["eval_loss_of_mine"] == 3 and math.isfinite(metrics["eval_loss"])
    (found,) = seen
    assert found.label_ids is None and found.predictions["fused"].shape == (29, 16)
    assert found.losses.shape == (29,) and found.losses.mean() == pytest.approx(metrics["eval_loss"])
    assert len(set(found.losses[:12])) == 1 < len(set(found.losses))
    assert set(trainer.predict(Unnamed(3)).metrics) >= {"test_norm"}


def test_several_data_sets_have_a_loss_each(tmp_path):
    sets = {"near": RandomPairs(24), "far": RandomPairs(7)}
    trainer = build_trainer(tmp_path, eval_dataset=sets)
    metrics = trainer.evaluate()
    for name, rows in sets.items():
        assert metrics[f"eval_{name}_loss"] == trainer.evaluate(rows)["eval_loss"] == metrics[f"eval_{name}_loss"]
    assert metrics["eval_near_loss"] != metrics["eval_far_loss"]


def test_workers_that_stay_read_the_rows_that_are_asked_for(tmp_path):
    options = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    trainer = build_trainer(tmp_path, eval_dataset=RandomPairs(17), **options)
    found = [trainer.evaluate(rows)["eval_loss"] for rows in (None, RandomPairs(13), None)]
    expected = [build_trainer(tmp_path).evaluate(RandomPairs(count))["eval_loss"] for count in (17, 13, 17)]
    assert found == pytest.approx(expected, rel=1e-6) and found[0] != found[1]


def test_an_evaluation_changes_nothing(tmp_path):
    model = {"itm_weight": 1.0, "image": {"encoder": "cnn", "channels": [8, 16], "norm": "batch"}}
    trainer = build_albef_trainer(tmp_path, max_steps=2, model=model)
    trainer.train()
    assert trainer.model.feature_queue.count > 0

    def state():
        numbers = [torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].astype(np.int64))]
        numbers += [torch.tensor(random.getstate()[1]), torch.tensor(trainer._micro_batch)]
        return {**trainer.model.state_dict(), **dict(enumerate(numbers))}

    before = {name: value.clone() for name, value in state().items()}
    trainer.evaluate(RandomCaptions(29))
    assert all(torch.equal(value, before[name]) for name, value in state().items())
    assert trainer.model._scored == []


def test_a_run_that_evaluates_resumes_bit_for_bit(tmp_path):
    options = {"eval_dataset": RandomPairs(17), **BEST, "max_steps": 4}
    options |= {"save_steps": 2, "eval_steps": 2, "eval_on_start": True, "norm": "batch"}
    whole = build_trainer(tmp_path / "run", **options)
    whole.train()
    history = [losses(entry) for entry in whole.state.log_history]
    assert [entry["step"] for entry in whole.state.log_history if "eval_loss" in entry] == [0, 2, 4]
    plain = build_trainer(tmp_path / "plain", norm="batch", max_steps=4)
    plain.train()
    assert curve(plain) == curve(whole)
    again = build_trainer(tmp_path / "run", **{**options, "eval_on_start": False})
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert [losses(entry) for entry in again.state.log_history][:-1] == history[:-1]


def test_a_schedule_has_its_last_value(tmp_path):
    """Or losses of different steps would not compare."""
    trainer, rows = build_albef_trainer(tmp_path), RandomCaptions(17)
    first = losses(trainer.evaluate(rows))
    trainer.state.max_steps = trainer.state.global_step = 8
    assert losses(trainer.evaluate(rows)) == first


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        *((asked, "=.* needs rows to validate on") for asked in ("eval_strategy=epoch", "eval_on_start=true")),
        ("save_strategy=best", "=.* needs rows to validate on"),
        ("load_best_model_at_end=true", " needs eval_strategy: steps or epoch"),
    ],
)
def test_a_recipe_that_would_evaluate_is_refused(one_drawing, tmp_path, asked, said):
    small = ["data.image_size=16", "data.renders=1", "data.test_renders=1"]
    recipe = load_recipe("latent_clip_quick", [*small, f"training.{asked}", f"training.output_dir={tmp_path / 'run'}"])
    with pytest.raises(UserError, match=rf"training\.{asked.split('=')[0]}{said}"):
        train(recipe)
    assert not (tmp_path / "run").exists()


def test_early_stopping(tmp_path):
    options = {**BEST, "save_steps": 1, "max_steps": 8, "learning_rate": 0.0, "save_total_limit": 1}
    trainer = build_trainer(tmp_path, eval_dataset=RandomPairs(17), **options)
    trainer.add_callback(EarlyStoppingCallback(2))
    trainer.train()
    found = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    best = min(found)  # the rate is 0, and statistics of BatchNorms move
    assert trainer.state.best_global_step == found.index(best) + 1 == trainer.state.global_step - 2
    assert trainer.state.best_metric == best == pytest.approx(trainer.evaluate()["eval_loss"], rel=1e-6)


@pytest.mark.parametrize("metric", ["loss", "eval_loss", "loss_joint", "eval_near_loss_joint"])
def test_a_lower_loss_is_better(tmp_path, metric):
    options = {**BEST, "save_steps": 1}
    trainer = build_trainer(tmp_path, eval_dataset=RandomPairs(17), metric_for_best_model=metric, **options)
    assert trainer.args.greater_is_better is False
    trainer.args.metric_for_best_model = "los"
    with pytest.raises(UserError, match="metric_for_best_model='los' is none of an evaluation's metrics: .*eval_loss"):
        trainer.train()


@pytest.mark.slow
def test_two_processes_end_with_the_best_checkpoint(tmp_path):
    """A rate that is much too large: the first step is the best one."""
    options = {**BEST, "save_steps": 1, "max_steps": 3, "learning_rate": 3.0, "validate": 17}
    first, second = torchrun(tmp_path, 2, {"run": options})["run"]["best"]
    best = tmp_path / "run" / "checkpoint-1"
    assert first == second
    assert first["checkpoint"] == str(best) and first["weights"] == checksum(load_file(best / "model.safetensors"))
    assert first["weights"] != checksum(load_file(tmp_path / "run" / "checkpoint-3" / "model.safetensors"))


def test_what_is_predicted_is_what_a_metric_wants(tmp_path):
    options = {"eval_dataset": RandomPairs(29), "per_device_eval_batch_size": 5}
    trainer = build_trainer(tmp_path, **options)
    trainer.preprocess_logits_for_metrics = lambda predictions, labels: predictions["fused"][:, :2]
    trainer.compute_metrics = lambda found: {"width": found.predictions.shape[1], "rows": len(found.predictions)}
    metrics = trainer.evaluate()
    assert (metrics["eval_width"], metrics["eval_rows"]) == (2, 29)
    assert trainer.embed(RandomPairs(5)).fused.shape == (5, 16)  # whole, and without the metric
    trainer.preprocess_logits_for_metrics = None
    trainer.compute_metrics = lambda found: {"fields": len(found.predictions)}
    assert trainer.evaluate(ignore_keys=["fused"])["eval_fields"] == 1


def test_only_the_loss(tmp_path):
    trainer = build_trainer(tmp_path, eval_dataset=RandomPairs(29), prediction_loss_only=True)
    trainer.compute_metrics = lambda found: {"never": 1}
    metrics = trainer.evaluate()
    assert "eval_loss" in metrics and "eval_never" not in metrics
    assert trainer.predict(RandomPairs(3)).predictions is None
    assert trainer.embed(RandomPairs(3)).fused.shape == (3, 16)


def test_metrics_batch_by_batch(tmp_path):
    trainer = build_trainer(tmp_path, eval_dataset=RandomPairs(29), batch_eval_metrics=True)
    seen = []

    def compute_metrics(found, compute_result):
        seen.append(len(found.label_ids))
        return {"rows": sum(seen)} if compute_result else {}

    trainer.compute_metrics = compute_metrics
    metrics = trainer.evaluate()
    assert seen == [12, 12, 5] and metrics["eval_rows"] == 29 and "eval_loss" in metrics
    assert trainer.embed(RandomPairs(29)).fused.shape == (29, 16) and len(seen) == 3
    with pytest.raises(UserError, match="batch_eval_metrics needs rows with labels or ids"):
        trainer.evaluate(Unnamed(29))


def test_with_adapters_and_in_bfloat16(tmp_path):
    tuned = build_clip_trainer(tmp_path, lora={}, max_steps=1)
    assert math.isfinite(tuned.evaluate(RandomCaptions(17))["eval_loss"])
    wide = build_trainer(tmp_path).evaluate(RandomPairs(17))["eval_loss"]
    assert build_trainer(tmp_path, bf16=True).evaluate(RandomPairs(17))["eval_loss"] == pytest.approx(wide, rel=0.02)


def test_what_cannot_be_evaluated_is_said(tmp_path):
    trainer = build_clip_trainer(tmp_path, stream=True)
    for rows, said in (
        (None, "an evaluation needs rows"),
        (trainer.train_dataset, "a stream that begins again without end"),
        ([], "eval_dataset has no rows"),
        (AsAStream([]), "eval_dataset has no rows"),
    ):
        with pytest.raises(UserError, match=said):
            trainer.evaluate(rows)
    with pytest.raises(ValueError, match="the loss needs labels: give each row one"):
        build_head_trainer(tmp_path, "classes").evaluate(LabelledCaptions(7, "classes", labelled=False))
    with pytest.raises(UserError, match=r"include_for_metrics=.*write \['loss'\]"):
        build_trainer(tmp_path, include_for_metrics=["inputs"])
