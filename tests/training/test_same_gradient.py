"""One gradient, however a global batch is run: by 1, 2 or 3 processes, whole or in chunks and tiles.

Every objective with every regularizer, on LatentCLIP and on CoMM. All cases of one number of processes share a spawn.
"""

import pytest
import torch

from hf_latent.objectives import OBJECTIVES
from hf_latent.regularizers import REGULARIZERS as KNOWN
from tests.training.runs import INDEPENDENT, OF_CLIP, REGULARIZERS, run_all
from tests.training.torchrun import torchrun

pytestmark = pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")
MODELS = {
    "clip": {"clip": True, "in_modal": False},
    "clip in_modal": {"clip": True},
    "comm": {"objective": "comm"},
    "cross": {"objective": "cross"},
    "cross_self": {"objective": "cross_self"},
}
# Three towers, one of series of several lengths.
TRIPLES = {
    ("clip of three", None): {},
    ("clip of three", "all"): {"regularizers": {n: {**spec, "ramp": 0.0} for n, spec in REGULARIZERS.items()}},
    ("clip of three by an anchor", None): {"anchor": "series", "in_modal": False},
}
# The ramp would leave the first step without it; the bridge is named after a modality.
SPECS = {None: {}} | {name: {name: {**spec, "ramp": 0.0}} for name, spec in REGULARIZERS.items()}
PARTS = {"gradient_cache_chunk_size": 5, "loss_tile_size": 5}  # 12 rows: neither divides them
# All regularizers at once on rows of which some lack a modality.
LACKING = {name: {**model, "missing": True} for name, model in MODELS.items() if name != "clip"}
LACKING["comm, mlp"] = {"objective": "comm", "missing": True, "options": {"fusion": "mlp"}}
LACKING["clip of three"] = {"clip": True, "triples": True, "missing": True}
LACKING |= {
    name: {"objective": name, "missing": True} for name in ("cmc", "simclr", "slip", "factorcl_linear", "infmasking")
}
LACKING |= {
    "cross, clean": {"objective": "cross", "missing": True, "options": {"objective_options": {"clean": True}}},
    "cross_self, clean": {
        "objective": "cross_self",
        "missing": True,
        "options": {"objective_options": {"clean": True}},
    },
    "coral": {"objective": "coral", "missing": True},
    "coral alone": {"objective": "coral", "missing": True},  # whose single modalities nothing reads
    "coral, dropped": {"objective": "coral", "options": {"modality_dropout": 0.4}},
}
# What reads labels, of which some are missing, on rows that lack modalities: in the data, and by modality dropout.
LABELLED = {
    "supcon": {"problem": "supcon", "objective": "supcon"},
    "supcon, dropped": {"problem": "supcon", "objective": "supcon", "options": {"modality_dropout": 0.4}},
    "supcon, lacking": {"problem": "supcon", "objective": "supcon", "missing": True},
    "classes": {"problem": "classes", "options": {"modality_dropout": 0.4}},
    "labels": {"problem": "labels", "missing": True, "options": {"modality_dropout": 0.4}},
    "numbers": {"problem": "numbers"},
    "numbers, frozen": {"problem": "numbers", "options": {"frozen": True}},
}
# Sound, a table of cells, series and clips, of several lengths; rows lack modalities.
KINDS = {"clip": {"kinds": "clip"}, "comm": {"kinds": "comm"}}
# Objectives beside those of MODELS: alone, with all regularizers, and of three modalities of which rows lack some.
OTHERS = {
    "sigmoid": {"config": {"objective": "sigmoid"}},
    "gram": {"triples": True, "config": {"objective": "gram", "objective_options": {"cosine_weight": 0.5}}},
    "pmrl": {"triples": True, "config": {"objective": "pmrl"}},
    "symile": {"triples": True, "config": {"objective": "symile"}},
    "symile of all": {"triples": True, "config": {"objective": "symile", "objective_options": {"negatives": "all"}}},
    "triangle": {"triples": True, "config": {"objective": "triangle"}},
}
WITH = {
    "alone": {"regularizers": {}},
    "regularized": {"regularizers": {name: {**spec, "ramp": 0.0} for name, spec in REGULARIZERS.items()}},
    "lacking": {"regularizers": {}, "triples": True, "missing": True},
}
# A regularizer does not know what it is added to: those of three modalities are tried without, which is quick.
OTHER_CASES = {
    f"{name} {how}": {"clip": True, "in_modal": False, **model, **more}
    for name, model in OTHERS.items()
    for how, more in WITH.items()
    if how != "regularized" or not model.get("triples")
}
CURVES = {
    "clip": {"clip": True},
    "clip of photos": {"clip": True, "photos": True},  # whose crops are cut as they are loaded
    "comm": {"regularizers": REGULARIZERS},
}


def all_of(model):
    """All regularizers that a model has the fields of."""
    left_out = INDEPENDENT if model.get("objective") == "coral" else ()
    specs = {name: spec for name, spec in REGULARIZERS.items() if name not in left_out}
    return fitted(model, specs) | (OF_CLIP if model.get("clip") else {})


def fitted(model, regularizers):
    """The bridge is between named modalities."""
    if not model.get("clip") and "brownian_bridge" in regularizers:
        return {**regularizers, "brownian_bridge": {**regularizers["brownian_bridge"], "bridged": ["image1"]}}
    return regularizers


def is_tried(processes, model, regularizer, variant):
    """One regularizer alone is tried on all models on three processes, which is slow, and compared with one process
    and whole batches; else in parts, on the models that have all fields."""
    if regularizer is None or processes == 3:
        return True
    return processes == 1 if variant == "whole" else model in ("clip in_modal", "comm")


def is_left_to_three(processes, variant):
    """What else there is in whole batches is not tried on two processes."""
    return processes == 2 and variant == "whole"


def is_other_tried(processes, name):
    """Another objective is tried on two processes on rows that lack modalities alone."""
    return processes != 2 or name.endswith("lacking")


def all_cases(processes):
    cases = {}
    for variant, parts in (("whole", {}), ("in parts", PARTS)):
        for name, model in MODELS.items():
            for regularizer, specs in SPECS.items():
                if not is_tried(processes, name, regularizer, variant):
                    continue
                options = {"regularizers": fitted(model, specs), "double": True, "max_steps": 1}
                cases[f"{name}, {regularizer}, {variant}"] = {**model, **options, **parts}
        if is_left_to_three(processes, variant):
            continue
        for name, model in LACKING.items():
            own = {} if name.endswith("alone") else all_of(model)
            specs = {key: {**spec, "ramp": 0.0} for key, spec in own.items()}
            options = {"regularizers": specs, "double": True, "max_steps": 1}
            cases[f"lacking {name}, {variant}"] = {**model, **options, **parts}
        for name, model in LABELLED.items():
            cases[f"labelled {name}, {variant}"] = {**model, "double": True, "max_steps": 1, **parts}
        for name, model in KINDS.items():
            cases[f"kinds of {name}, {variant}"] = {**model, "double": True, "max_steps": 1, **parts}
        for name, model in OTHER_CASES.items():
            if not is_other_tried(processes, name):
                continue
            cases[f"{name}, {variant}"] = {**model, "double": True, "max_steps": 1, **parts}
        for (name, regularizer), model in TRIPLES.items():
            options = {"clip": True, "triples": True, "regularizers": {}, "double": True, "max_steps": 1}
            cases[f"{name}, {regularizer}, {variant}"] = {**options, **model, **parts}
        for name, model in CURVES.items():
            specs = all_of(model)
            options = {**model, "regularizers": specs, "max_steps": 20, **parts}
            cases[f"curve of {name}, {variant}"] = {**options, "double": True}
            cases[f"float32 {name}, {variant}"] = {**options, "max_steps": 1}
    return cases


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("one"), all_cases(1))


@pytest.fixture(scope="module")
def results(one, tmp_path_factory):
    """The results of all cases, by the number of processes."""
    known = {1: one}

    def of(processes):
        if processes not in known:
            known[processes] = torchrun(tmp_path_factory.mktemp("run"), processes, all_cases(processes))
        return known[processes]

    return of


def cases_of(*cases):
    """Each case on 1, 2 and 3 processes, whole and in parts; on 3 it is slow."""
    found = []
    for processes in (1, 2, 3):
        marks = [pytest.mark.slow] if processes == 3 else []
        for case in cases:
            for variant in ("whole", "in parts"):
                if case[0] in OTHER_CASES and not is_other_tried(processes, case[0]):
                    continue
                several = len(case) < 2 or case in TRIPLES
                if not is_left_to_three(processes, variant) if several else is_tried(processes, *case, variant):
                    name = ", ".join(map(str, [f"{processes} processes", *case, variant]))
                    found.append(pytest.param(processes, *case, variant, marks=marks, id=name))
    return found


def difference(found, expected):
    assert found.shape == expected.shape and expected.norm() > 0
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("processes", "model", "regularizer", "variant"),
    cases_of(*((model, regularizer) for model in MODELS for regularizer in SPECS), *TRIPLES),
)
def test_the_gradient_is_that_of_one_process_and_one_piece(one, results, processes, model, regularizer, variant):
    found, expected = results(processes)[f"{model}, {regularizer}, {variant}"], one[f"{model}, {regularizer}, whole"]
    assert difference(found["gradient"], expected["gradient"]) <= 1e-9
    without = one[f"{model}, None, whole"]["gradient"]
    same_heads = without.shape == expected["gradient"].shape
    assert regularizer is None or not same_heads or difference(expected["gradient"], without) > 1e-4


@pytest.mark.parametrize(("processes", "model", "variant"), cases_of(*zip(LACKING, strict=True)))
def test_rows_may_lack_a_modality(one, results, processes, model, variant):
    found, expected = results(processes)[f"lacking {model}, {variant}"], one[f"lacking {model}, whole"]
    assert difference(found["gradient"], expected["gradient"]) <= 1e-9
    assert found["curve"][0] == pytest.approx(expected["curve"][0], rel=1e-6)  # losses are logged in float32


@pytest.mark.parametrize(("processes", "model", "variant"), cases_of(*zip(KINDS, strict=True)))
def test_modalities_of_every_kind(one, results, processes, model, variant):
    found, expected = results(processes)[f"kinds of {model}, {variant}"], one[f"kinds of {model}, whole"]
    assert difference(found["gradient"], expected["gradient"]) <= 1e-9
    assert found["curve"][0] == pytest.approx(expected["curve"][0], rel=1e-6)


@pytest.mark.parametrize(("processes", "model", "variant"), cases_of(*zip(LABELLED, strict=True)))
def test_labels_of_rows(one, results, processes, model, variant):
    found, expected = results(processes)[f"labelled {model}, {variant}"], one[f"labelled {model}, whole"]
    assert difference(found["gradient"], expected["gradient"]) <= 1e-9
    assert found["curve"][0] == pytest.approx(expected["curve"][0], rel=1e-6)


@pytest.mark.parametrize(("processes", "model", "variant"), cases_of(*zip(OTHER_CASES, strict=True)))
def test_other_objectives(one, results, processes, model, variant):
    found, expected = results(processes)[f"{model}, {variant}"], one[f"{model}, whole"]
    assert difference(found["gradient"], expected["gradient"]) <= 1e-9
    assert found["curve"][0] == pytest.approx(expected["curve"][0], rel=1e-6)


def test_each_objective_is_tried():
    """Those of heads are tried in test_albef_heads.py."""
    cases = (*MODELS.values(), *LABELLED.values(), *LACKING.values())
    tried = {"clip", "labels"} | {model.get("objective") for model in cases}
    tried |= {model["config"]["objective"] for model in OTHERS.values()}
    assert {*OBJECTIVES["latent_clip"], *OBJECTIVES["comm"]} <= tried


@pytest.mark.parametrize(("processes", "model", "variant"), cases_of(*zip(CURVES, strict=True)))
def test_float32_stays_near(one, results, processes, model, variant):
    found, expected = results(processes)[f"float32 {model}, {variant}"], one[f"float32 {model}, whole"]
    assert difference(found["gradient"], expected["gradient"]) <= 1e-4


@pytest.mark.parametrize(("processes", "model", "variant"), cases_of(*zip(CURVES, strict=True)))
def test_twenty_steps_are_one_curve(one, results, processes, model, variant):
    """All regularizers at once: the loss, each of its terms and the gradient's norm."""
    found, expected = results(processes)[f"curve of {model}, {variant}"], one[f"curve of {model}, whole"]
    known = set(KNOWN) if model.startswith("clip") else set(KNOWN) - set(OF_CLIP)
    assert {f"loss_{name}" for name in known} < set(expected["curve"][0])
    assert len(expected["curve"]) == 20
    for ours, theirs in zip(found["curve"], expected["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6), ours["step"]
    torch.testing.assert_close(*(torch.from_numpy(r["features"]) for r in (found, expected)), rtol=1e-5, atol=1e-6)
