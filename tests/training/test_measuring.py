"""Benchmarks during training: the same numbers on one process and on two, and a training that they do not disturb."""

import pytest
import torch
from safetensors.torch import load_file

from hf_latent import LatentTrainer
from hf_latent.errors import UserError
from hf_latent.evaluation import Geometry, Probes, Retrieval, ZeroShot
from tests.training.runs import (
    Broken,
    RandomCaptions,
    build_clip_trainer,
    build_trainer,
    checksum,
    curve,
    run,
    run_all,
)
from tests.training.torchrun import torchrun

pytestmark = pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")
ALL = {
    "retrieval": {"k": [1, 5]},
    "zero_shot": {"label": "kind", "k": [1]},
    "probes": {"shots": [2], "draws": 2},
    "geometry": {},
}
RANK = "text_to_image_median_rank"
BEST = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1}
BEST |= {"save_steps": 1}
CASES = {
    "clip": {"clip": True, "benchmarks": ALL},
    "comm": {"objective": "comm", "benchmarks": {"probes": {}, "retrieval": {"between": [["image1", "fused"]]}}},
    "separated": {"objective": "comm", "regularizers": {"feature_separation": {}}, "benchmarks": {"probes": {}}},
    "answers": {"head": "answers", "benchmarks": {"tasks": {}}},
    "classes": {"head": "classes", "benchmarks": {"tasks": {}}},
    "broken": {"clip": True, "benchmarks": "broken"},
}
CASES = {name: {"double": True, "max_steps": 1, **options} for name, options in CASES.items()}
CHOOSING = {"clip": True, "double": True, "max_steps": 4, "learning_rate": 0.3, "benchmarks": ALL}
CHOOSING |= {**BEST, "metric_for_best_model": RANK}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("one"), CASES)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, torchrun(folder, 2, CASES | {"choosing": CHOOSING})


def test_an_evaluation_has_the_loss_and_the_measurements(one):
    (found,) = one["clip"]["measured"]
    expected = {f"eval_{key}" for key in ("loss", "zero_shot_top1", "text_to_image_r5", RANK, "cka", "temperature")}
    expected |= {f"eval_probe_{key}" for key in ("kind", "kind_text", "kind_2shot", "size_r2", "size_text_mse")}
    assert expected <= found.keys()
    (found,) = one["comm"]["measured"]
    assert {"eval_probe_kind_fused", "eval_image1_to_fused_r1", "eval_probe_size_image2_r2"} <= found.keys()
    (found,) = one["separated"]["measured"]
    assert "eval_probe_kind_image1" in found and "eval_probe_kind_full" not in found
    (found,) = one["answers"]["measured"]
    assert 0 <= found["eval_answer_accuracy"] <= 100 and "eval_answer_chance" not in found


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name != "broken"])
def test_processes_measure_the_same(one, two, name):
    first, second = two[1][name]["measured"]
    assert first == second == pytest.approx(one[name]["measured"][0], rel=1e-5, abs=1e-9)  # probes are of float32


@pytest.mark.slow
def test_an_error_ends_all_processes_with_one_sentence(one, two):
    said = ("UserError", "the model cannot be measured: 'the measurement broke'")
    assert one["broken"]["measured"] == [said] and two[1]["broken"]["measured"] == [said, said]


@pytest.mark.slow
def test_all_processes_end_with_the_best_checkpoint_of_a_measurement(tmp_path, two):
    folder, results = two
    first, second = results["choosing"]["best"]
    ranks = [entry[f"eval_{RANK}"] for entry in results["choosing"]["evaluations"][0]]
    assert len(set(ranks)) > 1 and first == second and first["greater_is_better"] is False
    best = folder / "choosing" / f"checkpoint-{ranks.index(min(ranks)) + 1}"
    last = folder / "choosing" / "checkpoint-4"
    kept, other = (checksum(load_file(path / "model.safetensors")) for path in (best, last))
    assert first["checkpoint"] == str(best) != str(last)
    assert first["weights"] == pytest.approx(kept, rel=1e-12) and first["weights"] != pytest.approx(other, rel=1e-9)
    alone = run(tmp_path, CHOOSING)
    assert [entry[f"eval_{RANK}"] for entry in alone["evaluations"][0]] == ranks


def trainer_of(folder, metric=None, benchmarks=ALL, **options):
    chosen = {} if metric is None else {**BEST, "metric_for_best_model": metric}
    return build_clip_trainer(folder, benchmarks=benchmarks, **{**chosen, **options})


@pytest.mark.slow
def test_measuring_disturbs_nothing(tmp_path):
    options = {"max_steps": 3, "gradient_cache_chunk_size": 5}
    plain = build_clip_trainer(tmp_path / "plain", **options)
    plain.train()
    watched = trainer_of(tmp_path / "watched", eval_strategy="steps", eval_steps=1, eval_on_start=True, **options)
    watched.train()
    evaluations = [entry for entry in watched.state.log_history if "eval_zero_shot_top1" in entry]
    assert [entry["step"] for entry in evaluations] == [0, 1, 2, 3]
    assert curve(watched) == curve(plain)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(watched.model.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("metric", "greater"),
    [(RANK, False), (f"eval_{RANK}", False), ("text_to_image_r1", True), ("probe_size_mse", False), ("loss", False)],
)
def test_the_direction_follows_the_measurement(tmp_path, metric, greater):
    assert trainer_of(tmp_path, metric).args.greater_is_better is greater
    for written in (False, True):
        assert trainer_of(tmp_path, metric, greater_is_better=written).args.greater_is_better is written


def test_a_measurement_without_a_direction_needs_one_in_words(tmp_path):
    with pytest.raises(
        UserError, match="metric_for_best_model='cka' is better neither high nor low: write greater_is"
    ):
        trainer_of(tmp_path, "cka")
    assert trainer_of(tmp_path, "cka", greater_is_better=True).args.greater_is_better is True


@pytest.mark.parametrize(
    ("metric", "nearest"),
    [
        ("text_to_image_r2", "text_to_image_r[15]"),
        ("eval_zero_shot_top", "zero_shot_top1"),
        ("probe_kin", "probe_kind"),
    ],
)
def test_a_metric_that_is_not_measured_is_refused_before_training(tmp_path, metric, nearest):
    with pytest.raises(
        UserError, match=f"metric_for_best_model='{metric.removeprefix('eval_')}' is not measured: did"
    ):
        trainer_of(tmp_path, metric)
    with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
        trainer_of(tmp_path, metric)


def test_a_metric_of_one_of_several_data_sets(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.eval_dataset = {"near": RandomCaptions(7)}
    trainer.args.metric_for_best_model = f"eval_near_{RANK}"
    trainer.measure_with(ALL, trainer._measured_with[1])
    assert trainer.args.greater_is_better is False and f"eval_near_{RANK}" in trainer.evaluate()


def test_training_ends_when_a_measurement_no_longer_improves(tmp_path):
    trainer = trainer_of(tmp_path, RANK, max_steps=8, learning_rate=0.0, early_stopping_patience=2)
    trainer.train()
    assert trainer.state.global_step == 3 and trainer.state.best_global_step == 1


@pytest.mark.parametrize("patience", [{"early_stopping_patience": 0}, {"early_stopping_patience": 2}])
def test_patience_needs_evaluations(tmp_path, patience):
    with pytest.raises(UserError, match=r"early_stopping_patience(=0: write 1 or more| needs eval_strategy)"):
        build_clip_trainer(tmp_path, **patience)


def test_benchmarks_are_given_as_objects(tmp_path):
    trainer = trainer_of(tmp_path, benchmarks=[Retrieval(k=[1]), Geometry()])
    assert list(trainer._measured_with[0]) == ["retrieval", "geometry"]
    trainer = trainer_of(tmp_path, benchmarks={"mine": ZeroShot(label="kind", k=[1]), "geometry": {}})
    assert "eval_mine_top1" in trainer.evaluate()
    assert list(trainer_of(tmp_path, benchmarks=Geometry())._measured_with[0]) == ["geometry"]


@pytest.mark.parametrize(
    ("benchmarks", "said"),
    [
        ([Probes(), Probes(labels=["kind"])], "benchmarks: two are called 'probes': write {name: benchmark}"),
        (["retrieval"], "benchmarks: 'retrieval' is none: write a list of benchmarks, or {name: options}"),
        ([Retrieval], "benchmarks: .*Retrieval.* is none"),
        ("retrieval", "benchmarks: 'retrieval' is none"),
        ([Broken()], "evaluation.benchmarks.: write a name of letters, digits and _"),
        (
            [Probes(labels=["kin"])],
            "evaluation.benchmarks.probes: labels: no label 'kin' in data.labels; did you mean",
        ),
    ],
)
def test_what_is_no_list_of_benchmarks_is_refused(tmp_path, benchmarks, said):
    with pytest.raises(UserError, match=said):
        trainer_of(tmp_path, benchmarks=benchmarks)


def test_benchmarks_need_rows(tmp_path):
    trainer = build_trainer(tmp_path)
    with pytest.raises(UserError, match="benchmarks need rows with their ids and labels: give evaluation_data, too"):
        LatentTrainer(trainer.model, trainer.args, benchmarks={"probes": {}})
